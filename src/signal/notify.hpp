// notify: the handler's side of gort/signals.hpp.
#pragma once

#include "signal/chain.hpp"

namespace gort {

// In a handler, for a signal that is no tick and no fault. True: channels get it, and the program's handler behind ours has
// been called too. False: it is the program's.
[[nodiscard]] bool notified(const Arrived& signal);

}  // namespace gort
