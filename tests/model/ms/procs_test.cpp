// Models of Ps that rest and come back (RP1 to RP7).
#include "sched/procs.hpp"

#include <gtest/gtest.h>

#include "base/pause.hpp"
#include "ms/world.hpp"
#include "sched/census.hpp"
#include "sched/idle.hpp"
#include "sched/loop.hpp"
#include "sched/park.hpp"
#include "sched/preempt.hpp"
#include "sched/region.hpp"
#include "sched/sched.hpp"
#include "sched/timer.hpp"
#include "support.hpp"

namespace gort {
namespace {

using model::check;
using model::Event;

constexpr int64_t kMsNs = 1'000'000;
constexpr int64_t kSecondNs = 1'000 * kMsNs;

void at_the_next_turn() {
  for (P& p : sched().all_procs()) p.countdown = 1;
}

int in_use() {
  return sched().procs_in_use.load(std::memory_order_relaxed);
}

// The fiber goes round once, by the ladder.
void once_round() {
  at_the_next_turn();
  yield_fiber();
}

// RP1, RP2, I1: a P is put to rest, by its own M or by the program's thread while it is idle, while a fiber is made ready.
void shrink_meets_ready() {
  MsWorld world(2);
  MsFiber b(MsFiber::Short(), [] {});
  MsFiber c(MsFiber::Short(), [] {});
  world.put(1, c);
  world.start();
  at_the_next_turn();
  check(set_procs_by_hand(1) == 2, "the number before");
  ready(b.g());
  b.join();
  c.join();
  world.finish();
}

// RP2: what is queued in a P that rests is run by the other.
void queued_in_one_that_rests() {
  MsWorld world(2);
  MsFiber b(MsFiber::Short(), [] {});
  MsFiber c(MsFiber::Short(), [] {});
  MsFiber a([&] {
    ready(b.g());
    ready(c.g());
    once_round();
  });
  world.put(1, a);
  world.start();
  set_procs_by_hand(1);
  a.join();
  b.join();
  c.join();
  world.finish();
}

// I2: a P comes into use while its M goes to sleep, and a fiber waits in the queue of one that is busy.
void grow_meets_sleep() {
  MsWorld world(2);
  sched().may_be_alone = false;
  set_procs_by_hand(1);
  Event c_ran;
  MsFiber c(MsFiber::Short(), [&] { c_ran.set(); });
  MsFiber d(MsFiber::Short(), [] {});
  MsFiber a([&] {
    ready(c.g());
    ready(d.g());
    c_ran.wait();
  });
  world.put(0, a);
  world.start();
  while (in_use() != 1) cpu_pause();
  set_procs_by_hand(2);
  a.join();
  c.join();
  d.join();
  world.finish();
}

// RP5: P 0 is alone, and is not any more once there is another; what it has done by plain stores the thief finds.
void alone_and_not() {
  MsWorld world(1);
  model::var<int> data;
  Event b_ran;
  MsFiber b(MsFiber::Short(), [&] {
    check(data == 7, "what the owner did while it was alone is known to a thief");
    b_ran.set();
  });
  MsFiber c(MsFiber::Short(), [] {});
  MsFiber a([&] {
    data = 7;
    ready(b.g());
    ready(c.g());
    while (sched().procs[0].alone) {
      leave_region();
      preempt_tick(current_m());
      enter_region();
      cpu_pause();
    }
    b_ran.wait();  // it can only be run by the other P
  });
  world.put(0, a);
  world.start();
  world.add_spare();
  set_procs_by_hand(2);
  a.join();
  b.join();
  c.join();
  world.finish();
}

// RP5, RP3: the other way. Both Ps have work while the number falls; in the end P 0 is alone.
void alone_again() {
  MsWorld world(2);
  MsFiber c(MsFiber::Short(), [] {});
  MsFiber b([&] {
    once_round();
    ready(c.g());
    once_round();
  });
  MsFiber a([&] {
    while (!sched().procs[0].alone) {
      cpu_pause();
      once_round();
    }
  });
  world.put(0, a);
  world.put(1, b);
  world.start();
  set_procs_by_hand(1);
  a.join();
  b.join();
  c.join();
  check(in_use() == 1, "RP1: the other rests");
  world.finish();
}

int current_p() {
  return current_m()->p->id;
}

// RP4: the P of a sleeping fiber rests, and the only other one is busy: sysmon wakes the fiber.
void timer_of_one_that_rests() {
  MsWorld world(2);
  Event a_sleeps;
  int home = 0;
  MsFiber a([&] {
    home = current_p();
    a_sleeps.set();
    check(sleep_until_ns(5 * kMsNs) == WakeCause::timeout, "nothing else ends it");
  });
  MsFiber hog([&] {
    a_sleeps.wait();
    if (home == 0 || current_p() != 0) return;  // stolen: then there is nothing to see
    set_procs_by_hand(1);
    while (sched().globq_size() == 0) cpu_pause();
  });
  world.put(1, a);
  world.put(0, hog);
  world.start();
  world.start_sysmon();
  hog.join();
  a.join();
  world.finish();
}

// RP7: a fiber that runs by a P that is to rest is interrupted: it goes on by P 0, or waits for it in line.
void hog_changes_p() {
  MsWorld world(2);
  sched().tick_ns = 1;
  bool shrunk = false;
  bool over = false;
  const auto ticks_until = [&shrunk](auto holds) {
    leave_region();
    preempt_tick(current_m());
    while (!shrunk) cpu_pause();
    while (!holds()) {
      preempt_tick(current_m());
      cpu_pause();
    }
    enter_region();
  };
  MsFiber a([&] {
    ticks_until([] { return current_p() == 0; });
    over = true;
  });
  MsFiber b([&] { ticks_until([&over] { return over; }); });
  world.put(1, a);
  world.put(0, b);
  world.start();
  world.add_spare();
  set_procs_by_hand(1);
  shrunk = true;
  a.join();
  b.join();
  world.finish();
}

// RP1 against PR5: sysmon takes the P from an M that is blocked while it is to rest.
void shrink_meets_retake() {
  MsWorld world(2);
  sched().tick_ns = 1;
  Event c_ran;
  bool over = false;
  MsFiber c(MsFiber::Short(), [&] {
    over = true;
    c_ran.set();
  });
  MsFiber a([&] {
    ready(c.g());
    leave_region();
    c_ran.wait();
    enter_region();
  });
  world.put(1, a);
  world.start();
  world.add_spare();
  model::Thread watchman([&over] {
    while (!over) {
      for (P& p : sched().all_procs()) (void)retake(&p, p.turns());
      cpu_pause();
    }
  });
  set_procs_by_hand(1);
  a.join();
  c.join();
  watchman.join();
  world.finish();
}

// RP1 against PR7: a P that is lent rests at once; its fiber waits for the other.
void shrink_meets_loan() {
  MsWorld world(2);
  MsFiber b(MsFiber::Short(), [] {});
  MsFiber a([&] {
    begin_blocking();
    end_blocking();
    ready(b.g());
    begin_blocking();
    end_blocking();
  });
  world.put(1, a);
  world.start();
  set_procs_by_hand(1);
  a.join();
  b.join();
  world.finish();
}

// RP6: sysmon has asked the machine, and the program sets the number by hand.
void by_hand_meets_machine() {
  MsWorld world(1);
  {
    const LockGuard guard(sched().lock);
    sched().procs_follow = true;
  }
  ModelKernel::processors(2);
  world.begin_idle();
  {
    model::Thread watchman([] { follow_machine(); });
    set_procs_by_hand(3);
  }
  check(sched().procs_limit.load(std::memory_order_relaxed) == 3, "RP6: what is set by hand stays");
  world.finish();
}

// RP2, Y1: sysmon goes to sleep for good while P 0 is taken and then P 1, idle, is put to rest. It must stay awake.
void shrink_meets_sysmons_sleep() {
  MsWorld world(2);
  ModelKernel::pass_until(kSecondNs / 2);
  world.begin_idle();
  M m;
  m_enter(&m);
  P* const one = try_take_idle_p(&m);
  check(try_take_idle_p(&m) == sched().procs, "the other one");
  hand_over_p(one);
  hand_over_p(sched().procs);
  world.start_sysmon();
  check(try_take_idle_p(&m) == sched().procs, "the last that became idle");
  set_procs_by_hand(1);
  const uint64_t seen = ModelKernel::looks_of_sysmon();
  model::await([seen] { return ModelKernel::looks_of_sysmon() > seen + 1; });
  world.finish();
}

// D1, D6: P 1 rests with the only timer, sysmon fires it, P 0 becomes idle meanwhile: no deadlock.
void no_deadlock_beside_sysmon() {
  MsWorld world(2);
  world.look_for_deadlocks([] { model::fail("D6: a fiber in sysmon's hands was taken for none"); });
  Event a_sleeps;
  int home = 0;
  MsFiber a([&] {
    home = current_p();
    a_sleeps.set();
    check(sleep_until_ns(5 * kMsNs) == WakeCause::timeout, "nothing else ends it");
  });
  MsFiber b([&] {
    a_sleeps.wait();
    if (home == 0 || current_p() != 0) return;
    set_procs_by_hand(1);
    while (in_use() != 1) cpu_pause();
    ModelKernel::pass_until(5 * kMsNs);
    cpu_pause();  // sysmon looks
  });
  world.born(a);
  world.born(b);
  world.put(1, a);
  world.put(0, b);
  world.start();
  world.start_sysmon();
  a.join();
  b.join();
  world.finish();
}

// D1: with a P that rests, too, it is told that nothing can go on.
void deadlock_with_one_that_rests() {
  MsWorld world(2);
  Event told;
  world.look_for_deadlocks([&] { told.set(); });
  MsFiber a([&] {
    Wait for_nothing;
    for_nothing.commit = [](Wait*) noexcept { return true; };
    for_nothing.reason = WaitReason::mutex;
    park(for_nothing);
  });
  world.born(a);
  world.put(1, a);
  world.start();
  set_procs_by_hand(1);
  told.wait();
  ready(a.g());
  a.join();
  world.finish();
}

TEST(ProcsModel, ShrinkMeetsReady) {
  expect_right_so_far(shrink_meets_ready, 20'000);
}
TEST(ProcsModel, QueuedInOneThatRests) {
  expect_right_so_far(queued_in_one_that_rests, 20'000);
}
TEST(ProcsModel, GrowMeetsSleep) {
  expect_right_so_far(grow_meets_sleep, 20'000);
}
TEST(ProcsModel, AloneAndNot) {
  expect_right_so_far(alone_and_not, 20'000);
}
TEST(ProcsModel, AloneAgain) {
  expect_right_so_far(alone_again, 20'000);
}
TEST(ProcsModel, TimerOfOneThatRests) {
  expect_right_so_far(timer_of_one_that_rests, 20'000);
}
TEST(ProcsModel, HogChangesP) {
  expect_right_so_far(hog_changes_p, 20'000);
}
TEST(ProcsModel, ShrinkMeetsRetake) {
  expect_right_so_far(shrink_meets_retake, 20'000);
}
TEST(ProcsModel, ShrinkMeetsLoan) {
  expect_right_so_far(shrink_meets_loan, 20'000);
}
TEST(ProcsModel, ByHandMeetsMachine) {
  expect_right({.preemptions = 2, .stale = 1}, by_hand_meets_machine);
}

TEST(ProcsModel, ShrinkMeetsSysmonsSleep) {
  expect_right_so_far(shrink_meets_sysmons_sleep, 20'000);
}
TEST(ProcsModel, NoDeadlockBesideSysmon) {
  expect_right_so_far(no_deadlock_beside_sysmon, 20'000);
}
TEST(ProcsModel, DeadlockWithOneThatRests) {
  expect_right_so_far(deadlock_with_one_that_rests, 20'000);
}
TEST(ProcsModel, Mutants) {
  std::vector<model::Program> programs;
  for (const auto& p : {shrink_meets_ready, queued_in_one_that_rests, grow_meets_sleep,
                        alone_and_not, shrink_meets_retake, hog_changes_p}) {
    programs.push_back({{.random_runs = 2'000}, p});
  }
  programs.push_back({{.preemptions = 2, .stale = 1}, by_hand_meets_machine});
  expect_mutants_die({"procs.cpp", "procs.hpp"}, programs);
}

}  // namespace
}  // namespace gort
