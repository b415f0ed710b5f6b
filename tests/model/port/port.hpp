// What programs under the checker need beside os.hpp.
#pragma once

#include "checker/atomic.hpp"

namespace gort {

struct M;

// From here on the program's current thread is this M; nullptr: a foreign thread again. A program that uses it
// ends with nullptr on every thread.
void this_thread_is(M* m);

// Each look at the clock moves it on by so much in this run; without it, it stands. Threads that look at a moving clock
// depend on each other by it, which sleep sets do not know of: such programs bound preemptions, or run at random.
void let_looks_take(int64_t ns);

}  // namespace gort
