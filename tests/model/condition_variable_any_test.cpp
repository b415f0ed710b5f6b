// Models of condition_variable_any.cpp (CA1, CA2): a wait in two steps, locks of any type, and tokens. The queue is
// condition_variable.cpp's.
#include "gort/condition_variable_any.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <stop_token>

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

struct Shared {
  mutex m;
  condition_variable_any cv;
  var<int> items;

  Shared() {
    start_without_waiters(&m);
    start_without_waiters(&cv);
  }
  void take_one() {
    m.lock();
    cv.wait(m, [this] { return items != 0; });
    --items;
    m.unlock();
  }
  void put(int n) {
    const std::lock_guard guard(m);
    items = n;
  }
  void check_over() {
    check(items == 0, "each was taken");
    check_all_over(&m);
    check_all_over(&cv);
  }
};

// CA1: a notification is not lost, wherever the waiter is on its way to sleep.
void one_waits() {
  Shared s;
  Thread t([&] { s.take_one(); });
  s.put(1);
  s.cv.notify_one();
  t.join();
  s.check_over();
}

void two_wait_for_all() {
  Shared s;
  Thread t([&] { s.take_one(); });
  Thread u([&] { s.take_one(); });
  s.put(2);
  s.cv.notify_all();
  t.join();
  u.join();
  s.check_over();
}

void limit_and_notify() {
  let_looks_take(1);
  Shared s;
  Thread t([&] {
    s.m.lock();
    if (s.cv.wait_until(s.m, at_ns(1)) == std::cv_status::no_timeout) s.cv.notify_one();
    s.m.unlock();
  });
  Thread u([&] { s.take_one(); });
  s.put(1);
  s.cv.notify_one();
  t.join();
  u.join();
  s.check_over();
}

// CA1: whoever was notified ends the object, and the notifier may still be at it.
void ended_by_the_notified() {
  Ended<condition_variable_any> cv;
  mutex m;
  start_without_waiters(&m);
  Thread t([&] {
    m.lock();
    cv->wait(m);
    cv.end();
    m.unlock();
  });
  wait_for_waiters(1, cv.get());
  m.lock();  // the waiter has let go of it
  m.unlock();
  cv->notify_one();
  t.join();
  check_all_over(&m);
}

// A lock whose unlock() throws: the waiter takes itself out.
void the_lock_throws() {
  struct failure {};
  struct Lock {
    bool throws;
    void lock() {}
    void unlock() const {
      if (throws) throw failure();
    }
  };
  condition_variable_any cv;
  start_without_waiters(&cv);
  Thread t([&] { cv.notify_one(); });
  Lock lock{true};
  bool threw = false;
  try {
    cv.wait(lock);
  } catch (const failure&) {
    threw = true;
  }
  check(threw, "what the lock throws is the caller's");
  t.join();
  check_all_over(&cv);
}

// CA2: the token's request ends the wait of the one whose token it is, and of nobody else. The token itself is libstdc++'s,
// whose atomics the checker does not know: the request stands for itself.
void woken_by_a_token() {
  Shared s;
  using detail::any_wait;
  condition_variable plain;
  start_without_waiters(&plain);
  any_wait waiter(plain, any_wait::stops::nothing);
  Thread t([&] { waiter.wake(); });
  Thread u([&] { plain.notify_one(); });
  check(waiter.sleep(INT64_MAX) == any_wait::outcome::woken, "one of them wakes it");
  t.join();
  u.join();
  check_all_over(&plain);
}
void woken_by_a_token_alone() {
  using detail::any_wait;
  let_looks_take(1);
  condition_variable plain;
  start_without_waiters(&plain);
  any_wait waiter(plain, any_wait::stops::nothing);
  Thread t([&] { waiter.wake(); });
  (void)waiter.sleep(2);
  t.join();
  check_all_over(&plain);
}

// The fiber's request, with a token that is never requested.
void stop_and_notify() {
  ModelWorld world;
  Shared s;
  std::stop_source source;
  bool stopped_once = false;
  ModelFiber f([&] {
    s.m.lock();
    try {
      s.cv.wait(s.m, source.get_token(), [&] { return s.items != 0; });
    } catch (const stopped&) {
      stopped_once = true;
    }
    s.items = 0;  // with the lock, either way
    s.m.unlock();
  });
  Thread u([&] { request_stop(f.g()); });
  s.put(1);
  s.cv.notify_one();
  f.join();
  u.join();
  const std::lock_guard guard(s.m);
  check_all_over(&s.cv);
}
void stop_alone() {
  ModelWorld world;
  Shared s;
  std::stop_source source;
  bool stopped_once = false;
  ModelFiber f([&] {
    s.m.lock();
    try {
      s.cv.wait(s.m, source.get_token(), [] { return false; });
    } catch (const stopped&) {
      stopped_once = true;
    }
    s.m.unlock();
  });
  request_stop(f.g());
  f.join();
  check(stopped_once, "a stop request is not lost");
  check_all_over(&s.cv);
  check_all_over(&s.m);
}

TEST(ConditionVariableAnyModel, OneWaits) {
  expect_right({.preemptions = 2}, one_waits);
}
TEST(ConditionVariableAnyModel, TwoWait) {
  expect_right_at_random(10'000, two_wait_for_all);
}
TEST(ConditionVariableAnyModel, LimitAndNotify) {
  expect_right_at_random(20'000, limit_and_notify);
}
TEST(ConditionVariableAnyModel, MayBeEndedByTheNotified) {
  expect_right({.preemptions = 2}, ended_by_the_notified);
}
TEST(ConditionVariableAnyModel, TheLockThrows) {
  expect_right({.preemptions = 2}, the_lock_throws);
}
TEST(ConditionVariableAnyModel, WokenByAToken) {
  expect_right({.preemptions = 1}, woken_by_a_token);
  expect_right({.preemptions = 2}, woken_by_a_token_alone);
}
TEST(ConditionVariableAnyModel, Stops) {
  expect_right({.preemptions = 1}, stop_alone);
  expect_right_at_random(5'000, stop_alone);
  expect_right_at_random(10'000, stop_and_notify);
}
TEST(ConditionVariableAnyModel, Mutants) {
  expect_mutants_die({"condition_variable_any.cpp", "condition_variable_any.hpp"},
                     {{{.preemptions = 1}, one_waits}, {{.preemptions = 1}, woken_by_a_token}});
}

}  // namespace
}  // namespace gort
