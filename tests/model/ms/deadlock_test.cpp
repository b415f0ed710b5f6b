// Models of the deadlock report (D1 to D8): it comes when no fiber can ever run again, and never else.
#include "sched/deadlock.hpp"

#include <gtest/gtest.h>
#include <sys/epoll.h>

#include "base/pause.hpp"
#include "ms/world.hpp"
#include "sched/census.hpp"
#include "sched/idle.hpp"
#include "sched/netpoll.hpp"
#include "sched/park.hpp"
#include "sched/park_lock.hpp"
#include "sched/stop.hpp"
#include "sched/timer.hpp"
#include "support.hpp"

namespace gort {
namespace {

using model::check;
using model::Event;

constexpr int kFd = 1;
constexpr int64_t kLongIdleNs = 100'000'000;  // sysmon goes to sleep for good at its first look

// An object in which one waits, with a lock, as the product's do.
class Slot {
 public:
  void wait() {
    Wait w;
    w.lock = &lock_;
    w.reason = WaitReason::mutex;
    lock_.lock();
    if (woken_) return lock_.unlock();
    waiting_ = &w;
    park(w);
  }
  void wake() {
    lock_.lock();
    Wait* const w = waiting_;
    woken_ = true;
    lock_.unlock();
    if (w != nullptr) ready(w->g);
  }

 private:
  ParkLock lock_;
  model::var<Wait*> waiting_ = nullptr;
  model::var<bool> woken_ = false;
};

// The same with a commit, which refuses the sleep if the wake-up came first: the joiner of a task waits so.
class Gate {
 public:
  void wait() {
    GateWait w;
    w.gate = this;
    w.commit = [](Wait* wait) noexcept {
      Wait* none = nullptr;
      return static_cast<GateWait*>(wait)->gate->word_.compare_exchange_strong(
          none, wait, std::memory_order_acq_rel, std::memory_order_acquire);
    };
    park(w);
  }
  void open() {
    Wait* const w = word_.exchange(open_mark(), std::memory_order_acq_rel);
    if (w != nullptr) ready(w->g);
  }

