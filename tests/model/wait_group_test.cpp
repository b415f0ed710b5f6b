// Models of countdown.cpp (CD1, CD2) and of stop requests in the parking lot.
#include "gort/wait_group.hpp"

#include <gtest/gtest.h>

#include <chrono>

#include "port/fiber.hpp"
#include "port/machine.hpp"
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

// CD1, CD2: what was done is known to whoever has waited, and he ends the object.
void two_done() {
  Ended<wait_group> wg;
  var<int> a;
  var<int> b;
  wg->add(2);
  Thread t([&] {
    a = 1;
    wg->done();
  });
  Thread u([&] {
    b = 1;
    wg->done();
  });
  wg->wait();
  wg.end();
  check(a == 1 && b == 1, "all that was to be done");
  t.join();
  u.join();
}

void one_done() {
  Ended<wait_group> wg;
  var<int> a;
  wg->add(1);
  Thread t([&] {
    a = 1;
    wg->done();
  });
  wg->wait();
  wg.end();
  check(a == 1, "all that was to be done");
  t.join();
}

// Its end waits, and knows as well.
void end_waits() {
  ModelRuntime runtime(1);
  Ended<wait_group> wg;
  var<int> a;
  wg->add(1);
  Thread t([&] {
    a = 1;
    wg->done();
  });
  wg.end();
  check(a == 1, "all that was to be done");
  t.join();
  runtime.close();
}

// The last one to wait ends it, whoever that is.
void two_wait() {
  Ended<wait_group> wg;
  var<int> a;
  model::atomic<int> left{2};
  wg->add(1);
  const auto wait = [&] {
    wg->wait();
    check(a == 1, "all that was to be done");
    if (left.fetch_sub(1, std::memory_order_acq_rel) == 1) wg.end();
  };
  Thread t(wait);
  Thread u(wait);
  a = 1;
  wg->done();
  t.join();
  u.join();
}

// CD1: the count rises again while a done() is on its way to the lock.
void raised_again() {
  Ended<wait_group> wg;
  var<int> a;
  var<int> b;
  wg->add(2);
  Thread t([&] {
    a = 1;
    wg->done();
  });
  Thread u([&] {
    wg->add(1);
    wg->done();
    b = 1;
    wg->done();
  });
  wg->wait();
  wg.end();
  check(a == 1 && b == 1, "all that was to be done");
  t.join();
  u.join();
}

// The same with one who waits already: while he is queued the count gets to zero under the bucket's lock only, so
// whoever raises it under that lock has him wait for that, too.
void raised_under_lock() {
  Ended<wait_group> wg;
  bool raised = false;
  var<int> b;
  wg->add(1);
  Thread t([&] { wg->done(); });
  Thread u([&] {
    {
      const LockGuard guard(parking_lot.bucket_for(wg.get()).lock);
      if (waiters_of(wg.get()) == 1) {
        wg->add(1);
        raised = true;
      }
    }
    b = 1;
    if (raised) wg->done();
  });
  wg->wait();
  if (raised) check(b == 1, "all that was to be done");
  t.join();
  u.join();
  check_all_over(wg.get());
}

// A second round may begin as soon as a wait() has returned, though the first one's done() has not.
void two_rounds() {
  Ended<wait_group> wg;
  var<int> n;
  wg->add(1);
  Thread t([&] {
    n = 1;
    wg->done();
  });
  wg->wait();
  check(n == 1, "the first round");
  wg->add(1);
  Thread u([&] {
    n = 2;
    wg->done();
  });
  wg->wait();
  wg.end();
  check(n == 2, "the second round");
  t.join();
  u.join();
}

// A time limit that passes, or does not, beside one who waits without.
void limit_and_done() {
  let_looks_take(1);
  Ended<wait_group> wg;
  var<int> a;
  wg->add(1);
  Thread t([&] {
    if (wg->wait_until(at_ns(2))) check(a == 1, "all that was to be done");
  });
  Thread u([&] {
    a = 1;
    wg->done();
  });
  wg->wait();
  check(a == 1, "all that was to be done");
  t.join();
  u.join();
  check_all_over(wg.get());
  wg.end();
}

// ---- Fibers -----------------------------------------------------------------------------------------

