// libpreinit: what comes before everything else of a runtime, above all inside of a shared library.
#pragma once

#include "signal/signal.hpp"

namespace gort {

// Our handlers are installed, those of the program kept behind them (SG1), and where gort lives in a shared library, that
// library stays loaded from now on. Before any fiber, M or thread of ours exists; finisig() is the end of it.
void libpreinit(Ticks ticks) noexcept;

}  // namespace gort
