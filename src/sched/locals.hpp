// locals: the values of fiber_local (gort/fiber_local.hpp), of which each fiber has its own.
#pragma once

#include "gort/fiber_local.hpp"
#include "sched/g.hpp"

namespace gort {

// Destroys g's values and their table. On g itself, outside a region; or on the thread whose stand-in g is, at its end.
void end_locals_of(G* g) noexcept;

}  // namespace gort
