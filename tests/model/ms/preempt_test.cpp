// Models of preemption (PR1 to PR5, RG1): a P moves and its fiber stays; sysmon takes a P from an M that is blocked.
//
// A signal comes where a program says so: preempt_tick() is called as its handler does, on the fiber's M, outside of a
// region.
#include "sched/preempt.hpp"

#include <gtest/gtest.h>
#include <sys/epoll.h>

#include "base/pause.hpp"
#include "ms/world.hpp"
#include "sched/census.hpp"
#include "sched/find.hpp"
#include "sched/idle.hpp"
#include "sched/netpoll.hpp"
#include "sched/park.hpp"
#include "sched/region.hpp"
#include "sched/sched.hpp"
#include "sched/spares.hpp"
#include "support.hpp"

namespace gort {
namespace {

constexpr int kFd = 1;

using model::check;
using model::Event;
using model::var;

// The body of a fiber, which stands outside of the runtime, but for what it calls.
template <class F>
auto program(F f) {
  return [f] {
    leave_region();
    f();
    enter_region();
  };
}

void make_ready(MsFiber& fiber) {
  const Region in;
  ready(fiber.g());
}

// Two ticks, as a fiber must have run for one to be interrupted at the next.
void ticks() {
  preempt_tick(current_m());
  preempt_tick(current_m());
  cpu_pause();  // others go on meanwhile
}

void switch_on() {
  sched().tick_ns = 1;
}

// PR1 to PR3: a fiber gives way to one that waits in its P's queue, and goes on behind it. With `lonely` the other is
// made ready by the fiber itself.
void gives_way() {
  MsWorld world(1);
  switch_on();
  var<int> data;
  bool b_ran = false;
  MsFiber b(program([&] {
    data = data + 1;
    b_ran = true;
  }));
  MsFiber a(program([&] {
    data = 7;
    make_ready(b);
    while (!b_ran) ticks();
    check(data == 8, "what the other has done is known to who comes behind it");
  }));
  world.put(0, a);
  world.start();
  world.add_spare();
  a.join();
  b.join();
  world.finish();
}

// PR1: two that are interrupted take turns, each on its M; nobody else needs an M.
void take_turns() {
  MsWorld world(1);
  switch_on();
  int turns = 0;
  const auto hog = [&turns](int me) {
    return program([&turns, me] {
      while (turns < 4) {
        if (turns % 2 == me) ++turns;
        ticks();
      }
    });
  };
  MsFiber a(hog(0));
  MsFiber b(hog(1));
  world.put(0, a);
  world.put(0, b);
  world.start();
  world.add_spare();
  a.join();
  b.join();
  world.finish();
}

// PR6: a fiber is asked to give way before it has run for a tick; if its P has moved on meanwhile, nothing happens.
void kicked() {
  MsWorld world(1);
  switch_on();
  bool b_ran = false;
  MsFiber b(program([&] { b_ran = true; }));
  MsFiber a(program([&] {
    make_ready(b);
    while (!b_ran) {
      (void)preempt_kicked(current_m());
      cpu_pause();
    }
  }));
  world.put(0, a);
  world.start();
  world.add_spare();
  model::Thread watchman([&] {
    P* const p = sched().procs;
    while (!b.over()) {
      (void)kick(p, p->turns());
      cpu_pause();
    }
  });
  a.join();
  b.join();
  watchman.join();
  world.finish();
}

// PR2: the P goes to the M that sleeps for a descriptor, while that one wakes up by itself. Its own P is somebody else's.
void given_to_the_poller() {
  MsWorld world(2);
  switch_on();
  int error = 0;
  PollDesc* pd = netpoll_open(kFd, &error);
  M other;
  bool b_ran = false;
  MsFiber c([&] {
    check(netpoll_wait(pd, PollMode::read) == PollResult::ready, "P1: the edge is not lost");
  });
  MsFiber b(program([&] { b_ran = true; }));
  MsFiber a(program([&] {
    while (try_take_idle_p(&other) == nullptr) cpu_pause();
    make_ready(b);
    ModelKernel::event(kFd, EPOLLIN);
    while (!b_ran) ticks();
    hand_off_p(&other);
  }));
  world.put(1, c);
  world.put(0, a);
  world.start();
  a.join();
  b.join();
  c.join();
  world.finish();
  netpoll_close(pd);
}

// PR1: one that was interrupted is found by another P's M, in the global queue.
void found_elsewhere() {
  MsWorld world(2);
  switch_on();
  Event b_ran;
  bool over = false;
  MsFiber b(program([&] { over = true; }));
  MsFiber a(program([&] {
    make_ready(b);
    while (!over) ticks();
  }));
  MsFiber c(program([&] {
    while (!over) ticks();
  }));
  world.put(0, a);
  world.put(1, c);
  world.start();
  world.add_spare();
  a.join();
  b.join();
  c.join();
  world.finish();
}

// PR3: there is no M to go on with the P: one is made, and meanwhile the fiber goes on.
void asks_for_a_spare() {
  MsWorld world(1);
  switch_on();
  check(start_spares() == 0, "the model's kernel makes every thread of this kind");
  bool b_ran = false;
  MsFiber b(program([&] { b_ran = true; }));
  MsFiber a(program([&] {
    make_ready(b);
    while (!b_ran) ticks();
  }));
  world.put(0, a);
  world.start();
  a.join();
  b.join();
  MsWorld::end_run();
  stop_spares();
  world.finish_ended();
}

// RG3: a tick that comes in a region counts when it is left.
void gives_way_late() {
  MsWorld world(1);
  switch_on();
  bool b_ran = false;
  MsFiber b(program([&] { b_ran = true; }));
  MsFiber a(program([&] {
    make_ready(b);
    while (!b_ran) {
      const Region in;
      ticks();
    }
  }));
  world.put(0, a);
  world.start();
  world.add_spare();
  a.join();
  b.join();
  world.finish();
}

// PR5: sysmon takes the P of a fiber that is blocked, or is not; that enters a region at the same time, and at most one
// of the two fibers has the P.
void retaken() {
  MsWorld world(1);
  switch_on();
  var<int> of_the_p;
  bool b_ran = false;
  const auto use = [&of_the_p] {
    const Region in;
    of_the_p = of_the_p + 1;
  };
  MsFiber b(program([&] {
    use();
    b_ran = true;
  }));
  MsFiber a(program([&] {
    use();
    make_ready(b);
    use();
    while (!b_ran) ticks();
    use();
  }));
  world.put(0, a);
  world.start();
  world.add_spare();
  P* const p = sched().procs;
  (void)retake(p, p->turns());
  a.join();
  b.join();
  check(of_the_p == 4, "each has had it in turn");
  world.finish();
}

// PR5: what a fiber did in its last region is known to who gets the P.
void retaken_at_once() {
  MsWorld world(1);
  switch_on();
  var<int> of_the_p;
  bool b_ran = false;
  MsFiber b(program([&] {
    const Region in;
    of_the_p = of_the_p + 1;
    b_ran = true;
  }));
  MsFiber a([&] {
    ready(b.g());
    of_the_p = 7;
    leave_region();
    while (!b_ran) ticks();
    enter_region();
    check(of_the_p == 8, "each has had it in turn");
  });
  world.put(0, a);
  world.start();
  world.add_spare();
  P* const p = sched().procs;
  (void)retake(p, p->turns());
  a.join();
  b.join();
  world.finish();
}

// PR5: the same where the region's end is all that the two have in common: the fiber is blocked behind it.
void retaken_behind_a_region() {
  MsWorld world(1);
  switch_on();
  var<int> of_the_p;
  Event b_ran;
  MsFiber b(program([&] {
    {
      const Region in;
      of_the_p = of_the_p + 1;
    }
    b_ran.set();
  }));
  MsFiber a([&] {
    ready(b.g());
    of_the_p = 7;
    leave_region();
    b_ran.wait();
    enter_region();
    check(of_the_p == 8, "each has had it in turn");
  });
  world.put(0, a);
  world.start();
  world.add_spare();
  P* const p = sched().procs;
  while (!retake(p, p->turns())) cpu_pause();
  a.join();
  b.join();
  world.finish();
}

// PR3: with no M to go on, the fiber that would have come next is put back, where another P's M may take it.
void put_back_and_stolen() {
  MsWorld world(2);
  switch_on();
  var<int> data;
  Event b_ran;
  MsFiber b(program([&] {
    check(data == 7, "what was written before ready() is there");
    b_ran.set();
  }));
  MsFiber a(program([&] {
    data = 7;
    make_ready(b);
    preempt_tick(current_m());
    preempt_tick(current_m());
    b_ran.wait();
  }));
  MsFiber c(MsFiber::Short(), [] {});
  world.put(0, a);
  world.put(1, c);
  world.start();
  a.join();
  b.join();
  c.join();
  world.finish();
}

// The same for one that comes out of the queue behind P::next, and was queued without a fence, as by yield().
void put_back_from_queue() {
  MsWorld world(2);
  switch_on();
  var<int> data;
  MsFiber b(program([&] { check(data == 7, "what was written before it was queued is there"); }));
  MsFiber a(program([&] {
    data = 7;
    {
      const Region in;
      set_state(b.g(), GState::runnable);
      push_queue(current_m()->p, b.g());
    }
    preempt_tick(current_m());
    preempt_tick(current_m());
    cpu_pause();
  }));
  MsFiber c(MsFiber::Short(), [] {});
  world.put(0, a);
  world.put(1, c);
  world.start();
  for (MsFiber* f : {&a, &b, &c}) f->join();
  world.finish();
}

// The same for one that was taken from the global queue.
void put_back_from_global() {
  MsWorld world(2);
  switch_on();
  var<int> data;
  Event b_ran;
  MsFiber b(program([&] {
    check(data == 7, "what was written before ready() is there");
    b_ran.set();
  }));
  MsFiber a(program([&] {
    preempt_tick(current_m());
    preempt_tick(current_m());
    preempt_tick(current_m());
    b_ran.wait();
  }));
  MsFiber c(MsFiber::Short(), [] {});
  world.put(0, a);
  world.put(1, c);
  world.start();
  data = 7;
  ready(b.g());
  a.join();
  b.join();
  c.join();
  world.finish();
}

// PR5: the fiber is really blocked, until the other has run; sysmon alone can see to that.
void blocked() {
  MsWorld world(1);
  switch_on();
  Event b_ran;
  MsFiber b(program([&] { b_ran.set(); }));
  MsFiber c(MsFiber::Short(), [] {});
  MsFiber a(program([&] {
    make_ready(b);
    b_ran.wait();
    make_ready(c);
  }));
  world.put(0, a);
  world.start();
  world.add_spare();
  world.start_sysmon();
  a.join();
  b.join();
  c.join();
  world.finish();
}

// I8: the P that sysmon takes has a bound fiber in its own queue, and no M is idle, nor to be had: the only one that can go on
// is that fiber's. It may hold what the blocked one waits for.
void blocked_before_a_bound() {
  MsWorld world(1);
  switch_on();
  bool b_ran = false;
  Event a_went_on;
  MsFiber b(program([&] {
    {
      // As a share of the global queue comes into P's own (take_global() in find.cpp).
      const Region in;
      G* g;
      {
        const LockGuard guard(sched().lock);
        g = sched().globq.pop();
      }
      if (g != nullptr) push_queue(current_m()->p, g);
    }
    b_ran = true;
    a_went_on.wait();
  }));
  MsFiber a(program([&] {
    make_ready(b);
    while (!b_ran) ticks();
    a_went_on.set();
  }));
  world.put(0, a);
  world.start();
  world.add_spare();
  world.start_sysmon();
  a.join();
  b.join();
  world.finish();
}

// PR3: nobody makes threads, since he waits for what the first in line holds; the one that computes has an unbound one in its queue.
// Tick by tick, it comes to who is bound.
void computes_before_a_bound() {
  MsWorld world(1);
  switch_on();
  bool b_began = false;
  bool a_went_on = false;
  MsFiber c(program([] {}));
  MsFiber b(program([&] {
    b_began = true;
    make_ready(c);
    while (!a_went_on) ticks();
  }));
  MsFiber a(program([&] {
    make_ready(b);
    while (!b_began) ticks();
    a_went_on = true;
  }));
  world.put(0, a);
  world.start();
  world.add_spare();
  for (MsFiber* f : {&a, &b, &c}) f->join();
  world.finish();
}

// D2: a fiber whose P was taken will be back: no deadlock.
void blocked_is_no_deadlock() {
  MsWorld world(1);
  switch_on();
  world.look_for_deadlocks([] { model::fail("D2: a fiber that is blocked will be back"); });
  Event b_over;
  MsFiber b(program([&] { b_over.set(); }));
  MsFiber a(program([&] {
    make_ready(b);
    b_over.wait();
  }));
  for (MsFiber* f : {&a, &b}) world.born(*f);
  world.put(0, a);
  world.start();
  world.add_spare();
  world.start_sysmon();
  a.join();
  b.join();
  world.finish();
}

TEST(PreemptModel, GivesWay) {
  expect_right_so_far(gives_way, 10'000);
}
TEST(PreemptModel, TakeTurns) {
  expect_right_so_far(take_turns, 10'000);
}
// Fibers that look again and again keep the first of all ways from others: at random only.
TEST(PreemptModel, FoundElsewhere) {
  expect_right_at_random(found_elsewhere, 10'000);
}
TEST(PreemptModel, Kicked) {
  expect_right_at_random(kicked, 10'000);
}
TEST(PreemptModel, GivenToThePoller) {
  expect_right_at_random(given_to_the_poller, 20'000);
}
TEST(PreemptModel, AsksForASpare) {
  expect_right_at_random(asks_for_a_spare, 10'000);
}
TEST(PreemptModel, RetakenAtOnce) {
  expect_right_so_far(retaken_at_once, 10'000);
}
TEST(PreemptModel, RetakenBehindARegion) {
  expect_right_at_random(retaken_behind_a_region, 10'000);
}
TEST(PreemptModel, PutBackAndStolen) {
  expect_right_so_far(put_back_and_stolen, 10'000);
}
TEST(PreemptModel, PutBackFromGlobal) {
  expect_right_so_far(put_back_from_global, 10'000);
}
TEST(PreemptModel, GivesWayLate) {
  expect_right_so_far(gives_way_late, 10'000);
}
TEST(PreemptModel, Retaken) {
  expect_right_so_far(retaken, 10'000);
}
TEST(PreemptModel, Blocked) {
  expect_right_so_far(blocked, 10'000);
}
TEST(PreemptModel, BlockedBeforeABound) {
  expect_right_at_random(blocked_before_a_bound, 10'000);
}
TEST(PreemptModel, ComputesBeforeABound) {
  expect_right_at_random(computes_before_a_bound, 10'000);
}
TEST(PreemptModel, BlockedIsNoDeadlock) {
  expect_right_so_far(blocked_is_no_deadlock, 10'000);
}

TEST(PreemptModel, PutBackFromQueue) {
  expect_right_at_random(put_back_from_queue, 20'000);
}

TEST(PreemptModel, Mutants) {
  std::vector<model::Program> programs;
  for (const auto& p :
       {gives_way, take_turns, found_elsewhere, kicked, given_to_the_poller, asks_for_a_spare,
        gives_way_late, retaken, retaken_at_once, put_back_and_stolen, blocked,
        blocked_before_a_bound, computes_before_a_bound, blocked_is_no_deadlock}) {
    programs.push_back({{.random_runs = 1'000}, p});
  }
  programs.push_back({{.random_runs = 100'000}, put_back_and_stolen});
  programs.push_back({{.random_runs = 20'000}, put_back_from_queue});
  programs.push_back({{.random_runs = 10'000}, put_back_from_global});
  programs.push_back({{.random_runs = 10'000}, retaken});
  programs.push_back({{.random_runs = 10'000}, retaken_at_once});
  programs.push_back({{.random_runs = 5'000}, retaken_behind_a_region});
  programs.push_back({{.random_runs = 10'000}, put_back_and_stolen});
  programs.push_back({{.random_runs = 20'000}, put_back_from_global});
  expect_mutants_die({"preempt.cpp", "region.hpp"}, programs);
}

}  // namespace
}  // namespace gort
