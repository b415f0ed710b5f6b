// chaos: GORT_DEBUG=chaos=SEED, in checked builds. Protocols get to show what they are worth when
// every window stands open for a while and every choice is made the unusual way.
//
// A protocol calls chaos_point() where another thread's step in between would hurt if the protocol
// were wrong: between a publication and the look behind it, between winning a wake-up and
// making it. A choice that the scheduler makes for speed alone asks chaos_one_in() whether to make
// it otherwise: where a ready fiber goes, which rung comes first, who runs on.
//
//   Z1  Chaos does nothing that may not happen anyway: a thread that loses its processor, a fiber that
//       is queued elsewhere, a wait that ends without cause where its users must expect that. What
//       fails under it is wrong.
//   Z2  A hook is nothing in a build that is not checked, and one look at a flag in one that is.
//       No layout depends on it.
//   Z3  A hook takes no lock, allocates nothing and throws nothing, so it may stand under a Lock, on
//       g0 and on the far side of a switch. (chaos_preempt() in park.hpp is no such hook.)
//   Z4  Every thread draws from a stream of its own, made of the seed, the number of the run in this
//       process and the M's number. So a seed repeats what each thread is told to do, but not
//       when the kernel lets it: a failure comes back often, not always.
//
// Each run opens a few points, drawn from its seed, much wider than the others: a window is met by
// chance only if the other thread has the time for all of its steps.
//
// Rejected: a simulated scheduler that decides every step (the models do that, tests/model; it needs
// the protocol cut out of the runtime); random delays by a debugger or by a preloaded library
// (know no windows; hit the right place once in a million); hooks in all builds (a load and a branch on
// the path of a 6 ns switch).
#pragma once

#include <cstdint>

#include "base/checked.hpp"
#include "base/mem.hpp"

namespace gort {

// The windows. What stands on both sides of each is said where it is called.
enum class ChaosPoint : uint8_t {
  // park and ready (park.hpp: R1, S1, S2; idle.cpp: I1)
  park_unpublished,
  park_published,
  park_unlocking,
  park_committing,
  park_committed,
  park_left,
  ready_won,
  ready_queued,
  thread_parking,
  thread_unlocked,
  thread_waking,
  // stop (S1, S2)
  stop_requesting,
  stop_requested,
  stop_wait_seen,
  stop_wait_taken,
  stop_all_walked,
  // idle (idle.cpp: I1, I2, I5, I6, I7)
  idle_gave_p,
  idle_stopped_spinning,
  idle_work_seen,
  idle_polling,
  idle_polled,
  idle_poll_over,
  idle_sleeping,
  wake_claimed,
  wake_delisted,
  spin_found,
  hand_off_begun,
  hand_off_given,
  start_thread,
  steal_begun,
  next_stolen,
  // timers and the poller (T2, T3; P1, P2, P4, P5)
  timer_added,
  timer_fired,
  timer_disarming,
  poll_events,
  poll_unblocking,
  poll_waiting,
  poll_committing,
  poll_deadline_set,
  poll_deadline_fires,
  poll_evicting,
  poll_closing,
  // birth, end, visitors (B2, B3, B4, U1)
  spawn_counted,
  spawn_phase,
  fiber_ending,
  fiber_dead,
  fiber_released,
  last_fiber,
  run_ending,
  door_closed,
  visitor_entered,
  // locks and sync (L1, H3, PL2, PL4, M2, SL3)
  lock_held,
  lock_released,
  lock_slow,
  bias_marked,
  bias_ending,
  chan_claimed,
  chan_closing,
  select_unlocking,
  cv_queued,
  sync_waking,
  // sysmon and blocking (Y1)
  sysmon_falling_asleep,
  sysmon_polled,
  blocking_back,
  // the number of Ps (RP3, RP5)
  procs_changed,
  count,
};

// Whether the runtime that is alive runs under chaos.
extern Atomic<bool> chaos_on;

// Starts and ends it, for one run of the runtime, the first of the process having the number 1. By
// runtime.cpp, while no other thread is in the runtime.
void chaos_begin(uint64_t seed, uint32_t run) noexcept;
void chaos_end() noexcept;

[[nodiscard]] inline bool chaos() noexcept {
  if constexpr (kChecked) {
    // relaxed: written while the runtime has no threads; a foreign thread may be late.
    return __builtin_expect(chaos_on.load(std::memory_order_relaxed), 0);
  } else {
    return false;
  }
}

void chaos_delay(ChaosPoint where) noexcept;
[[nodiscard]] uint64_t chaos_number() noexcept;

// Perhaps makes others faster than this thread: a short spin, the processor given up, a sleep (Z3).
// Nothing in a build that is not checked (Z2).
inline void chaos_point([[maybe_unused]] ChaosPoint where) noexcept {
  if constexpr (kChecked) {
    if (chaos()) chaos_delay(where);
  }
}

// True once in n times under chaos, else never. What it chooses might be chosen anyway (Z1).
[[nodiscard]] inline bool chaos_one_in([[maybe_unused]] unsigned n) noexcept {
  if constexpr (kChecked) {
    return chaos() && chaos_number() % n == 0;
  } else {
    return false;
  }
}

}  // namespace gort
