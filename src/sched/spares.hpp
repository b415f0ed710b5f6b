// spares: Ms that wait for a P whose own M can not go on with it.
//
// Who finds that he needs an M may stand in a handler, or hold locks of the runtime, or be inside a region, where malloc
// and libc's thread list are not to be touched (RG4 in region.hpp). So a thread of its own makes them.
//
//   SP1  Once a fiber has been interrupted, or has blocked its thread, there are kSpares idle Ms, or one is on its way, or
//        it could not be had (I8 in idle.cpp) and the next who needs one asks again. One comes at a time.
//   SP2  An M ends if it has been idle all the time between two looks of sysmon, kRetireNs apart, and there are more Ms
//        than Ps. Its record stays, for those who still hold a pointer to it (P::m), and serves the next that is made.
//   SP3  An M that leaves is given back by the thread of this file, which has ended when the runtime joins the others; without ticks there is
//        none, and who makes the next M sees to it. Neither waits for an end: behind an M's last step come destructors of the program's
//        thread_locals, which may wait for what needs an M.
//
// Rejected: sysmon makes them (a program's fiber may be interrupted while it holds malloc's lock, and get its turn only by
// sysmon); a fixed pool from the start (most programs need none).
#pragma once

#include <cstdint>

#include "sched/sched.hpp"

namespace gort {

// SP1. From anywhere, also in a handler: an idle M is needed sooner or later; the second wants kSpares of them.
void request_spare() noexcept;
void request_spares() noexcept;

// Whether there are fewer idle Ms than kSpares.
[[nodiscard]] bool spares_short(const Sched& s) noexcept GORT_REQUIRES(s.lock);

// SP3. On which of those that leave the thread is still about to end.
enum class Left : uint8_t { none, some };
Left reap(Sched& s) noexcept;

// SP2. By sysmon, at each of its looks. True: there is still something to retire later.
[[nodiscard]] bool retire_spares(int64_t now_ns) noexcept;

// SP3: the current M ends, on its own account, when it leaves its loop now. It holds no P.
void retire_m(M* m) noexcept;

// The thread, while preemption is on. 0 or -errno.
[[nodiscard]] int start_spares() noexcept;
void stop_spares() noexcept;

}  // namespace gort
