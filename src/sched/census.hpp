// census: counts births and ends of fibers, so that the end of the last is seen, and one that is on its way is not
// taken for none.
//
//   B4  The last fiber's end is seen: counters `ended` are read (acquire) before `spawned`, each
//       end is a release after all that its fiber spawned. So if the sums are equal, every fiber
//       that was ever spawned has ended: a live one was spawned by one that has ended (counted, and
//       its spawn before it) or by a live one, and so on back to the main fiber, which has ended.
#pragma once

#include <cstdint>

#include "os/os.hpp"
#include "sched/p.hpp"
#include "sched/sched.hpp"

namespace gort {

// Fibers that are alive: created and not ended.
[[nodiscard]] uint64_t count_fibers() noexcept;

// Runs when the main fiber has ended and every fiber is asked to stop: sets the phase to exiting if
// none is left. Called at each end of a fiber while stopping.
void exit_if_last() noexcept;

// The end of a fiber, on the P that has run it.
inline void count_end(P* p) noexcept {
  p->counters.ended.add_release();  // B4
  // Store-load pair with stop_all(), which sets the phase, fences heavily, and then counts.
  // relaxed: the fence orders it.
  os::fence_light();
  if (__builtin_expect(sched().phase.load(std::memory_order_relaxed) != Phase::running, 0)) {
    exit_if_last();
  }
}

// A thread without a P counts its fiber before it takes a stack, so that the runtime does not end
// before that fiber has (B4). False: it is ending. A thread that is no M hears so as soon as the fibers
// have been asked to stop: one that spawns and spawns would keep the runtime for ever.
[[nodiscard]] bool admit_foreign() noexcept;

// D7: that fiber is queued. A look for a deadlock that met it in between said no: sysmon looks again.
void end_birth() noexcept;

// Takes the count back for a fiber that was never started.
void dismiss_foreign() noexcept;

}  // namespace gort
