// Models of condition_variable.cpp (C1 to C3) and of time limits in the parking lot (K2, K4).
#include "gort/condition_variable.hpp"

#include <gtest/gtest.h>

#include <chrono>

#include "port/fiber.hpp"
#include "port/port.hpp"
#include "sched/stop.hpp"
#include "sync_support.hpp"

namespace gort {
namespace {

using model::check;
using model::Thread;
using model::var;
using Lock = std::unique_lock<mutex>;

std::chrono::steady_clock::time_point at_ns(int64_t ns) {
  return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(ns));
}

struct Shared {
  mutex m;
  condition_variable cv;
  var<int> items;

  Shared() {
    start_without_waiters(&m);
    start_without_waiters(&cv);
  }
  void take_one() {
    Lock lock(m);
    while (items == 0) cv.wait(lock);
    --items;
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

enum class Notify : uint8_t { behind_unlock, before_unlock };

// C1, C3: a notification is not lost, wherever the waiter is on its way to sleep.
template <Notify kWhen>
void one_waits() {
  Shared s;
  Thread t([&] { s.take_one(); });
  if constexpr (kWhen == Notify::behind_unlock) {
    s.put(1);
    s.cv.notify_one();
  } else {
    const std::lock_guard guard(s.m);
    s.items = 1;
    s.cv.notify_one();
  }
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

// Two notifications for two waiters: neither goes to nobody while one is left.
void two_wait_for_one_each() {
  Shared s;
  Thread t([&] { s.take_one(); });
  Thread u([&] { s.take_one(); });
  s.put(2);
  s.cv.notify_one();
  s.cv.notify_one();
  t.join();
  u.join();
  s.check_over();
}

// K2: a notification is for a waiter whose time has come only if he says so. One who waits without a limit
// gets it, by himself or from the other.
void wait_with_limit(Shared& s) {
  Lock lock(s.m);
  if (s.cv.wait_until(lock, at_ns(1)) == std::cv_status::no_timeout) s.cv.notify_one();
}
void limit_and_notify() {
  let_looks_take(1);
  Shared s;
  Thread t([&] { wait_with_limit(s); });
  Thread u([&] { s.take_one(); });
  s.put(1);
  s.cv.notify_one();
  t.join();
  u.join();
  s.check_over();
}

void limit_alone() {
  let_looks_take(1);
  Shared s;
  Lock lock(s.m);
  check(s.cv.wait_until(lock, at_ns(1)) == std::cv_status::timeout, "the time came");
  check(lock.owns_lock(), "with the mutex again");
  lock.unlock();
  check_all_over(&s.cv);
}

// C2: whoever was notified ends the object, and the notifier may still be at it.
void ended_by_the_notified() {
  Ended<condition_variable> cv;
  mutex m;
  start_without_waiters(&m);
  Thread t([&] {
    Lock lock(m);
    cv->wait(lock);
    cv.end();
  });
  wait_for_waiters(1, cv.get());
  m.lock();  // the waiter has let go of it
  m.unlock();
  cv->notify_one();
  t.join();
  check_all_over(&m);
}

// C2: the notifier ends it, and waiters, one of them out of time, may still be on their way out.
void ended_by_the_notifier() {
  let_looks_take(1);
  Ended<condition_variable> cv;
  mutex m;
  start_without_waiters(&m);
  Thread t([&] {
    Lock lock(m);
    (void)cv->wait_until(lock, at_ns(1));
  });
  Thread u([&] {
    Lock lock(m);
    cv->wait(lock);
  });
  const Parked* const none = nullptr;
  model::await([&] { return parking_lot.bucket_for(cv.get()).top.raw() != none; });
  t.join();
  wait_for_waiters(1, cv.get());
  m.lock();
  m.unlock();
  cv->notify_all();
  cv.end();
  u.join();
  check_all_over(&m);
}

// ---- Fibers -----------------------------------------------------------------------------------------

// Not cancellable: the request waits for another wait.
void fiber_waits() {
  ModelWorld world;
  Shared s;
  ModelFiber a([&] { s.take_one(); });
  request_stop(a.g());
  s.put(1);
  s.cv.notify_one();
  a.join();
  s.check_over();
}

void fibers_wait_for_all() {
  ModelWorld world;
  Shared s;
  ModelFiber a([&] { s.take_one(); });
  ModelFiber b([&] { s.take_one(); });
  s.put(2);
  s.cv.notify_all();
  a.join();
  b.join();
  s.check_over();
}

void limit_and_notify_of_fibers() {
  ModelWorld world;
  Shared s;
  ModelFiber a([&] { wait_with_limit(s); });
  ModelFiber b([&] { s.take_one(); });
  model::atomic<bool> over{false};
  Thread time([&] {
    while (!over.load(std::memory_order_relaxed)) {
      ModelWorld::let_time_pass({&a});
      model::pause();
    }
  });
  s.put(1);
  s.cv.notify_one();
  a.join();
  over.store(true, std::memory_order_relaxed);
  b.join();
  time.join();
  s.check_over();
}

TEST(ConditionVariableModel, OneWaits) {
  expect_right({.preemptions = 2}, one_waits<Notify::behind_unlock>);
  expect_right({.preemptions = 2}, one_waits<Notify::before_unlock>);
}
TEST(ConditionVariableModel, TwoWait) {
  expect_right_at_random(10'000, two_wait_for_all);
  expect_right_at_random(10'000, two_wait_for_one_each);
}
TEST(ConditionVariableModel, LimitAndNotify) {
  expect_right_at_random(20'000, limit_and_notify);
}
TEST(ConditionVariableModel, LimitAlone) {
  expect_right({}, limit_alone);
}
TEST(ConditionVariableModel, MayBeEndedByTheNotified) {
  expect_right({.preemptions = 2}, ended_by_the_notified);
}
TEST(ConditionVariableModel, MayBeEndedByTheNotifier) {
  expect_right_at_random(10'000, ended_by_the_notifier);
}
TEST(ConditionVariableModel, Fibers) {
  expect_right({.preemptions = 1}, fiber_waits);
  expect_right_at_random(5'000, fiber_waits);
  expect_right_at_random(5'000, fibers_wait_for_all);
  expect_right_at_random(5'000, limit_and_notify_of_fibers);
}
TEST(ConditionVariableModel, Mutants) {
  expect_mutants_die({"condition_variable.cpp", "condition_variable.hpp", "parking_lot.cpp"},
                     {{{.preemptions = 1}, one_waits<Notify::behind_unlock>},
                      {{.random_runs = 5'000}, limit_and_notify}});
}

}  // namespace
}  // namespace gort
