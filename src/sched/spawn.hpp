// spawn: birth and death of fibers.
#pragma once

#include "sched/g.hpp"
#include "sched/p.hpp"

namespace gort {

struct Sched;

// Fibers that are alive: created and not ended.
[[nodiscard]] uint64_t count_fibers() noexcept;

// Gives a P's free fibers back to the pool (end of the runtime).
void drain_free(P* p) noexcept;

// Runs when the main fiber has ended and every fiber is asked to stop: sets the phase to exiting if
// none is left. Called at each end of a fiber while stopping.
void exit_if_last() noexcept;

}  // namespace gort
