// signal_m: a signal to one M.
#pragma once

#include "sched/m.hpp"

namespace gort {

// To m's thread. Nothing happens where it has none: it has not come to minit() yet, has left, or has ended. From anywhere;
// the caller knows that m itself is there (it is until the runtime's end).
void signalM(const M* m, int sig) noexcept;

}  // namespace gort
