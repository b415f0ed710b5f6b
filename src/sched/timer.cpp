#include "sched/timer.hpp"

#include "base/mem.hpp"
#include "sched/idle.hpp"
#include "sched/netpoll_internal.hpp"
#include "sched/sched.hpp"
#include "sched/sysmon.hpp"

namespace gort {
namespace {

struct SleepWait : Wait {
  Timer alarm;
};

// The sleeper's only source is its timer: who takes it out of the heap has won (W1).
G* wake_sleeper(Timer* t) noexcept {
  auto* w = static_cast<SleepWait*>(t->arg);
  w->cause = WakeCause::timeout;
  return w->g;
}

bool cancel_sleep(Wait* w) noexcept {
  return TimerHeap::stop(&static_cast<SleepWait*>(w)->alarm);
}

bool commit_nothing(Wait*) noexcept {
  return true;
}

// For ever: no timer, which would look like somebody who comes (D2).
WakeCause sleep_for_ever() noexcept {
  Wait w;
  w.cancel = [](Wait* wait) noexcept { return claim(*wait); };
  w.commit = commit_nothing;
  w.reason = WaitReason::sleep;
  return park(w);
}

G* time_limit(Timer* t) noexcept {
  auto* w = static_cast<Wait*>(t->arg);
  if (!claim(*w)) return nullptr;
  w->cause = WakeCause::timeout;
  return w->g;
}

WakeCause sleep_thread(int64_t when_ns) noexcept {
  if (after_fork) fatal_after_fork();  // FK1; nobody would miss anything, but it says so at once
  Atomic<uint32_t> never{0};
  for (;;) {
    const int64_t left = when_ns - os::nanotime();
    if (left <= 0) return WakeCause::timeout;
    os::futexsleep(&never, 0, left);
  }
}

}  // namespace

void timer_add(P* p, Timer* t) noexcept {
  const int64_t when = t->when_ns;  // t may be gone once it is armed
  if (!p->timers.add(t)) return;
  chaos_point(ChaosPoint::timer_added);
  Sched& s = sched();
  // seq_cst: I6, the timer before the look at the poller. modelled in NetpollModel.
  Mem::fence(std::memory_order_seq_cst);
  // relaxed: behind the fence.
  if (when < s.poll_until_ns.load(std::memory_order_relaxed)) netpoll_break();
  // Y2 in sysmon.cpp; an M with a P looks at timers before it sleeps.
  if (const M* m = current_m(); m == nullptr || m->p == nullptr) wake_sysmon();
}

void see_to_timers() noexcept {
  // relaxed: a look; sysmon sees to what it has missed.
  if (sched().poll_until_ns.load(std::memory_order_relaxed) == 0) wake_if_idle();
}

void timer_stop(const Visitor&, Timer* t) noexcept {
  if (runtime_alive()) TimerHeap::stop(t);  // U1
}

void timer_forget(Timer* t) noexcept {
  {
    const Visitor visit;
    if (runtime_alive()) {  // U1
      TimerHeap::stop(t);
      return;
    }
  }
  if (after_fork) return;  // FK1: its heap is nobody's any more
  // As no visitor, for whom the end of the runtime waits. acquire: pairs with the release in disarm_all().
  while (Mem::recheck(t->heap.load(std::memory_order_acquire) != nullptr)) os::osyield();
}

void orphan_timers(Sched& s) noexcept {
  Timer* orphans = nullptr;
  for (P& p : s.all_procs()) p.timers.disarm_all(orphans);
  TimerHeap::end_orphans(orphans);
}

P* timer_home() noexcept {
  M* m = current_m();
  if (m != nullptr && m->p != nullptr) return m->p;
  return &sched().procs[0];
}

WakeCause sleep_until_ns(int64_t when_ns) noexcept {
  if (current_fiber() == nullptr) return sleep_thread(when_ns);
  if (when_ns == kNever) return sleep_for_ever();
  SleepWait w;
  w.cancel = cancel_sleep;
  w.commit = commit_nothing;
  w.timer = &w.alarm;
  w.reason = WaitReason::sleep;
  w.alarm.when_ns = when_ns;
  w.alarm.fire = wake_sleeper;
  w.alarm.arg = &w;
  return park(w);
}

TimedPark::TimedPark(Wait& w, int64_t when_ns) noexcept : wait_(w) {
  timer_.when_ns = when_ns;
  timer_.fire = time_limit;
  timer_.arg = &w;
  w.timer = &timer_;
}

WakeCause TimedPark::park() noexcept {
  const WakeCause cause = gort::park(wait_);
  TimerHeap::stop(&timer_);
  return cause;
}

}  // namespace gort
