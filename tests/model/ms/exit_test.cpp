// Models of the end of Ms (X1 to X3 in exit.cpp) against their start, on the shipped idle.cpp and exit.cpp; and of
// fibers that go on with the Ms there are (I8 in idle.cpp).
#include "sched/exit.hpp"

#include <gtest/gtest.h>

#include "ms/world.hpp"
#include "sched/idle.hpp"
#include "sched/loop.hpp"
#include "sched/park.hpp"
#include "sched/timer.hpp"
#include "support.hpp"

namespace gort {
namespace {

using model::check;
using model::Event;
using model::Thread;

// A runtime that begins without Ms, and so many fibers; the last of them to end ends it.
class Runtime {
 public:
  Runtime(int procs, int fibers) : world_(procs), fibers_(fibers) { world_.begin_idle(); }

  // Each fiber's last step.
  void fiber_ends() {
    if (--fibers_ == 0) MsWorld::end_run();
  }

  // run(): the program's thread is an M.
  void run(MsFiber& first) {
    Sched& s = sched();
    M* m = new M;
    m_enter(m);
    {
      const LockGuard guard(s.lock);
      m->id = s.m_count++;
      m->all_link = s.all_m;
      s.all_m = m;
      s.main_m = m;
    }
    check(try_take_idle_p(m) != nullptr, "a P is idle at the start");
    ready(first.g());
    schedule_loop(m);
    m_leave();
    end();
  }

  // The destructor of a runtime object: the program's thread is none.
  void wait_and_end() {
    sched().exit_note.sleep();
    end();
  }

 private:
  void end() {
    Sched& s = sched();
    check(fibers_ == 0, "X1: Ms leave their loops behind the last end");
    join_ms(s);
    check(ModelKernel::threads() == 0, "X2: every thread that was made is waited for");
    Visitor::close_the_door();
    check(ModelKernel::threads() == 0, "X2: no thread is made any more");
    const LockGuard guard(s.lock);
    check(s.all_m == nullptr && s.m_starting == 0, "X2: no M is left");
  }

