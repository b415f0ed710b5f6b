// exit: the end of the Ms, after that of the last fiber.
#pragma once

namespace gort {

struct Sched;

// Waits until every M has left its loop and its thread has ended, and frees them. The phase is exiting, and
// the calling thread is no M any more.
void join_ms(Sched& s) noexcept;

}  // namespace gort
