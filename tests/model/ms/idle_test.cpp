// Models of sleeping and waking Ms (I1 to I7 in idle.cpp): no work is left with all Ms asleep.
#include "sched/idle.hpp"

#include <gtest/gtest.h>

#include "ms/world.hpp"
#include "sched/park.hpp"
#include "sched/timer.hpp"
#include "support.hpp"

namespace gort {
namespace {

using model::check;
using model::var;

// I1, I2: an M gives up looking while a fiber submits another and keeps its P until that has run.
void submit_meets_sleep() {
  MsWorld world(2);
  model::Event b_ran;
  MsFiber b(MsFiber::Short(), [&] { b_ran.set(); });
  MsFiber c(MsFiber::Short(), [] {});
  MsFiber a([&] {
    ready(b.g());
    ready(c.g());  // b must make room
    b_ran.wait();
  });
  world.put(0, a);
  world.start();
  a.join();
  b.join();
  c.join();
  world.finish();
}

// I2, I4: a lone fiber in P::next, whose P is kept, is found by an M that was looking, or is woken for it.
void submit_lonely() {
  MsWorld world(2);
  var<int> data;
  MsFiber b(MsFiber::Short(),
            [&] { check(data == 7, "what was written before ready() is there"); });
  world.start_as_first();
  data = 7;
  ready(b.g());
  b.join();
  world.finish();
}

// The same for what waits together, as behind a close or in the poller.
void submit_several() {
  MsWorld world(2);
  model::Event b_ran;
  MsFiber b(MsFiber::Short(), [&] { b_ran.set(); });
  MsFiber a([&] {
    GList list;
    list.push_back(b.g());
    ready_list(list);
    b_ran.wait();
  });
  world.put(0, a);
  world.start();
  a.join();
  b.join();
  world.finish();
}

// I1, I2 with a thread that is no M.
void foreign_submit() {
  MsWorld world(2);
  MsFiber b(MsFiber::Short(), [] {});
  world.start();
  ready(b.g());
  b.join();
  world.finish();
}

// I3: of two that are queued at once the first keeps its P until the second has run, and so does who
// queued them.
void wake_up_in_turn() {
  MsWorld world(3);
  model::Event b_ran;
  model::Event c_ran;
  model::Event c_ran_too;
  MsFiber c(MsFiber::Short(), [&] {
    c_ran.set();
    c_ran_too.set();
  });
  MsFiber b([&] { c_ran.wait(); });
  MsFiber d(MsFiber::Short(), [] {});
  MsFiber a([&] {
    ready(b.g());
    ready(c.g());
    ready(d.g());
    c_ran_too.wait();
  });
  world.put(0, a);
  world.start();
  a.join();
  b.join();
  c.join();
  d.join();
  world.finish();
}

// I6, T3: of two timers that are set at the same time each comes when it is due.
void timers_in_turn() {
  MsWorld world(2);
  MsFiber a([&] {
    check(sleep_until_ns(5) == WakeCause::timeout, "nothing else ends it");
    check(ModelKernel::now_ns() == 5, "I6: the poller sleeps until the earliest timer");
  });
  MsFiber b([&] {
    check(sleep_until_ns(9) == WakeCause::timeout, "nothing else ends it");
    check(ModelKernel::now_ns() == 9, "I6: a poller sleeps until the timer that is left");
  });
  world.put(0, a);
  world.put(1, b);
  world.start();
  a.join();
  b.join();
  world.finish();
}

// I7: a poller that is roused for work, while another M has a timer to wait for.
void timer_meets_work() {
  MsWorld world(2);
  MsFiber b(MsFiber::Short(), [] {});
  MsFiber a([&] { check(sleep_until_ns(5) == WakeCause::timeout, "nothing else ends it"); });
  world.put(0, a);
  world.start();
  ready(b.g());
  a.join();
  b.join();
  world.finish();
}

// A fiber that blocks its thread gives its P away, and gets one again.
void blocks() {
  MsWorld world(2);
  model::Event b_ran;
  model::Event c_ran;
  MsFiber b(MsFiber::Short(), [&] { b_ran.set(); });
  MsFiber c(MsFiber::Short(), [&] { c_ran.set(); });
  MsFiber a([&] {
    begin_blocking();
    b_ran.wait();
    c_ran.wait();
    end_blocking();
  });
  world.put(0, a);
  world.put(0, b);
  world.put(0, c);
  world.start();
  a.join();
  b.join();
  c.join();
  world.finish();
}

// A fiber that comes back from blocking finds the other P taken, or free, or just about to be.
void comes_back() {
  MsWorld world(2);
  model::Event a_back;
  MsFiber b([&] { a_back.wait(); });
  MsFiber a([&] {
    begin_blocking();
    end_blocking();
    a_back.set();
  });
  world.put(0, a);
  world.put(0, b);
  world.start();
  a.join();
  b.join();
  world.finish();
}

// One M blocks while the other queues a fiber and keeps its P.
void blocks_meets_submit() {
  MsWorld world(2);
  model::Event b_ran;
  model::Event d_over;
  MsFiber b(MsFiber::Short(), [&] { b_ran.set(); });
  MsFiber c(MsFiber::Short(), [] {});
  MsFiber a([&] {
    begin_blocking();
    d_over.wait();
    end_blocking();
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
  a.join();
  b.join();
  c.join();
  d.join();
  world.finish();
}

TEST(IdleModel, BlocksMeetsSubmit) {
  expect_right_so_far(blocks_meets_submit, 20'000);
}
TEST(IdleModel, ComesBack) {
  expect_right_so_far(comes_back, 20'000);
}
TEST(IdleModel, SubmitLonely) {
  expect_right({.preemptions = 1, .stale = 1}, submit_lonely);
  expect_right_at_random(submit_lonely);
}
TEST(IdleModel, Submit) {
  expect_right_so_far(submit_meets_sleep, 20'000);
}
TEST(IdleModel, SubmitSeveral) {
  expect_right_so_far(submit_several, 20'000);
}
TEST(IdleModel, ForeignSubmit) {
  expect_right_so_far(foreign_submit, 20'000);
}
TEST(IdleModel, WakeUpInTurn) {
  expect_right_so_far(wake_up_in_turn, 20'000);
}
TEST(IdleModel, TimersInTurn) {
  expect_right_so_far(timers_in_turn, 20'000);
}
TEST(IdleModel, TimerMeetsWork) {
  expect_right_so_far(timer_meets_work, 20'000);
}
TEST(IdleModel, Blocks) {
  expect_right_so_far(blocks, 20'000);
}
TEST(IdleModel, Mutants) {
  const model::Options one_old_read{.preemptions = 1, .stale = 1, .max_runs = 15'000};
  const model::Options two_old_reads{.preemptions = 1, .stale = 2, .max_runs = 200'000};
  expect_mutants_die(
      {"idle.cpp", "idle_list.cpp", "find.cpp", "find.hpp", "park.cpp", "timer.cpp", "syscall.cpp"},
      {{two_old_reads, submit_lonely},
       {{.random_runs = 1'000}, submit_meets_sleep},
       {{.random_runs = 1'000}, submit_several},
       {one_old_read, foreign_submit},
       {{.random_runs = 1'000}, wake_up_in_turn},
       {{.random_runs = 1'000}, timers_in_turn},
       {{.random_runs = 1'000}, timer_meets_work},
       {{.random_runs = 1'000}, comes_back},
       {{.random_runs = 2'000}, blocks_meets_submit},
       {{.random_runs = 1'000}, blocks}});
}

}  // namespace
}  // namespace gort