 private:
  struct GateWait : Wait {
    Gate* gate = nullptr;
  };
  static Wait* open_mark() { return reinterpret_cast<Wait*>(uintptr_t{1}); }
  Atomic<Wait*> word_{nullptr};
};

void no_deadlock() {
  model::fail("D: a fiber can still be woken");
}

// ---- What must be reported ----------------------------------------------------------------------------

// D1: two fibers wait on two Ms, which go to sleep at the same time.
void two_wait() {
  MsWorld world(2);
  Event reported;
  world.look_for_deadlocks([&] { reported.set(); });
  Slot never;
  Slot never_too;
  MsFiber a([&] { never.wait(); });
  MsFiber b([&] { never_too.wait(); });
  for (MsFiber* f : {&a, &b}) world.born(*f);
  world.put(0, a);
  world.put(1, b);
  world.start();
  reported.wait();
  never.wake();
  never_too.wake();
  a.join();
  b.join();
  world.finish();
}

// D2: the M that polls sleeps on, with nothing left to poll for, while the other's last fiber goes to wait.
void poller_looks() {
  MsWorld world(2);
  Event reported;
  world.look_for_deadlocks([&] { reported.set(); });
  int error = 0;
  PollDesc* pd = netpoll_open(kFd, &error);
  Slot never;
  MsFiber a([&] {
    check(netpoll_wait(pd, PollMode::read) == PollResult::closing, "P2: the close is not lost");
    never.wait();
  });
  MsFiber b([&] { netpoll_evict(pd); });
  for (MsFiber* f : {&a, &b}) world.born(*f);
  world.put(0, a);
  world.put(1, b);
  world.start();
  reported.wait();
  never.wake();
  a.join();
  b.join();
  world.finish();
  netpoll_close(pd);
}

// D3: the last thread that could have woken somebody ends, or goes to wait itself. Nobody but sysmon is there to
// notice.
void foreign_ends() {
  MsWorld world(1);
  ModelKernel::pass_until(kLongIdleNs);
  Event reported;
  world.look_for_deadlocks([&] { reported.set(); });
  Slot never;
  MsFiber a([&] { never.wait(); });
  world.born(a);
  world.put(0, a);
  ForeignThread foreign([] {});
  world.start();
  world.start_sysmon();
  reported.wait();
  foreign.join();
  never.wake();
  a.join();
  world.finish();
}
void foreign_waits() {
  MsWorld world(1);
  ModelKernel::pass_until(kLongIdleNs);
  Event reported;
  world.look_for_deadlocks([&] { reported.set(); });
  Slot never;
  Gate never_too;
  MsFiber a([&] { never.wait(); });
  world.born(a);
  world.put(0, a);
  ForeignThread foreign([&] { never_too.wait(); });
  world.start();
  world.start_sysmon();
  reported.wait();
  never.wake();
  never_too.open();
  foreign.join();
  a.join();
  world.finish();
}

// D6: sysmon has taken a fiber out of the poller while an M went to sleep, and the fiber waits for ever.
void polled_and_waits() {
  MsWorld world(1);
  ModelKernel::pass_until(kLongIdleNs);
  Event reported;
  world.look_for_deadlocks([&] { reported.set(); });
  int error = 0;
  PollDesc* pd = netpoll_open(kFd, &error);
  Slot never;
  MsFiber a([&] {
    check(netpoll_wait(pd, PollMode::read) == PollResult::ready, "P1: the edge is not lost");
    never.wait();
  });
  world.born(a);
  world.put(0, a);
  ModelKernel::event(kFd, EPOLLIN);
  world.start();
  world.start_sysmon();
  reported.wait();
  never.wake();
  a.join();
  world.finish();
  netpoll_close(pd);
}

// D7: a fiber that a foreign thread has started waits for ever.
void born_and_waits() {
  MsWorld world(1);
  ModelKernel::pass_until(kLongIdleNs);
  Event reported;
  world.look_for_deadlocks([&] { reported.set(); });
  sched().deadlock = DeadlockMode::strict;
  Slot never;
  MsFiber a([&] { never.wait(); });
  a.set_counted();
  world.begin_idle();
  world.start_sysmon();
  check(admit_foreign(), "the runtime is alive");
  ready(a.g());
  end_birth();
  reported.wait();
  never.wake();
  a.join();
  world.finish();
}

// D8: the last wish for what comes from outside ends, by a thread, while a fiber waits for ever.
void wish_ends() {
  MsWorld world(1);
  ModelKernel::pass_until(kLongIdleNs);
  Event reported;
  world.look_for_deadlocks([&] { reported.set(); });
  sched().deadlock = DeadlockMode::strict;
  outside_wakers.store(1, std::memory_order_relaxed);
  Slot never;
  MsFiber a([&] { never.wait(); });
  world.born(a);
  world.put(0, a);
  ForeignThread foreign([] { end_outside_waker(); });
  world.start();
  world.start_sysmon();
  reported.wait();
  foreign.join();
  never.wake();
  a.join();
  world.finish();
}

// D4: a fiber waits for ever in an embedded runtime, which is no deadlock until a thread waits for the end.
void end_is_awaited() {
  MsWorld world(1);
  ModelKernel::pass_until(kLongIdleNs);
  Event reported;
  world.look_for_deadlocks([&] { reported.set(); });
  sched().main_runs.store(0, std::memory_order_relaxed);
  Slot never;
  MsFiber a([&] { never.wait(); });
  world.born(a);
  world.put(0, a);
  ForeignThread foreign([&] {
    begin_await_end();
    reported.wait();
    foreign_parked.is_woken();
  });
  world.start();
  world.start_sysmon();
  reported.wait();
  foreign.join();
  never.wake();
  a.join();
  world.finish();
}

// ---- What must not be -----------------------------------------------------------------------------------

// D1, D5: Ms come and go, as long as fibers are left and when none is.
void work_goes_round() {
  MsWorld world(2);
  world.look_for_deadlocks(no_deadlock);
  Slot slot;
  MsFiber a([&] { slot.wait(); });
  MsFiber b([&] { slot.wake(); });
  for (MsFiber* f : {&a, &b}) world.born(*f);
  world.put(0, a);
  world.put(1, b);
  world.start();
  a.join();
  b.join();
  world.finish();
}

// D2: a timer, a descriptor, a thread inside blocking() will come back.
void timer_is_armed() {
  MsWorld world(2);
  world.look_for_deadlocks(no_deadlock);
  MsFiber a([&] { check(sleep_until_ns(5) == WakeCause::timeout, "nothing else ends it"); });
  world.born(a);
  world.put(0, a);
  world.start();
  a.join();
  world.finish();
}
void descriptor_is_open() {
  MsWorld world(2);
  world.look_for_deadlocks(no_deadlock);
  int error = 0;
  PollDesc* pd = netpoll_open(kFd, &error);
  MsFiber a([&] {
    check(netpoll_wait(pd, PollMode::read) == PollResult::ready, "P1: the edge is not lost");
  });
  world.born(a);
  world.put(0, a);
  world.start();
  ModelKernel::event(kFd, EPOLLIN);
  a.join();
  world.finish();
  netpoll_close(pd);
}
void one_blocks() {
  MsWorld world(2);
  world.look_for_deadlocks(no_deadlock);
  Slot slot;
  MsFiber a([&] { slot.wait(); });
  MsFiber b([&] {
    begin_blocking();
    end_blocking();
    slot.wake();
  });
  for (MsFiber* f : {&a, &b}) world.born(*f);
  world.put(0, a);
  world.put(1, b);
  world.start();
  a.join();
  b.join();
  world.finish();
}

// D8: a thread of gort's, which is not counted as the program's, wakes it: a signal has come.
void outside_may_wake() {
  MsWorld world(1);
  world.look_for_deadlocks(no_deadlock);
  sched().deadlock = DeadlockMode::strict;
  outside_wakers.store(1, std::memory_order_relaxed);
  Slot slot;
  MsFiber a([&] { slot.wait(); });
  world.born(a);
  world.put(0, a);
  ForeignThread foreign([&] { slot.wake(); });
  world.start();
  a.join();
  outside_wakers.store(0, std::memory_order_relaxed);
  foreign.join();
  world.finish();
}

// D3: a thread wakes the last fiber, and has ended before an M has counted the threads.
void foreign_wakes_and_ends() {
  MsWorld world(1);
  world.look_for_deadlocks(no_deadlock);
  Slot slot;
  MsFiber a([&] { slot.wait(); });
  world.born(a);
  world.put(0, a);
  ForeignThread foreign([&] { slot.wake(); });
  world.start();
  a.join();
  foreign.join();
  world.finish();
}

// D3: a thread that was woken, or finds that it need not wait, wakes the last fiber.
void foreign_was_woken() {
  MsWorld world(1);
  world.look_for_deadlocks(no_deadlock);
  Slot slot;
  Slot theirs;
  MsFiber a([&] {
    theirs.wake();
    slot.wait();
  });
  world.born(a);
  world.put(0, a);
  ForeignThread foreign([&] {
    theirs.wait();
    slot.wake();
  });
  world.start();
  a.join();
  foreign.join();
  world.finish();
}
void foreign_need_not_wait() {
  MsWorld world(1);
  world.look_for_deadlocks(no_deadlock);
  Slot slot;
  Gate theirs;
  MsFiber a([&] {
    theirs.open();
    slot.wait();
  });
  world.born(a);
  world.put(0, a);
  ForeignThread foreign([&] {
    theirs.wait();
    slot.wake();
  });
  world.start();
  a.join();
  foreign.join();
  world.finish();
}

// D3: a thread and a fiber wake each other, while another M looks: what it sees one after the other was never so at once.
void foreign_back_and_forth() {
  MsWorld world(2);
  world.look_for_deadlocks(no_deadlock);
  Slot first;
  Slot theirs;
  Slot second;
  MsFiber a([&] {
    first.wait();
    theirs.wake();
    second.wait();
  });
  world.born(a);
  world.put(0, a);
  ForeignThread foreign([&] {
    first.wake();
    theirs.wait();
    second.wake();
  });
  world.start();
  a.join();
  foreign.join();
  world.finish();
}

// D3: a thread wakes another, and ends; that one wakes the fiber.
void foreign_wakes_foreign() {
  MsWorld world(1);
  world.look_for_deadlocks(no_deadlock);
  Slot slot;
  Slot theirs;
  MsFiber a([&] { slot.wait(); });
  world.born(a);
  world.put(0, a);
  ForeignThread first([&] { theirs.wake(); });
  ForeignThread second([&] {
    theirs.wait();
    slot.wake();
  });
  world.start();
  a.join();
  first.join();
  second.join();
  world.finish();
}

// D3: one that was asleep is woken and ends between the two counts; who woke it goes on.
void foreign_ends_between_counts() {
  MsWorld world(1);
  world.look_for_deadlocks(no_deadlock);
  Slot slot;
  Slot theirs;
  MsFiber a([&] { slot.wait(); });
  world.born(a);
  world.put(0, a);
  ForeignThread first([&] {
    theirs.wake();
    slot.wake();
  });
  ForeignThread second([&] { theirs.wait(); });
  world.start();
  a.join();
  first.join();
  second.join();
  world.finish();
}

// D6: sysmon has the last fiber in its hands.
void sysmon_polls() {
  MsWorld world(1);
  ModelKernel::pass_until(kLongIdleNs);
  world.look_for_deadlocks(no_deadlock);
  int error = 0;
  PollDesc* pd = netpoll_open(kFd, &error);
  MsFiber a([&] {
    check(netpoll_wait(pd, PollMode::read) == PollResult::ready, "P1: the edge is not lost");
  });
  world.born(a);
  world.put(0, a);
  ModelKernel::event(kFd, EPOLLIN);
  world.start();
  world.start_sysmon();
  a.join();
  world.finish();
  netpoll_close(pd);
}

// D7: a fiber is counted and not yet queued, in strict mode.
void birth_under_way() {
  MsWorld world(1);
  world.look_for_deadlocks(no_deadlock);
  sched().deadlock = DeadlockMode::strict;
  Slot slot;
  MsFiber a([&] { slot.wait(); });
  MsFiber b(MsFiber::Short(), [&] { slot.wake(); });
  world.born(a);
  b.set_counted();
  world.put(0, a);
  check(admit_foreign(), "the runtime is alive");
  world.start();
  ready(b.g());
  end_birth();
  a.join();
  b.join();
  world.finish();
}

const std::vector<std::pair<const char*, void (*)()>>& programs() {
  static const std::vector<std::pair<const char*, void (*)()>> all = {
      {"TwoWait", two_wait},
      {"PollerLooks", poller_looks},
      {"ForeignEnds", foreign_ends},
      {"ForeignWaits", foreign_waits},
      {"PolledAndWaits", polled_and_waits},
      {"BornAndWaits", born_and_waits},
      {"WishEnds", wish_ends},
      {"EndIsAwaited", end_is_awaited},
      {"OutsideMayWake", outside_may_wake},
      {"WorkGoesRound", work_goes_round},
      {"TimerIsArmed", timer_is_armed},
      {"DescriptorIsOpen", descriptor_is_open},
      {"OneBlocks", one_blocks},
      {"ForeignWakesAndEnds", foreign_wakes_and_ends},
      {"ForeignWasWoken", foreign_was_woken},
      {"ForeignNeedNotWait", foreign_need_not_wait},
      {"ForeignWakesForeign", foreign_wakes_foreign},
      {"ForeignBackAndForth", foreign_back_and_forth},
      {"ForeignEndsBetweenCounts", foreign_ends_between_counts},
      {"SysmonPolls", sysmon_polls},
      {"BirthUnderWay", birth_under_way},
  };
  return all;
}

class DeadlockPrograms : public testing::TestWithParam<std::pair<const char*, void (*)()>> {};
INSTANTIATE_TEST_SUITE_P(DeadlockModel, DeadlockPrograms, testing::ValuesIn(programs()),
                         [](const auto& info) { return std::string(info.param.first); });
TEST_P(DeadlockPrograms, AreRight) {
  expect_right_so_far(GetParam().second, 10'000);
}

TEST(DeadlockModel, Mutants) {
  std::vector<model::Program> all;
  for (const auto& [name, program] : programs()) all.push_back({{.random_runs = 1'000}, program});
  all.push_back({{.random_runs = 200'000}, sysmon_polls});
  expect_mutants_die({"deadlock.cpp"}, all);
}

}  // namespace
}  // namespace gort