  MsWorld world_;
  int fibers_;
};

// X1, X2: Ms that are being made, look for work or go to sleep when the last fiber ends, on any of them.
void ends() {
  Runtime runtime(2, 3);
  MsFiber b(MsFiber::Short(), [&] { runtime.fiber_ends(); });
  MsFiber c(MsFiber::Short(), [&] { runtime.fiber_ends(); });
  MsFiber a(MsFiber::Short(), [&] {
    ready(b.g());
    ready(c.g());  // b must make room
    runtime.fiber_ends();
  });
  runtime.run(a);
}

// X1, X3: three Ms, two of which may be asleep at once.
void ends_with_three() {
  Runtime runtime(3, 3);
  Event c_ran;
  MsFiber c(MsFiber::Short(), [&] {
    c_ran.set();
    runtime.fiber_ends();
  });
  MsFiber b([&] {
    c_ran.wait();
    runtime.fiber_ends();
  });
  MsFiber a(MsFiber::Short(), [&] {
    ready(b.g());
    ready(c.g());
    runtime.fiber_ends();
  });
  runtime.run(a);
}

// X1: the poller sleeps until a deadline that nobody needs any more.
void ends_while_polling() {
  constexpr int64_t kLateNs = 1000;
  Timer deadline;
  deadline.when_ns = kLateNs;
  deadline.fire = [](Timer*) noexcept -> G* { return nullptr; };
  Runtime runtime(2, 3);
  Event b_ran;
  MsFiber b(MsFiber::Short(), [&] {
    b_ran.set();
    runtime.fiber_ends();
  });
  MsFiber c(MsFiber::Short(), [&] { runtime.fiber_ends(); });
  MsFiber a([&] {
    timer_add(current_m()->p, &deadline);
    ready(b.g());
    ready(c.g());
    b_ran.wait();
    runtime.fiber_ends();
  });
  runtime.run(a);
  check(ModelKernel::now_ns() < kLateNs, "X1: the poller is woken, too");
}

// X2: a thread that is no M wakes one, or makes one, for the fiber that is the last.
void ends_by_a_foreign_ready() {
  Runtime runtime(2, 2);
  MsFiber a(MsFiber::Short(), [&] { runtime.fiber_ends(); });
  MsFiber b(MsFiber::Short(), [&] { runtime.fiber_ends(); });
  Thread foreign([&] { ready(b.g()); });
  runtime.run(a);
  foreign.join();
}

// The same where no M has been there before, and none waits for the end.
void embedded() {
  Runtime runtime(2, 2);
  MsFiber a(MsFiber::Short(), [&] { runtime.fiber_ends(); });
  MsFiber b(MsFiber::Short(), [&] { runtime.fiber_ends(); });
  Thread foreign([&] { ready(b.g()); });
  ready(a.g());
  runtime.wait_and_end();
  foreign.join();
}

// X1: the last fiber comes back from blocking, to a P that is idle.
void ends_behind_blocking() {
  Runtime runtime(2, 2);
  Event b_ran;
  MsFiber b(MsFiber::Short(), [&] {
    b_ran.set();
    runtime.fiber_ends();
  });
  MsFiber a([&] {
    ready(b.g());
    begin_blocking();
    b_ran.wait();
    end_blocking();
    runtime.fiber_ends();
  });
  runtime.run(a);
}

// I8: no thread can be made at first; the M there is runs everything.
void refused() {
  Runtime runtime(2, 3);
  ModelKernel::refuse_threads(1);
  MsFiber b(MsFiber::Short(), [&] { runtime.fiber_ends(); });
  MsFiber c(MsFiber::Short(), [&] { runtime.fiber_ends(); });
  MsFiber a(MsFiber::Short(), [&] {
    ready(b.g());
    ready(c.g());
    runtime.fiber_ends();
  });
  runtime.run(a);
  const LockGuard guard(sched().lock);
  check(sched().m_count - sched().m_gone <= 2, "I8: one that was not made does not count");
}

// I8: a fiber blocks its thread when there are as many as there may be, and the other is in the middle of something:
// what the P that is given back holds is found.
void refused_hand_off() {
  Runtime runtime(2, 4);
  sched().max_threads = 2;
  Event b_ran;
  Event c_ran;
  MsFiber d(MsFiber::Short(), [&] { runtime.fiber_ends(); });
  MsFiber b(MsFiber::Short(), [&] {
    b_ran.set();
    runtime.fiber_ends();
  });
  MsFiber c(MsFiber::Short(), [&] {
    c_ran.set();
    runtime.fiber_ends();
  });
  MsFiber a([&] {
    ready(d.g());
    ready(b.g());  // wakes the second M
    ready(c.g());
    begin_blocking();
    b_ran.wait();
    c_ran.wait();
    end_blocking();
    runtime.fiber_ends();
  });
  runtime.run(a);
}

TEST(ExitModel, Ends) {
  expect_right_so_far(ends, 10'000);
}
TEST(ExitModel, EndsWithThree) {
  expect_right_so_far(ends_with_three, 10'000);
}
TEST(ExitModel, EndsWhilePolling) {
  expect_right_so_far(ends_while_polling, 10'000);
}
TEST(ExitModel, EndsByAForeignReady) {
  expect_right_so_far(ends_by_a_foreign_ready, 10'000);
}
TEST(ExitModel, Embedded) {
  expect_right_so_far(embedded, 10'000);
}
TEST(ExitModel, EndsBehindBlocking) {
  expect_right_so_far(ends_behind_blocking, 10'000);
}
TEST(ExitModel, Refused) {
  expect_right_so_far(refused, 10'000);
}
TEST(ExitModel, RefusedHandOff) {
  expect_right_so_far(refused_hand_off, 10'000);
}
TEST(ExitModel, Mutants) {
  std::vector<model::Program> programs;
  for (const auto& p : {ends, ends_with_three, ends_while_polling, ends_by_a_foreign_ready,
                        embedded, ends_behind_blocking, refused, refused_hand_off}) {
    programs.push_back({{.random_runs = 1'000}, p});
  }
  expect_mutants_die({"exit.cpp", "idle.cpp", "idle_list.cpp", "start.cpp", "note.hpp"}, programs);
}

}  // namespace
}  // namespace gort
