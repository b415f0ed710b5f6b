// Models of fibers that are locked to their Ms (PR8 in preempt.hpp): they wait, give way, are interrupted, block and end, while others
// take Ps and give them back.
#include <gtest/gtest.h>

#include "base/pause.hpp"
#include "ms/world.hpp"
#include "sched/idle.hpp"
#include "sched/park.hpp"
#include "sched/preempt.hpp"
#include "sched/region.hpp"
#include "sched/sched.hpp"
#include "sched/spares.hpp"
#include "support.hpp"

namespace gort {
namespace {

using model::check;
using model::Event;
using model::var;

// A wait that is over when somebody makes the fiber ready, who has been told that it waits.
struct Told : Wait {
  Event waits;
};
void wait_for(Told& w) {
  w.commit = [](Wait* base) noexcept {
    static_cast<Told*>(base)->waits.set();
    return true;
  };
  w.reason = WaitReason::sleep;
  (void)park(w);
}

// Threads are made by nobody but the world, and where it has started one, by spares.cpp's.
void begin() {
  sched().tick_ns = 1;
}

// Who runs here, where the M is another fiber's.
void check_free() {
  check(current_m()->bond == Bond::no, "PR8: nobody else runs on that M");
}

// It waits, and is woken by a fiber that runs elsewhere, or by a thread.
void waits(bool by_thread) {
  MsWorld world(2);
  begin();
  Told told;
  var<int> data;
  const auto wake = [&](G* g) {
    told.waits.wait();
    data = 7;
    ready(g);
  };
  MsFiber a([&] {
    M* const mine = current_m();
    lock_to_m(mine);
    wait_for(told);
    check(current_m() == mine, "PR8: on its own M");
    check(data == 7, "what was done before ready() is known");
    unlock_from_m(mine);
  });
  MsFiber b([&] {
    check_free();
    if (!by_thread) wake(a.g());
  });
  world.put(0, a);
  world.put(1, b);
  world.start();
  world.add_spare();
  if (by_thread) {
    wake(a.g());
  }
  a.join();
  b.join();
  world.finish();
}
void woken_by_a_fiber() {
  waits(false);
}
void woken_by_a_thread() {
  waits(true);
}

// It gives way, with others in its P's queue, and without.
void gives_way() {
  MsWorld world(1);
  begin();
  var<int> of_the_p;
  const auto other = [&] {
    check_free();
    of_the_p = of_the_p + 1;
    current_m()->p->countdown = 10;  // the P's next turns are no ladder's
  };
  MsFiber b(other);
  MsFiber c(other);
  MsFiber a([&] {
    M* const mine = current_m();
    lock_to_m(mine);
    ready(b.g());
    of_the_p = of_the_p + 1;
    for (int i = 0; i < 2; ++i) {
      yield_fiber();
      check(current_m() == mine, "PR8: on its own M");
      if (i == 0) ready(c.g());
    }
    yield_fiber();
    check(current_m() == mine, "PR8: on its own M");
    of_the_p = of_the_p + 1;
    unlock_from_m(mine);
  });
  world.put(0, a);
  world.start();
  world.add_spare();
  a.join();
  b.join();
  c.join();
  check(of_the_p == 4, "each has had the P in turn");
  world.finish();
}

// Two of them, on one P: each M gets the P from the other.
void two_take_turns() {
  MsWorld world(1);
  begin();
  const auto body = [] {
    M* const mine = current_m();
    check_free();
    lock_to_m(mine);
    yield_fiber();
    check(current_m() == mine, "PR8: on its own M");
    yield_fiber();
    check(current_m() == mine, "PR8: on its own M");
    unlock_from_m(mine);
  };
  MsFiber a(body);
  MsFiber b(body);
  world.put(0, a);
  world.put(0, b);
  world.start();
  world.add_spare();
  a.join();
  b.join();
  world.finish();
}

// PR1: it is interrupted while it is locked, and waits later.
void interrupted() {
  MsWorld world(1);
  begin();
  bool b_ran = false;
  MsFiber b([&] {
    check_free();
    b_ran = true;
  });
  MsFiber a([&] {
    M* const mine = current_m();
    lock_to_m(mine);
    ready(b.g());
    leave_region();
    while (!b_ran) {
      preempt_tick(mine);
      preempt_tick(mine);
      cpu_pause();
    }
    enter_region();
    yield_fiber();
    check(current_m() == mine, "PR8: on its own M");
    unlock_from_m(mine);
  });
  world.put(0, a);
  world.start();
  world.add_spare();
  a.join();
  b.join();
  world.finish();
}

// It blocks, and comes back for a P that is another's by then.
void blocks() {
  MsWorld world(1);
  begin();
  Event b_ran;
  MsFiber b([&] {
    check_free();
    b_ran.set();
    yield_fiber();
  });
  MsFiber a([&] {
    M* const mine = current_m();
    lock_to_m(mine);
    ready(b.g());
    begin_blocking();
    b_ran.wait();
    end_blocking();
    check(current_m() == mine, "PR8: on its own M");
    unlock_from_m(mine);
  });
  world.put(0, a);
  world.start();
  world.add_spare();
  a.join();
  b.join();
  world.finish();
}

// Its end is its M's; what is left in the P is somebody else's to run: one that is there, or that has to be made.
void ends_locked(bool spare) {
  MsWorld world(1);
  begin();
  check(start_spares() == 0, "the model's kernel makes every thread of this kind");
  MsFiber b([] { check_free(); });
  MsFiber a([&] {
    lock_to_m(current_m());
    ready(b.g());
    yield_fiber();
  });
  world.put(0, a);
  world.start();
  if (spare) world.add_spare();
  a.join();
  b.join();
  MsWorld::end_run();
  stop_spares();
  world.finish_ended();
}

TEST(OsThreadModel, WokenByAFiber) {
  expect_right_so_far(woken_by_a_fiber, 10'000);
}
TEST(OsThreadModel, WokenByAThread) {
  expect_right_so_far(woken_by_a_thread, 10'000);
}
TEST(OsThreadModel, GivesWay) {
  expect_right_so_far(gives_way, 10'000);
}
TEST(OsThreadModel, TwoTakeTurns) {
  expect_right_so_far(two_take_turns, 10'000);
}
TEST(OsThreadModel, Interrupted) {
  expect_right_so_far(interrupted, 10'000);
}
TEST(OsThreadModel, Blocks) {
  expect_right_so_far(blocks, 10'000);
}
TEST(OsThreadModel, EndsLocked) {
  expect_right_so_far([] { ends_locked(false); }, 10'000);
}
// In more runs than these five Ms are made, and with them the checker's threads do not suffice.
TEST(OsThreadModel, EndsLockedBesideASpare) {
  const model::Result r =
      model::explore({.preemptions = 1, .stale = 1, .max_runs = 4'000}, [] { ends_locked(true); });
  EXPECT_FALSE(r.failed) << r;
}

}  // namespace
}  // namespace gort
