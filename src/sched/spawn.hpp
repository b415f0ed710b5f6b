// spawn: birth and death of fibers.
#pragma once

#include "sched/g.hpp"
#include "sched/p.hpp"

namespace gort {

// Gives a P's free fibers back to the pool (end of the runtime).
void drain_free(P* p) noexcept;

// A fiber that a timer starts, where it fires: in a region, on g0 with a P or without, or in a handler. No fiber vouches for
// it, so it is counted as a thread's (B4 in census.hpp). entry(arg) is its function. nullptr: no stack is to be had, or
// the runtime has seen its last fiber.
[[nodiscard]] G* timed_fiber_create(void* arg) noexcept;
void timed_fiber_abandon(G* g) noexcept;
// The caller makes it ready. parent_id: shown in reports.
void timed_fiber_launch(G* g, void (*entry)(void*), uint64_t parent_id) noexcept;

}  // namespace gort
