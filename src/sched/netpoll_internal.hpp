// The poller as the scheduler sees it (netpoll.hpp is for those who wait for descriptors).
#pragma once

#include <cstdint>

#include "sched/globq.hpp"

namespace gort {

struct Sched;

// Makes and releases the runtime's epoll instance. Negative errno on failure.
int netpoll_init(Sched& s) noexcept;
void netpoll_fini(Sched& s) noexcept;
// In the child of a fork: closes its copies of the descriptors (FK3 in fork.hpp).
void netpoll_forget() noexcept;

inline constexpr uint32_t kPollEventsMax =
    128;  // per call, as in Go; more are left for the next call

// A thread in poll(2) looks at its deadline this often, since whoever moves the deadline does not wake it. So one that is
// set, or moved to earlier, in the meantime ends the wait this much late at most; twenty looks a second cost a waiting
// thread a ten-thousandth of a processor.
inline constexpr int64_t kForeignLookNs = 50'000'000;

// Asks the kernel which descriptors are ready and appends their fibers to `out`. wait_ns: 0 does
// not wait, < 0 for ever. now_ns: the time if the caller knows it, else 0. Any M; g0 or sysmon.
void netpoll(int64_t wait_ns, int64_t now_ns, GList& out) noexcept;

// Makes a netpoll() that is waiting return.
void netpoll_break() noexcept;

// True while some fiber waits for a descriptor.
[[nodiscard]] bool netpoll_wanted() noexcept;

// When the kernel was last asked.
[[nodiscard]] int64_t netpoll_last_ns() noexcept;

}  // namespace gort
