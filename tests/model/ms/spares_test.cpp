// Models of Ms that come and go (SP1 to SP3), and of Ps that blocking() lends (PR7).
#include "sched/spares.hpp"

#include <gtest/gtest.h>

#include "base/pause.hpp"
#include "ms/world.hpp"
#include "sched/idle.hpp"
#include "sched/loop.hpp"
#include "sched/park.hpp"
#include "sched/preempt.hpp"
#include "sched/region.hpp"
#include "sched/sched.hpp"
#include "support.hpp"

namespace gort {
namespace {

using model::check;
using model::Event;

constexpr int64_t kSecondNs = 1'000'000'000;

// Every idle M leaves that may, as sysmon has it.
void retire() {
  (void)retire_spares(0);                // the first look: how many are idle
  (void)retire_spares(100 * kSecondNs);  // the second: all the time since
}

// SP2: an M that is told to leave while it goes to sleep has seen work that it can not take any more.
void work_for_one_that_leaves() {
  MsWorld world(1);
  Event b_ran;
  MsFiber b(MsFiber::Short(), [&] { b_ran.set(); });
  MsFiber a([&] {
    begin_blocking();
    b_ran.wait();
    end_blocking();
  });
  world.put(0, a);
  world.start();
  world.add_spare();
  world.add_spare();
  retire();
  ready(b.g());
  a.join();
  b.join();
  world.finish();
}

// SP2, SP3: a record serves again, once its thread has been waited for.
void one_comes_again() {
  MsWorld world(1);
  Event b_ran;
  Event a_blocks;
  MsFiber b(MsFiber::Short(), [&] { b_ran.set(); });
  MsFiber a([&] {
    begin_blocking();
    a_blocks.set();
    b_ran.wait();
    end_blocking();
  });
  world.put(0, a);
  world.start();
  world.add_spare();
  check(start_spares() == 0, "the model's kernel makes every thread of this kind");
  sched().tick_ns = 1;
  a_blocks.wait();
  retire();
  ready(b.g());
  a.join();
  b.join();
  MsWorld::end_run();
  stop_spares();
  world.finish_ended();
}

// PR7, I2: a thread makes a fiber ready while another lends its P, and takes it back.
void lent_meets_ready() {
  MsWorld world(1);
  MsFiber b(MsFiber::Short(), [] {});
  MsFiber a([&] {
    begin_blocking();
    end_blocking();
    begin_blocking();
    end_blocking();
  });
  world.put(0, a);
  world.start();
  world.add_spare();
  ready(b.g());
  a.join();
  b.join();
  world.finish();
}

// PR7: what the lender did with its P is known to who takes it, and the other way round.
void lent_and_used() {
  MsWorld world(1);
  model::var<int> of_the_p;
  Event b_ran;
  MsFiber b(MsFiber::Short(), [&] {
    of_the_p = of_the_p + 1;
    b_ran.set();
  });
  MsFiber a([&] {
    of_the_p = 7;
    begin_blocking();
    b_ran.wait();
    end_blocking();
    of_the_p = of_the_p + 1;
  });
  world.put(0, a);
  world.start();
  world.add_spare();
  ready(b.g());
  a.join();
  b.join();
  check(of_the_p == 9, "each has had the P in turn");
  world.finish();
}

// I2: sysmon takes the P of a thread that is blocked while nobody waits for it, and somebody begins to.
void taken_meets_ready() {
  MsWorld world(2);
  sched().tick_ns = 1;
  Event b_ran;
  Event d_over;
  MsFiber b(MsFiber::Short(), [&] { b_ran.set(); });
  MsFiber c(MsFiber::Short(), [] {});
  MsFiber a([&] {
    leave_region();
    d_over.wait();
    enter_region();
  });
  MsFiber d([&] {
    ready(b.g());
    ready(c.g());
    b_ran.wait();
    d_over.set();
  });
  world.put(0, a);
  world.put(1, d);
  world.start();
  world.add_spare();
  model::Thread watchman([] {
    P* const p = sched().procs;
    while (!retake(p, p->turns())) cpu_pause();
  });
  a.join();
  b.join();
  c.join();
  d.join();
  watchman.join();
  world.finish();
}

// PR7, Y1: an M takes its P back while sysmon goes to sleep for good, as the P counts as idle.
void lent_meets_sleep() {
  MsWorld world(1);
  ModelKernel::pass_until(kSecondNs);
  world.begin_idle();
  M m;
  m_enter(&m);
  check(try_take_idle_p(&m) != nullptr, "a P is idle at the start");
  check(lend_p(&m), "nobody waits for it");
  world.start_sysmon();
  check(end_lending(&m), "nobody has taken it");
  const uint64_t seen = ModelKernel::looks_of_sysmon();
  model::await([seen] { return ModelKernel::looks_of_sysmon() > seen + 1; });
  world.finish();
}

TEST(SparesModel, WorkForOneThatLeaves) {
  expect_right_so_far(work_for_one_that_leaves, 20'000);
}
TEST(SparesModel, OneComesAgain) {
  expect_right_so_far(one_comes_again, 20'000);
}
TEST(SparesModel, LentMeetsReady) {
  expect_right_so_far(lent_meets_ready, 20'000);
}
TEST(SparesModel, LentAndUsed) {
  expect_right_so_far(lent_and_used, 20'000);
}
TEST(SparesModel, TakenMeetsReady) {
  expect_right_at_random(taken_meets_ready, 20'000);
}
TEST(SparesModel, LentMeetsSleep) {
  expect_right({.preemptions = 2, .stale = 1}, lent_meets_sleep);
  expect_right_at_random(lent_meets_sleep);
}
TEST(SparesModel, Mutants) {
  std::vector<model::Program> programs;
  for (const auto& p : {work_for_one_that_leaves, one_comes_again, lent_meets_ready, lent_and_used,
                        taken_meets_ready}) {
    programs.push_back({{.random_runs = 5'000}, p});
  }
  programs.push_back({{.preemptions = 2, .stale = 1}, lent_meets_sleep});
  expect_mutants_die({"spares.cpp"}, programs);
}

}  // namespace
}  // namespace gort
