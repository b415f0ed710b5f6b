// procs: how many Ps are in use, and which of them rest.
#pragma once

#include "sched/p.hpp"
#include "sched/sched.hpp"

namespace gort {

struct M;

// Before anybody else knows the Sched. False: no memory for them.
[[nodiscard]] bool init_procs(Sched& s, int n, uint64_t seed) noexcept;
// When nobody else knows it any more.
void fini_procs(Sched& s) noexcept;

// RP1, RP6: by hand; sysmon does not change it any more. Returns the number before. Any thread, inside a region.
int set_procs_by_hand(int n) noexcept;
// RP6: by sysmon, as the machine has it now, unless the number was set by hand.
void follow_machine() noexcept;

// RP3: whether the holder of this P has to look at what has changed.
[[nodiscard]] inline bool procs_changed(const Sched& s, const P& p) noexcept {
  // relaxed: whoever looks closer takes the lock, and who is late looks again soon.
  return __builtin_expect(s.procs_changes.load(std::memory_order_relaxed) != p.seen_changes, 0);
}
// The same on g0: m goes on with its P, with another one, or without.
void heed_changes(M* m) noexcept;

// I1, behind each of these: for what has been queued, and for Ps that are idle now.
void look_for_takers(Sched& s) noexcept;

// RP3, RP5: of a P in the caller's hands. False: it is to rest.
[[nodiscard]] bool fits(Sched& s, P* p) noexcept GORT_REQUIRES(s.lock);
// What waits in its queue does so in the global one. I1 is the caller's.
void spill(Sched& s, P* p) noexcept GORT_REQUIRES(s.lock);
// RP2: lays down a P in the caller's hands. Its fibers are in the global queue then: I1 is the caller's.
void rest(Sched& s, P* p) noexcept GORT_REQUIRES(s.lock);

}  // namespace gort