void fiber_waits() {
  ModelWorld world;
  Ended<wait_group> wg;
  var<int> a;
  wg->add(1);
  ModelFiber f([&] {
    wg->wait();
    wg.end();
    check(a == 1, "all that was to be done");
  });
  a = 1;
  wg->done();
  f.join();
}

void fibers_wait() {
  ModelWorld world;
  Ended<wait_group> wg;
  var<int> a;
  wg->add(1);
  const auto wait = [&] {
    wg->wait();
    check(a == 1, "all that was to be done");
  };
  ModelFiber f(wait);
  ModelFiber g(wait);
  a = 1;
  wg->done();
  f.join();
  g.join();
  check_all_over(wg.get());
  wg.end();
}

// Nobody is ever done: the request ends the wait.
void stop_alone() {
  ModelWorld world;
  Ended<wait_group> wg;
  wg->add(1);
  bool stopped_once = false;
  ModelFiber f([&] {
    try {
      wg->wait();
    } catch (const stopped&) {
      stopped_once = true;
    }
  });
  request_stop(f.g());
  f.join();
  check(stopped_once, "a stop request is not lost");
  check_all_over(wg.get());
}

// One of them wins, and the other waiter is released in any case.
void stop_and_done() {
  ModelWorld world;
  Ended<wait_group> wg;
  var<int> a;
  wg->add(1);
  ModelFiber f([&] {
    try {
      wg->wait();
      check(a == 1, "all that was to be done");
    } catch (const stopped&) {
    }
  });
  Thread t([&] {
    wg->wait();
    check(a == 1, "all that was to be done");
  });
  Thread u([&] { request_stop(f.g()); });
  a = 1;
  wg->done();
  f.join();
  t.join();
  u.join();
  check_all_over(wg.get());
}

// The request, the last done() and the time limit.
void stop_limit_and_done() {
  ModelWorld world;
  Ended<wait_group> wg;
  var<int> a;
  wg->add(1);
  model::atomic<bool> over{false};
  ModelFiber f([&] {
    try {
      if (wg->wait_until(at_ns(5))) check(a == 1, "all that was to be done");
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
  wg->done();
  f.join();
  u.join();
  time.join();
  check_all_over(wg.get());
}

TEST(WaitGroupModel, Done) {
  expect_right({.preemptions = 2}, one_done);
  expect_right({.preemptions = 1}, two_done);
  expect_right_at_random(10'000, two_done);
}
TEST(WaitGroupModel, EndWaits) {
  expect_right({.preemptions = 2}, end_waits);
}
TEST(WaitGroupModel, TwoWait) {
  expect_right({.preemptions = 0}, two_wait);
  expect_right_at_random(10'000, two_wait);
}
TEST(WaitGroupModel, RaisedAgain) {
  expect_right({.preemptions = 1}, raised_again);
  expect_right_at_random(10'000, raised_again);
  expect_right({.preemptions = 1}, raised_under_lock);
}
TEST(WaitGroupModel, TwoRounds) {
  expect_right({.preemptions = 1}, two_rounds);
  expect_right_at_random(10'000, two_rounds);
}
TEST(WaitGroupModel, LimitAndDone) {
  expect_right_at_random(10'000, limit_and_done);
}
TEST(WaitGroupModel, Fibers) {
  expect_right({.preemptions = 1}, fiber_waits);
  expect_right_at_random(5'000, fiber_waits);
  expect_right_at_random(5'000, fibers_wait);
}
TEST(WaitGroupModel, StopAlone) {
  expect_right({.preemptions = 1}, stop_alone);
  expect_right_at_random(5'000, stop_alone);
}
TEST(WaitGroupModel, StopAndDone) {
  expect_right_at_random(10'000, stop_and_done);
  expect_right_at_random(10'000, stop_limit_and_done);
}
TEST(WaitGroupModel, Mutants) {
  expect_mutants_die({"countdown.cpp", "countdown.hpp", "parking_lot.cpp"},
                     {{{.preemptions = 1}, one_done},
                      {{.preemptions = 1}, end_waits},
                      {{.random_runs = 5'000}, two_done},
                      {{.random_runs = 5'000}, raised_again},
                      {{.preemptions = 1}, raised_under_lock},
                      {{.random_runs = 5'000}, limit_and_done},
                      {{.random_runs = 5'000}, stop_and_done}});
}

}  // namespace
}  // namespace gort
