// mem: atomics and fences for the runtime's own sources (gort/detail/mem.hpp says why they are named).
#pragma once

#include "gort/detail/mem.hpp"

namespace gort {

using detail::Atomic;
using detail::Mem;
using detail::Plain;
using detail::Tally;

}  // namespace gort
