// Models of sysmon: its sleep (Y1), and what only it finds (I4, I8, timers and descriptors that no M looks after).
#include "sched/sysmon.hpp"

#include <gtest/gtest.h>
#include <sys/epoll.h>

#include "base/pause.hpp"
#include "ms/world.hpp"
#include "sched/census.hpp"
#include "sched/idle.hpp"
#include "sched/loop.hpp"
#include "sched/netpoll.hpp"
#include "sched/park.hpp"
#include "sched/timer.hpp"
#include "support.hpp"

namespace gort {
namespace {

using model::check;
using model::Event;

constexpr int kFd = 1;
constexpr int64_t kMsNs = 1'000'000;
// Everything has been idle for so long that sysmon goes to sleep for good at its first look.
constexpr int64_t kLongIdleNs = 100 * kMsNs;

void pass_lonely_ones_over() {
  for (P& p : sched().all_procs()) p.lonely_limit.store(UINT32_MAX, std::memory_order_relaxed);
}

// Y1, I4: sysmon goes to sleep for good while an M gets a P. On that P a fiber makes another ready, for which nobody
// is woken, and goes on: sysmon alone finds it.
void work_meets_sleep() {
  MsWorld world(2);
  ModelKernel::pass_until(kLongIdleNs);
  pass_lonely_ones_over();
  Event b_ran;
  MsFiber b(MsFiber::Short(), [&] { b_ran.set(); });
  MsFiber a([&] {
    ready(b.g());
    b_ran.wait();
  });
  world.start();
  world.start_sysmon();
  ready(a.g());
  a.join();
  b.join();
  world.finish();
}

// Y1: the same on the smallest scale: the program's own thread is the only M, and takes a P.
void take_meets_sleep() {
  MsWorld world(1);
  ModelKernel::pass_until(kLongIdleNs);
  world.begin_idle();
  M m;
  m_enter(&m);
  world.start_sysmon();
  check(try_take_idle_p(&m) != nullptr, "a P is idle at the start");
  const uint64_t seen = ModelKernel::looks_of_sysmon();
  model::await([seen] { return ModelKernel::looks_of_sysmon() > seen + 1; });
  world.finish();
}

// Y1: the same where sysmon sleeps already, or still works, and an M takes a P by itself.
void work_behind_sleep() {
  MsWorld world(2);
  ModelKernel::pass_until(kLongIdleNs);
  pass_lonely_ones_over();
  Event b_ran;
  MsFiber b(MsFiber::Short(), [&] { b_ran.set(); });
  MsFiber a([&] {
    check(sleep_until_ns(2 * kLongIdleNs) == WakeCause::timeout, "nothing else ends it");
    ready(b.g());
    b_ran.wait();
  });
  world.put(0, a);
  world.start();
  world.start_sysmon();
  a.join();
  b.join();
  world.finish();
}

// The run's end meets sysmon's sleep.
void end_meets_sleep() {
  MsWorld world(1);
  ModelKernel::pass_until(kLongIdleNs);
  sched().phase.store(Phase::stopping, std::memory_order_relaxed);
  MsFiber a(MsFiber::Short(), [] {});
  world.born(a);
  world.put(0, a);
  world.start();
  world.start_sysmon();
  a.join();
  world.finish_ended();
}

// A descriptor while every P is busy: sysmon polls, and queues the fiber.
void descriptor_while_busy() {
  MsWorld world(1);
  int error = 0;
  PollDesc* pd = netpoll_open(kFd, &error);
  MsFiber a([&] {
    check(netpoll_wait(pd, PollMode::read) == PollResult::ready, "P1: the edge is not lost");
  });
  MsFiber hog([&] {
    ModelKernel::event(kFd, EPOLLIN);
    while (sched().globq_size() == 0) cpu_pause();
  });
  world.put(0, a);
  world.put(0, hog);
  world.start();
  world.start_sysmon();
  a.join();
  hog.join();
  world.finish();
  netpoll_close(pd);
}

// A timer in the heap of a P that runs something else, set while the other M was asleep on its note.
void timer_while_busy() {
  MsWorld world(2);
  Event a_ran;
  MsFiber a([&] {
    check(sleep_until_ns(5 * kMsNs) == WakeCause::timeout, "nothing else ends it");
    a_ran.set();
  });
  MsFiber hog([&] { a_ran.wait(); });
  world.put(0, a);
  world.put(0, hog);
  world.start();
  world.start_sysmon();
  a.join();
  hog.join();
  world.finish();
}

// Y2: a thread without a P arms a timer while the M and sysmon sleep, or are about to.
void foreign_timer_meets_sleep() {
  MsWorld world(1);
  ModelKernel::pass_until(kLongIdleNs);
  Event fired;
  Timer timer;
  timer.when_ns = 2 * kLongIdleNs;
  timer.arg = &fired;
  timer.fire = [](Timer* t) noexcept -> G* {
    static_cast<Event*>(t->arg)->set();
    return nullptr;
  };
  world.start();
  world.start_sysmon();
  timer_add(timer_home(), &timer);
  fired.wait();
  world.finish();
}

// I8, Y1: no thread is to be had when a fiber blocks its own; what its P holds is found when there is one again,
// although every M may be inside blocking() by then.
void refused_hand_off() {
  MsWorld world(1);
  ModelKernel::pass_until(kLongIdleNs);
  ModelKernel::refuse_threads(1);
  Event b_ran;
  MsFiber b(MsFiber::Short(), [&] { b_ran.set(); });
  MsFiber a([&] {
    ready(b.g());
    begin_blocking();
    b_ran.wait();
    end_blocking();
  });
  world.put(0, a);
  world.start();
  world.start_sysmon();
  a.join();
  b.join();
  world.finish();
}

// The same for a fiber that another thread makes ready while the M there is is inside blocking().
void refused_foreign_ready() {
  MsWorld world(1);
  ModelKernel::pass_until(kLongIdleNs);
  ModelKernel::refuse_threads(2);
  Event a_blocks;
  Event b_ran;
  MsFiber b(MsFiber::Short(), [&] { b_ran.set(); });
  MsFiber a([&] {
    begin_blocking();
    a_blocks.set();
    b_ran.wait();
    end_blocking();
  });
  world.put(0, a);
  world.start();
  world.start_sysmon();
  a_blocks.wait();
  ready(b.g());
  a.join();
  b.join();
  world.finish();
}

TEST(SysmonModel, WorkMeetsSleep) {
  expect_right_so_far(work_meets_sleep, 10'000);
}
TEST(SysmonModel, TakeMeetsSleep) {
  expect_right({.preemptions = 2, .stale = 1}, take_meets_sleep);
  expect_right_at_random(take_meets_sleep);
}
TEST(SysmonModel, WorkBehindSleep) {
  expect_right_so_far(work_behind_sleep, 10'000);
}
TEST(SysmonModel, EndMeetsSleep) {
  expect_right_so_far(end_meets_sleep, 10'000);
}
TEST(SysmonModel, DescriptorWhileBusy) {
  expect_right_so_far(descriptor_while_busy, 10'000);
}
TEST(SysmonModel, TimerWhileBusy) {
  expect_right_so_far(timer_while_busy, 10'000);
}
TEST(SysmonModel, ForeignTimerMeetsSleep) {
  expect_right_so_far(foreign_timer_meets_sleep, 10'000);
}
TEST(SysmonModel, RefusedHandOff) {
  expect_right_so_far(refused_hand_off, 10'000);
}
TEST(SysmonModel, RefusedForeignReady) {
  expect_right_so_far(refused_foreign_ready, 10'000);
}
TEST(SysmonModel, Mutants) {
  std::vector<model::Program> programs;
  for (const auto& p :
       {work_meets_sleep, work_behind_sleep, end_meets_sleep, descriptor_while_busy,
        timer_while_busy, foreign_timer_meets_sleep, refused_hand_off, refused_foreign_ready}) {
    programs.push_back({{.random_runs = 2'000}, p});
  }
  programs.push_back({{.random_runs = 20'000}, refused_hand_off});
  programs.push_back({{.preemptions = 2, .stale = 1}, take_meets_sleep});
  expect_mutants_die({"sysmon.cpp"}, programs);
}

}  // namespace
}  // namespace gort
