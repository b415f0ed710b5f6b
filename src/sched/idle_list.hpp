// idle_list: which Ps and which Ms are idle (I5 in idle.cpp), and how an M comes to hold a P. Called by idle.cpp, and by those
// who give Ps to Ms that sleep: preempt.cpp, spares.cpp, start.cpp.
#pragma once

#include "sched/m.hpp"
#include "sched/p.hpp"
#include "sched/sched.hpp"

namespace gort {

// Of a P in the caller's hands: it is idle from here on, or rests (RP1 in procs.cpp).
void give_back_p(Sched& s, P* p) noexcept GORT_REQUIRES(s.lock);
// One that is idle, or lent (PR7 in preempt.hpp), or nullptr.
[[nodiscard]] P* pop_idle_p(Sched& s) noexcept GORT_REQUIRES(s.lock);
// For procs.cpp: one that rests becomes idle; one that is idle is the caller's.
void list_idle_p(Sched& s, P* p) noexcept GORT_REQUIRES(s.lock);
void take_idle_p(Sched& s, P* p) noexcept GORT_REQUIRES(s.lock);
// The one that its holder has lent, if he has: nearly always this one. Else nullptr.
[[nodiscard]] P* take_if_lent(Sched& s, P& maybe) noexcept GORT_REQUIRES(s.lock);

// On the list of those who sleep on their notes, the latest first.
void list_idle_m(Sched& s, M* m) noexcept GORT_REQUIRES(s.lock);
// Off that list, or not the poller any more. Who calls it wakes the M.
void delist(Sched& s, M* m) noexcept GORT_REQUIRES(s.lock);
// Ms that sleep without a P.
[[nodiscard]] int idle_ms(const Sched& s) noexcept GORT_REQUIRES(s.lock);

// On m itself.
void hold(M* m, P* p) noexcept;

}  // namespace gort
