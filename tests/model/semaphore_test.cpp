// Models of semaphore.cpp (SM1 to SM4), with foreign threads and with fibers.
#include "gort/semaphore.hpp"

#include <gtest/gtest.h>

#include <chrono>

#include "gort/errors.hpp"
#include "port/fiber.hpp"
#include "port/port.hpp"
#include "sched/stop.hpp"
#include "sync_support.hpp"

namespace gort {
namespace {

using model::check;
using model::Thread;
using model::var;

std::chrono::steady_clock::time_point at_ns(int64_t ns) {
  return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(ns));
}

struct Empty : counting_semaphore<> {
  Empty() : counting_semaphore(0) {}
};

// SM4: what was done is known to whoever has acquired, and he ends the object.
void one_released() {
  Ended<Empty> s;
  var<int> a;
  Thread t([&] {
    a = 1;
    s->release();
  });
  s->acquire();
  s.end();
  check(a == 1, "what came before the release");
  t.join();
}

// Two who release, one who takes both, or as many as he gets at once.
void two_released() {
  Ended<Empty> s;
  var<int> a;
  var<int> b;
  Thread t([&] {
    a = 1;
    s->release();
  });
  Thread u([&] {
    b = 1;
    s->release();
  });
  s->acquire();
  s->acquire();
  s.end();
  check(a == 1 && b == 1, "what came before both");
  t.join();
  u.join();
}

// SM2: two wait, and one release is for both; whoever is last ends the object.
void two_wait() {
  Ended<Empty> s;
  var<int> a;
  model::atomic<int> left{2};
  const auto take = [&] {
    s->acquire();
    check(a == 1, "what came before the release");
    if (left.fetch_sub(1, std::memory_order_acq_rel) == 1) s.end();
  };
  Thread t(take);
  Thread u(take);
  a = 1;
  s->release(2);
  t.join();
  u.join();
}

// A release that brings more than there are waiters leaves the rest.
void more_than_waiters() {
  Ended<Empty> s;
  var<int> a;
  Thread t([&] {
    s->acquire();
    check(a == 1, "what came before the release");
  });
  a = 1;
  s->release(2);
  s->acquire();
  t.join();
  check(!s->try_acquire(), "two were released, and two are taken");
  check_all_over(s.get());
}

// SM1: a release that was on its way to the lock finds nobody there any more, and another one adds to the count meanwhile.
void released_meanwhile() {
  Ended<Empty> s;
  Thread t([&] {
    s->release();
    s->release();
  });
  Thread u([&] { s->release(); });
  for (int i = 0; i < 3; ++i) s->acquire();
  t.join();
  u.join();
  check(!s->try_acquire(), "three were released, and three are taken");
  check_all_over(s.get());
}

// As a mutex, with two who wait beside one who only tries.
void turns() {
  struct Turns : counting_semaphore<1> {
    Turns() : counting_semaphore(1) {}
    var<int> n;
  };
  Ended<Turns> s;
  int tried = 0;
  Thread t([&] {
    s->acquire();
    s->n = s->n + 1;
    s->release();
  });
  Thread u([&] {
    if (!s->try_acquire()) return;
    s->n = s->n + 1;
    ++tried;
    s->release();
  });
  s->acquire();
  s->n = s->n + 1;
  s->release();
  t.join();
  u.join();
  check(s->n == 2 + tried, "every turn counts");
  check_all_over(s.get());
}

// SM3: a release is for a waiter whose time has come, or for the other one, and never for nobody.
void limit_and_release() {
  let_looks_take(1);
  Ended<Empty> s;
  var<int> a;
  bool got = false;
  Thread t([&] {
    got = s->try_acquire_until(at_ns(2));
    if (got) s->release();
  });
  Thread u([&] {
    a = 1;
    s->release();
  });
  s->acquire();
  check(a == 1, "what came before the release");
  t.join();
  u.join();
  check(!s->try_acquire(), "it was released for one");
  check_all_over(s.get());
}

// ---- Fibers -----------------------------------------------------------------------------------------

void fibers_wait() {
  ModelWorld world;
  Ended<Empty> s;
  var<int> a;
  const auto take = [&] {
    s->acquire();
    check(a == 1, "what came before the release");
  };
  ModelFiber f(take);
  ModelFiber g(take);
  a = 1;
  s->release();
  s->release();
  f.join();
  g.join();
  check_all_over(s.get());
}

// Nobody releases: the request ends the wait.
void stop_alone() {
  ModelWorld world;
  Ended<Empty> s;
  bool stopped_once = false;
  ModelFiber f([&] {
    try {
      s->acquire();
    } catch (const stopped&) {
      stopped_once = true;
    }
  });
  request_stop(f.g());
  f.join();
  check(stopped_once, "a stop request is not lost");
  check_all_over(s.get());
}

// SM3: the request, the release and the time limit: what is released is taken, or it is there.
void stop_limit_and_release() {
  ModelWorld world;
  Ended<Empty> s;
  var<int> a;
  bool got = false;
  model::atomic<bool> over{false};
  ModelFiber f([&] {
    try {
      got = s->try_acquire_until(at_ns(5));
      if (got) check(a == 1, "what came before the release");
    } catch (const stopped&) {
    }
    over.store(true, std::memory_order_relaxed);
  });
  Thread u([&] { request_stop(f.g()); });
  Thread time([&] {
    while (!over.load(std::memory_order_relaxed)) {
      ModelWorld::let_time_pass({&f});
      model::pause();
    }
  });
  a = 1;
  s->release();
  f.join();
  u.join();
  time.join();
  check(s->try_acquire() != got, "what nobody took is there");
  check_all_over(s.get());
}

TEST(SemaphoreModel, OneReleased) {
  expect_right({}, one_released);
}
TEST(SemaphoreModel, TwoReleased) {
  expect_right({.preemptions = 1}, two_released);
  expect_right_at_random(10'000, two_released);
}
TEST(SemaphoreModel, TwoWait) {
  expect_right({.preemptions = 1}, two_wait);
  expect_right_at_random(10'000, two_wait);
}
TEST(SemaphoreModel, MoreThanWaiters) {
  expect_right({.preemptions = 2}, more_than_waiters);
}
TEST(SemaphoreModel, ReleasedMeanwhile) {
  expect_right_at_random(10'000, released_meanwhile);
}
TEST(SemaphoreModel, Turns) {
  expect_right({.preemptions = 1}, turns);
  expect_right_at_random(10'000, turns);
}
TEST(SemaphoreModel, LimitAndRelease) {
  expect_right_at_random(20'000, limit_and_release);
}
TEST(SemaphoreModel, Fibers) {
  expect_right_at_random(5'000, fibers_wait);
}
TEST(SemaphoreModel, StopAlone) {
  expect_right({.preemptions = 1}, stop_alone);
  expect_right_at_random(5'000, stop_alone);
}
TEST(SemaphoreModel, StopLimitAndRelease) {
  expect_right_at_random(10'000, stop_limit_and_release);
}
TEST(SemaphoreModel, Mutants) {
  expect_mutants_die({"semaphore.cpp", "semaphore.hpp"},
                     {{{.preemptions = 2}, one_released},
                      {{.preemptions = 1}, turns},
                      {{.random_runs = 5'000}, two_released},
                      {{.random_runs = 5'000}, more_than_waiters},
                      {{.random_runs = 20'000}, released_meanwhile},
                      {{.random_runs = 5'000}, limit_and_release}});
}

}  // namespace
}  // namespace gort
