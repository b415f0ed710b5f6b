// park and ready: how a fiber waits and how it is woken. Everything that waits is built on these
// two.
//
//     waiter                                   waker
//     lock object; enqueue own Wait;           lock object; dequeue a Wait w;
//     w.lock = &object.lock; park(w);          unlock; ready(w.g)
//
// park() switches to another stack, and only there, on the far side, is the object's lock released:
// a waker can not get at a fiber that still stands on its stack. The far side is g0 or simply the
// next fiber; what matters is that the fiber's context has been saved.
//
//   R1  The far side of the switch completes a park: it saves the context, sets `waiting`,
//       publishes G::wait, arms the timer, and last releases the lock or calls commit. Nothing of
//       the Wait is touched by it afterwards (but see S1).
//   R2  g0 never waits: what an M runs there is the scheduler, and nobody else would run it.
//   R3  Whoever parks with a lock has a P already (inside blocking() it is taken before the lock):
//       getting one may need a turn of a fiber that waits for that very lock.
//   W1  One Wait, one wake-up, one winner. With one source the object's lock decides (who dequeues
//       the Wait wakes); with a timer beside it, claim() decides. The loser touches nothing of the
//       waiter.
//   W2  The winner writes Wait::cause before ready(), and nothing of the Wait afterwards.
//   S1  A stop request meets a wait through G::wait. The requester raises G::inspectors, then reads
//       G::wait behind a heavy fence; the fiber clears G::wait when it resumes, then reads
//       inspectors behind a light fence, and does not leave park() before it is 0. So either the
//       requester sees no wait, or the Wait and the object it stands in stay alive while it calls
//       Wait::cancel.
//   S2  A request made before the wait could be cancelled is seen by the far side, which reads
//       stop_requested behind a light fence, and then acts as the requester. With a lock the look
//       comes after the publication, since a requester waits for the lock; without one it comes
//       after commit, with the Wait held by an inspector's count.
//
// Rejected: completing a park on g0 alone (a second switch on every hand-over: 5 ns of 25); a claim
// word for every wait (an atomic exchange on each wake-up only for the sake of stop requests, which
// are rare); polling for stop in the waits; making the fiber ready before the switch and letting
// the taker spin until the context is saved (a taker that spins on a descheduled M).
#pragma once

#include "sched/chaos.hpp"
#include "sched/current.hpp"
#include "sched/globq.hpp"
#include "sched/park_lock.hpp"
#include "sched/region.hpp"
#include "sched/wait.hpp"

namespace gort {

// Parks the current fiber, or blocks the current foreign thread, until ready(). Returns
// Wait::cause. Everything in w but g must be filled in. If w.lock is set, the caller holds it.
WakeCause park(Wait& w) noexcept;

// Makes a waiting fiber runnable (or wakes a foreign thread). Caller: the one winner of its Wait,
// on any thread. From an M with a P it becomes the P's next.
void ready(G* g) noexcept;

// The same for several, to the tail of the P's queue: they were not waiting for what we just did.
void ready_list(GList& list) noexcept;
// The same, but to the global queue, behind what is there.
void ready_list_global(GList& list) noexcept;
// The same, but before those: for fibers that a timer or a descriptor has woken (F7 in find.cpp).
void ready_list_timely(GList& list) noexcept;

// Gives way to others: the current fiber goes to the tail of its P's queue.
void yield_fiber() noexcept;

// Under chaos the current fiber's slice may be over just now. At the beginning of operations that can
// wait, and where the caller holds no lock of ours: only there may a fiber change its thread.
inline void chaos_preempt() noexcept {
  if constexpr (kChecked) {
    constexpr unsigned kOneIn = 8;
    if (chaos_one_in(kOneIn) && current_fiber() != nullptr) yield_fiber();
  }
}

// True if the current fiber has a stop request that its next cancellable wait must deliver: call it
// before enqueueing, and where it says true throw by deliver_stop() instead of parking. False on
// foreign threads, and while the fiber unwinds (waits in destructors do not throw).
[[nodiscard]] bool stop_pending() noexcept;

// Marks the request as delivered and throws gort::stopped.
[[noreturn]] void deliver_stop();

// Marks it, for callers that clean up first.
void mark_stop_delivered() noexcept;
// Part of the delivery, outside regions: who is told that he is to stop does not find his token unasked. Runs its callbacks.
void ask_own_token() noexcept;

}  // namespace gort
