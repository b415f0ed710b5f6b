// idle: Ms go to sleep and are woken, one at a time.
#pragma once

#include "sched/m.hpp"
#include "sched/p.hpp"
#include "sched/sched.hpp"

namespace gort {

enum class IdleEnd : uint8_t { look, exit };

// Gives the M's P back, if it has one, and sleeps until there may be work. look: the M holds a P
// again.
[[nodiscard]] IdleEnd idle(M* m) noexcept;

// Wakes an idle M for work that stands in a queue, if a P is idle and nobody is looking already.
// The caller has made the work visible and put a seq_cst fence behind it.
void wake_if_idle() noexcept;

// A fiber is queued, or waits for a timer or a descriptor, and nobody sleeps for it.
[[nodiscard]] bool work_waits(const Sched& s) noexcept;

// For one fiber made ready into P::next: it will usually run here in a moment (I4).
void wake_if_idle_lonely(P* p) noexcept;

// Wakes every idle M (exit) .
void wake_all_idle() noexcept;

void start_spinning(M* m) noexcept;
// The M has found work: it stops spinning and, if that leaves nobody looking while work is queued,
// wakes the next.
void stop_spinning_found(M* m) noexcept;

// Takes an idle P for an M that comes back from blocking, or nullptr.
[[nodiscard]] P* try_take_idle_p(M* m) noexcept;

// Gives away the P of an M that is about to block its thread.
void hand_off_p(M* m) noexcept;
// The same for a P that no M has.
void hand_over_p(P* p) noexcept;

// PR7 in preempt.hpp: in place of hand_off_p(). False: somebody waits for the P, now or soon.
[[nodiscard]] bool lend_p(M* m) noexcept;
// True: the M has its P again; false: somebody has taken it.
[[nodiscard]] bool end_lending(M* m) noexcept;

// Makes an M and its thread, which starts with next_p. False: no thread to be had (message
// printed), or a spare M was asked for and will come (RG4): p is still the caller's.
bool start_m(P* p, MSearch search) noexcept;
// Makes an M that starts idle. By the thread that makes spares.
void start_spare_m() noexcept;

}  // namespace gort
