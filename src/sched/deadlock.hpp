// deadlock: every fiber asleep and nothing able to wake one.
#pragma once

namespace gort {

// Called by an M that is about to sleep, and by sysmon. Ends the process with a report and status 2
// if no fiber can ever run again; returns otherwise.
void check_deadlock() noexcept;

// True if only a foreign thread, if at all, can still wake a fiber.
[[nodiscard]] bool deadlock_suspected() noexcept;

// D4: a thread waits for the end of all fibers from here on, asleep (D3) until it says foreign_parked.is_woken().
void begin_await_end() noexcept;

// D8: a thread that could wake fibers for something from outside is not there any more. outside_wakers is raised before it is.
void end_outside_waker() noexcept;

}  // namespace gort
