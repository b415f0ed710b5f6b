// Models of mutex.cpp (M1 to M5) and of what it uses of parking_lot.cpp (K1 to K5), with foreign threads, which
// are single threads of the checker, and with fibers.
#include "gort/mutex.hpp"

#include <gtest/gtest.h>

#include <chrono>

#include "gort/recursive_mutex.hpp"
#include "gort/timed_mutex.hpp"
#include "port/fiber.hpp"
#include "port/port.hpp"
#include "sched/stop.hpp"
#include "sync_support.hpp"

namespace gort {
namespace {

using model::check;
using model::Thread;
using model::var;

constexpr int64_t kMoreThanPatienceNs = 1'500'000;
constexpr int64_t kHalfOfPatienceNs = 600'000;

struct Guarded {
  mutex m;
  var<int> n;
  void turn() {
    m.lock();
    n = n + 1;
    m.unlock();
  }
};

// M1 to M3: nobody is left asleep, and the data is whole, whatever time is taken.
template <int kThreads, int64_t kNsPerLook>
void turns() {
  let_looks_take(kNsPerLook);
  Ended<Guarded> o;
  Thread t([&] { o->turn(); });
  if constexpr (kThreads == 3) {
    Thread u([&] { o->turn(); });
    o->turn();
    u.join();
  } else {
    o->turn();
  }
  t.join();
  check(o->n == kThreads, "every turn counts");
  check_all_over(o.get());
}

// One of them comes twice, and overtakes.
template <int64_t kNsPerLook>
void turns_again() {
  let_looks_take(kNsPerLook);
  Ended<Guarded> o;
  Thread t([&] { o->turn(); });
  Thread u([&] { o->turn(); });
  o->turn();
  o->turn();
  u.join();
  t.join();
  check(o->n == 4, "every turn counts");
  check_all_over(o.get());
}

void try_turns() {
  Ended<Guarded> o;
  int done = 0;
  Thread t([&] {
    if (!o->m.try_lock()) return;
    o->n = o->n + 1;
    ++done;
    o->m.unlock();
  });
  o->turn();
  t.join();
  check(o->n == 1 + done, "every turn counts");
}

// M5: the last one ends the mutex right after its own unlock, be it let in by a hand-over or not.
template <int64_t kNsPerLook>
void last_one_ends_it() {
  struct Object {
    mutex m;
    var<int> users{2};
  };
  let_looks_take(kNsPerLook);
  Ended<Object> o;
  const auto leave = [&] {
    o->m.lock();
    o->users = o->users - 1;
    const bool last = o->users == 0;
    o->m.unlock();
    if (last) o.end();
  };
  Thread t(leave);
  leave();
  t.join();
}

// M4: at an unlock after the patience of the first waiter, the mutex is his, and nobody overtakes.
void handed_over() {
  let_looks_take(kMoreThanPatienceNs);
  Ended<Guarded> o;
  model::atomic<bool> had_it{false};
  o->m.lock();
  Thread t([&] {
    o->m.lock();
    had_it.store(true, std::memory_order_relaxed);
    o->m.unlock();
  });
  wait_for_waiters(1, o.get());
  o->m.unlock();
  if (o->m.try_lock()) {
    check(had_it.load(std::memory_order_relaxed), "nobody overtakes an overdue waiter");
    o->m.unlock();
  }
  t.join();
  check_all_over(o.get());
}

// M4: who was woken and overtaken stays before those who queued after him.
void in_order() {
  Ended<Guarded> o;
  var<int> came{0};
  o->m.lock();
  Thread first([&] {
    o->m.lock();
    check(came == 0, "the first waiter comes before the second");
    came = 1;
    o->m.unlock();
  });
  wait_for_waiters(1, o.get());
  Thread second([&] {
    o->m.lock();
    const bool overtook = came == 0;
    came = 2;
    o->m.unlock();
    check(!overtook, "the first waiter comes before the second");
  });
  wait_for_waiters(2, o.get());
  o->m.unlock();
  o->turn();  // overtakes, or not
  first.join();
  second.join();
  check_all_over(o.get());
}

// Fibers, whose parks end on a far side, and a foreign thread among them.
void turns_of_fibers() {
  ModelWorld world;
  Ended<Guarded> o;
  ModelFiber a([&] { o->turn(); });
  ModelFiber b([&] { o->turn(); });
  o->turn();
  a.join();
  b.join();
  check(o->n == 3, "every turn counts");
  check_all_over(o.get());
}

// A stop request does not end a lock().
void not_cancelled() {
  ModelWorld world;
  Ended<Guarded> o;
  ModelFiber a([&] { o->turn(); });
  o->m.lock();
  request_stop(a.g());
  o->n = o->n + 1;
  o->m.unlock();
  a.join();
  check(o->n == 2, "every turn counts");
  check_all_over(o.get());
}

// ---- timed_mutex: the same word ---------------------------------------------------------------------------------

std::chrono::steady_clock::time_point at_ns(int64_t ns) {
  return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(ns));
}

struct TimedGuarded {
  timed_mutex m;
  var<int> n;
  void turn() {
    m.lock();
    n = n + 1;
    m.unlock();
  }
  int turn_until(int64_t ns) {
    if (!m.try_lock_until(at_ns(ns))) return 0;
    n = n + 1;
    m.unlock();
    return 1;
  }
};

// M1, M3: whoever leaves by his limit leaves nobody asleep, and takes nothing with him; a wake-up that was for him is his.
template <int64_t kNsPerLook>
void limits() {
  let_looks_take(kNsPerLook);
  Ended<TimedGuarded> o;
  int in_time = 0;
  Thread t([&] { in_time = o->turn_until(3 * kNsPerLook); });
  Thread u([&] { o->turn(); });
  o->turn();
  t.join();
  u.join();
  check(o->n == 2 + in_time, "every turn counts");
  check(o->m.try_lock(), "nobody has it any more");
  o->m.unlock();
  check_all_over(o.get());
}

// Two with limits, of whom one may be woken and lose.
void limits_twice() {
  let_looks_take(kHalfOfPatienceNs);
  Ended<TimedGuarded> o;
  int one = 0;
  int two = 0;
  Thread t([&] { one = o->turn_until(2 * kHalfOfPatienceNs); });
  Thread u([&] { two = o->turn_until(5 * kHalfOfPatienceNs); });
  o->turn();
  o->turn();
  t.join();
  u.join();
  check(o->n == 2 + one + two, "every turn counts");
  check(o->m.try_lock(), "nobody has it any more");
  o->m.unlock();
  check_all_over(o.get());
}

// He who holds it lets nobody in: the limit passes.
void limit_alone() {
  let_looks_take(1);
  Ended<TimedGuarded> o;
  o->m.lock();
  Thread t([&] { check(o->turn_until(2) == 0, "the limit passed"); });
  t.join();
  o->m.unlock();
  check(o->turn_until(0) == 1, "M1: a mark that stands for nobody keeps nobody out");
  check_all_over(o.get());
}

void limit_of_a_fiber() {
  ModelWorld world;
  Ended<TimedGuarded> o;
  int in_time = 0;
  model::atomic<bool> over{false};
  ModelFiber f([&] {
    in_time = o->turn_until(5);
    over.store(true, std::memory_order_relaxed);
  });
  Thread time([&] {
    while (!over.load(std::memory_order_relaxed)) {
      ModelWorld::let_time_pass({&f});
      model::pause();
    }
  });
  Thread u([&] { o->turn(); });
  o->turn();
  f.join();
  u.join();
  time.join();
  check(o->n == 2 + in_time, "every turn counts");
  check_all_over(o.get());
}

// RM1: nobody takes himself for the owner who is not, nor does the owner miss that he is.
void recursive_turns() {
  struct Object {
    recursive_mutex m;
    var<int> n;
    void turn() {
      m.lock();
      m.lock();
      n = n + 1;
      check(m.try_lock(), "it is ours");
      m.unlock();
      m.unlock();
      m.unlock();
    }
  };
  Ended<Object> o;
  Thread t([&] { o->turn(); });
  o->turn();
  t.join();
  check(o->n == 2, "every turn counts");
  check_all_over(o.get());
}

// RM1, M1: the same with limits. Whoever came too late does not take himself for the owner, and the owner gets deeper though his
// time has passed.
template <int64_t kNsPerLook>
void recursive_limits() {
  struct Object {
    recursive_timed_mutex m;
    var<int> n;
    int turn_until(int64_t ns) {
      if (!m.try_lock_until(at_ns(ns))) return 0;
      check(m.try_lock_until(at_ns(0)), "it is ours");
      m.lock();
      n = n + 1;
      for (int depth = 3; depth > 0; --depth) m.unlock();
      return 1;
    }
  };
  let_looks_take(kNsPerLook);
  Ended<Object> o;
  int one = 0;
  int two = 0;
  Thread t([&] { one = o->turn_until(3 * kNsPerLook); });
  Thread u([&] { two = o->turn_until(5 * kNsPerLook); });
  o->m.lock();
  o->n = o->n + 1;
  o->m.unlock();
  t.join();
  u.join();
  check(o->n == 1 + one + two, "every turn counts");
  check(o->m.try_lock(), "nobody has it any more");
  o->m.unlock();
  check_all_over(o.get());
}

TEST(MutexModel, Limits) {
  expect_right_at_random(20'000, limits<1>);
  expect_right_at_random(20'000, limits<kHalfOfPatienceNs>);
  expect_right_at_random(20'000, limits_twice);
  expect_right({}, limit_alone);
  expect_right_at_random(5'000, limit_of_a_fiber);
}
TEST(MutexModel, Recursive) {
  expect_right({}, recursive_turns);
  expect_right_at_random(20'000, recursive_limits<1>);
  expect_right_at_random(20'000, recursive_limits<kHalfOfPatienceNs>);
}
TEST(MutexModel, TwoThreads) {
  expect_right({}, turns<2, 0>);
  expect_right({.preemptions = 3}, turns<2, kMoreThanPatienceNs>);
}
TEST(MutexModel, ThreeThreads) {
  expect_right({.preemptions = 1}, turns<3, 0>);
  expect_right({.preemptions = 1}, turns<3, kHalfOfPatienceNs>);
  expect_right_at_random(10'000, turns_again<0>);
  expect_right_at_random(10'000, turns_again<kHalfOfPatienceNs>);
}
TEST(MutexModel, TryLock) {
  expect_right({}, try_turns);
}
TEST(MutexModel, TheLastOneMayEndIt) {
  expect_right({}, last_one_ends_it<0>);
  expect_right({.preemptions = 2}, last_one_ends_it<kMoreThanPatienceNs>);
}
TEST(MutexModel, HandOver) {
  expect_right({.preemptions = 2}, handed_over);
}
TEST(MutexModel, InOrder) {
  expect_right_at_random(10'000, in_order);
}
TEST(MutexModel, Fibers) {
  expect_right_at_random(10'000, turns_of_fibers);
}
TEST(MutexModel, NotCancelled) {
  expect_right({.preemptions = 1}, not_cancelled);
  expect_right_at_random(5'000, not_cancelled);
}
TEST(MutexModel, Mutants) {
  // park.cpp: the half of foreign threads.
  expect_mutants_die({"mutex.cpp", "mutex.hpp", "recursive_mutex.hpp", "park.cpp"},
                     {{{.preemptions = 2}, turns<2, 0>},
                      {{.preemptions = 2}, turns<2, kMoreThanPatienceNs>},
                      {{.preemptions = 2}, last_one_ends_it<0>},
                      {{.preemptions = 2}, try_turns},
                      {{.random_runs = 5'000}, limits<1>},
                      {{.random_runs = 5'000}, recursive_limits<1>},
                      {{.random_runs = 5'000}, limits<kHalfOfPatienceNs>},
                      {{.preemptions = 2}, limit_alone},
                      {{.random_runs = 5'000}, turns_again<0>}});
}

}  // namespace
}  // namespace gort
