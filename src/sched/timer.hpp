// timer: sleeping, and time limits of waits. Times are os::nanotime() in ns.
#pragma once

#include "os/os.hpp"
#include "sched/park.hpp"

namespace gort {

struct P;
struct Sched;
class Visitor;

// Arms t in P's heap, and wakes the poller if it would sleep too long (I6 in idle.cpp).
void timer_add(P* p, Timer* t) noexcept;

// By one who has armed a timer and does not go to sleep now: somebody idle sleeps for it, if there is no poller. With no lock held.
void see_to_timers() noexcept;

// Disarms, for a thread that may be foreign, also while no runtime is alive. A runtime that has
// closed its door fires nothing any more; its heaps are not touched, since they are about to go,
// and disarm what is left.
void timer_stop(const Visitor&, Timer* t) noexcept;

// The same for one who is no visitor and frees t afterwards: returns once t is in no heap, also while a runtime ends.
void timer_forget(Timer* t) noexcept;

// The end of a runtime: what is still armed in a heap never fires (TimerOps::orphan).
void orphan_timers(Sched& s) noexcept;

// The P to arm a timer in from here: the current M's, or some P for threads that have none.
[[nodiscard]] P* timer_home() noexcept;

// Parks until when_ns. stopped: a stop request came first.
WakeCause sleep_until_ns(int64_t when_ns) noexcept;

// A wait whose time limit has passed before it begins, as who asks "is it there?" gives it, is none: it does not park, so the
// others have no turn in between, and it does not throw gort::stopped.
[[nodiscard]] inline bool has_passed(int64_t until_ns) noexcept {
  return until_ns != kNever && until_ns <= os::nanotime();
}

// A wait with a time limit: w.timer = &timer, and after park() whoever won, the timer is disarmed.
// Used by the timed forms of channels and of what waits in the parking lot.
class TimedPark {
 public:
  TimedPark(Wait& w, int64_t when_ns) noexcept;
  // park(w), then disarms. W1: the timer claims the Wait, so objects must claim() it too.
  WakeCause park() noexcept;

 private:
  Wait& wait_;
  Timer timer_;
};

}  // namespace gort
