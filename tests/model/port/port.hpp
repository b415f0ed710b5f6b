// What programs under the checker need beside os.hpp.
#pragma once

#include "checker/atomic.hpp"

namespace gort {

struct M;

// From here on the program's current thread is this M; nullptr: a foreign thread again. A program that uses it
// ends with nullptr on every thread.
void this_thread_is(M* m);

}  // namespace gort
