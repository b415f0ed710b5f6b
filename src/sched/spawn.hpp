// spawn: birth and death of fibers.
#pragma once

#include "sched/g.hpp"
#include "sched/p.hpp"

namespace gort {

// Gives a P's free fibers back to the pool (end of the runtime).
void drain_free(P* p) noexcept;

}  // namespace gort
