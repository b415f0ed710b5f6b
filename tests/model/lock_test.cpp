// Models of Lock (L1, L2), Note (N1) and ParkLock (H1 to H5), and their mutants.
#include "sched/lock.hpp"

#include <gtest/gtest.h>

#include <new>

#include "port/port.hpp"
#include "sched/note.hpp"
#include "sched/park_lock.hpp"
#include "support.hpp"

namespace gort {
namespace {

using model::check;
using model::Options;
using model::Thread;
using model::var;

// ---- Lock -----------------------------------------------------------------------------------------

// L1: nobody is left asleep; the data is whole.
template <int kThreads>
void turns() {
  Lock l;
  var<int> n;
  const auto turn = [&] {
    const LockGuard guard(l);
    n = n + 1;
  };
  Thread t(turn);
  if constexpr (kThreads == 3) {
    Thread u(turn);
    turn();
    u.join();
  } else {
    turn();
  }
  t.join();
  check(n == kThreads, "every turn counts");
}

void try_turns() {
  Lock l;
  var<int> n;
  int done = 0;
  Thread t([&] {
    if (!l.try_lock()) return;
    n = n + 1;
    ++done;
    l.unlock();
  });
  l.lock();
  n = n + 1;
  l.unlock();
  t.join();
  check(n == 1 + done, "every turn counts");
}

// L2: the last one ends the lock right after its own unlock.
void last_one_ends_it() {
  struct Object {
    Lock lock;
    var<int> users{2};
  };
  alignas(Object) std::byte memory[sizeof(Object)];
  auto* const o = new (memory) Object;
  const auto leave = [o] {
    o->lock.lock();
    o->users = o->users - 1;
    const bool last = o->users == 0;
    o->lock.unlock();
    if (last) o->~Object();
  };
  Thread t(leave);
  leave();
  t.join();
}

TEST(LockModel, TwoThreads) {
  expect_right({}, turns<2>);
}
TEST(LockModel, ThreeThreads) {
  expect_right({.preemptions = 2}, turns<3>);
}
TEST(LockModel, TryLock) {
  expect_right({}, try_turns);
}
TEST(LockModel, TheLastOneMayEndIt) {
  expect_right({}, last_one_ends_it);
}
TEST(LockModel, Mutants) {
  expect_mutants_die({"lock.hpp", "lock.cpp", "port.cpp"},
                     {{{}, turns<2>}, {{.preemptions = 2}, turns<3>}, {{}, try_turns}});
}

// ---- Note -----------------------------------------------------------------------------------------

void note_wakes() {
  Note note;
  var<int> data;
  Thread t([&] {
    data = 1;
    note.wake();
  });
  note.sleep();
  check(data == 1, "what was written before wake() is there");
  t.join();
}

// N1: one sleep() for each wake().
void note_wakes_twice() {
  Note there;
  Note back;
  var<int> data;
  Thread t([&] {
    for (int i = 1; i <= 2; ++i) {
      data = i;
      there.wake();
      back.sleep();
    }
  });
  for (int i = 1; i <= 2; ++i) {
    there.sleep();
    check(data == i, "one sleep for each wake");
    back.wake();
  }
  t.join();
}

void note_with_limit() {
  Note note;
  var<int> data;
  Thread t([&] {
    data = 1;
    note.wake();
  });
  if (!note.sleep_for(1)) note.sleep();
  check(data == 1, "what was written before wake() is there");
  t.join();
}

void note_limits_in_a_row() {
  Note note;
  var<int> data;
  Thread t([&] {
    data = 1;
    note.wake();
  });
  bool woken = note.sleep_for(1);
  if (!woken) woken = note.sleep_for(1);
  if (woken) check(data == 1, "what was written before wake() is there");
  t.join();
}

TEST(NoteModel, Wakes) {
  expect_right({}, note_wakes);
}
TEST(NoteModel, WakesTwice) {
  expect_right({}, note_wakes_twice);
}
TEST(NoteModel, WithALimit) {
  expect_right({}, note_with_limit);
  expect_right({}, note_limits_in_a_row);
}
TEST(NoteModel, Mutants) {
  expect_mutants_die({"note.hpp"},
                     {{{}, note_wakes}, {{}, note_with_limit}, {{}, note_limits_in_a_row}});
}

// ---- ParkLock -------------------------------------------------------------------------------------

// An M that holds the only P. Made once: the P's queue and timers take no part.
M& lone_m() {
  static P p;
  static M m;
  p.alone = true;
  m.p = &p;
  return m;
}

// The P takes the lock `own` times, `others` threads once each.
template <int kOwn, int kOthers>
void biased_turns() {
  ParkLock l;
  var<int> n;
  const auto turn = [&] {
    const LockGuard guard(l);
    n = n + 1;
  };
  this_thread_is(&lone_m());
  l.bias();
  {
    Thread t(turn);
    if constexpr (kOthers == 2) {
      Thread u(turn);
      for (int i = 0; i < kOwn; ++i) turn();
    } else {
      for (int i = 0; i < kOwn; ++i) turn();
    }
  }
  check(n == kOwn + kOthers, "every turn counts");
  this_thread_is(nullptr);
}

// H5: the last one ends the lock right after its own unlock, the P or another thread.
void last_one_ends_a_biased_one() {
  struct Object {
    ParkLock lock;
    var<int> users{2};
  };
  alignas(Object) std::byte memory[sizeof(Object)];
  this_thread_is(&lone_m());
  auto* const o = new (memory) Object;
  o->lock.bias();
  const auto leave = [o] {
    o->lock.lock();
    o->users = o->users - 1;
    const bool last = o->users == 0;
    o->lock.unlock();
    if (last) o->~Object();
  };
  {
    Thread t(leave);
    leave();
  }
  this_thread_is(nullptr);
}

// Without a bias it is a Lock.
void unbiased_turns() {
  ParkLock l;
  var<int> n;
  const auto turn = [&] {
    const LockGuard guard(l);
    n = n + 1;
  };
  this_thread_is(&lone_m());
  {
    Thread t(turn);
    turn();
  }
  check(n == 2, "every turn counts");
  this_thread_is(nullptr);
}

// The P, a thread that waits, and one that only tries: who tries never ends a bias, and is never in together with others.
template <int kOwn>
void biased_try_turns() {
  ParkLock l;
  var<int> n;
  int done = 0;
  const auto turn = [&] {
    const LockGuard guard(l);
    n = n + 1;
  };
  const auto try_turn = [&] {
    if (!l.try_lock()) return;
    n = n + 1;
    ++done;
    l.unlock();
  };
  this_thread_is(&lone_m());
  l.bias();
  {
    Thread t(turn);
    Thread u(try_turn);
    for (int i = 0; i < kOwn; ++i) try_turn();
  }
  check(n == 1 + done, "every turn counts");
  this_thread_is(nullptr);
}

// H2, H3, H4: of the P and who ends the bias one sees the other, at any moment.
TEST(ParkLockModel, TheBiasEnds) {
  expect_right({.preemptions = 3}, biased_turns<1, 1>);
  expect_right({.preemptions = 3}, biased_turns<2, 1>);
}
TEST(ParkLockModel, TwoEndTheBias) {
  expect_right({.preemptions = 2}, biased_turns<1, 2>);
  const uint64_t runs = test::kSanitizers ? 2'000 : 50'000;
  const model::Result r = model::explore({.random_runs = runs, .seed = 1}, biased_turns<3, 2>);
  EXPECT_FALSE(r.failed) << r;
}
TEST(ParkLockModel, TheLastOneMayEndIt) {
  expect_right({.preemptions = 3}, last_one_ends_a_biased_one);
}
TEST(ParkLockModel, NoBias) {
  expect_right({.preemptions = 3}, unbiased_turns);
}
TEST(ParkLockModel, TryLock) {
  expect_right({.preemptions = 2}, biased_try_turns<1>);
  expect_right({.preemptions = 2}, biased_try_turns<2>);
}
TEST(ParkLockModel, Mutants) {
  expect_mutants_die({"park_lock.hpp", "park_lock.cpp", "port.cpp"},
                     {{{.preemptions = 3}, biased_turns<2, 1>},
                      {{.preemptions = 2}, biased_turns<1, 2>},
                      {{.preemptions = 2}, biased_try_turns<2>}});
}

}  // namespace
}  // namespace gort
