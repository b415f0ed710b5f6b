// watch: how sysmon sees that a P does not move, and what it does about it.
//
//   WA1  A P that has not begun another fiber since the last look, while fibers wait in it or for anybody, is looked at: if
//        its thread is blocked in the kernel it loses the P (PR5 in preempt.hpp); if it runs, and somebody's time has come
//        meanwhile, or its ticks fail to come, its fiber is asked to give way (PR6).
//   WA2  Blocked means: the thread's clock has stood still between two looks, and the kernel says that it sleeps. One alone
//        is not enough: a thread without a processor uses none, and one that sleeps just now may do so for a moment.
//
// Owner of everything here: sysmon.
#pragma once

#include <cstdint>

#include "sched/sched.hpp"

namespace gort {

struct ProcWatch {
  uint64_t turns = 0;
  int64_t since_ns = 0;  // when it was first seen with these turns
  const M* m = nullptr;  // who held it when `cpu_ns` was read, or nullptr
  int64_t cpu_ns = 0;
};

struct Watch {
  ProcWatch procs[kMaxProcs];  // 32 KiB of sysmon's stack: nothing that the kernel could refuse
};

enum class Seen : uint8_t {
  all_moves,    // no P runs one fiber for long
  long_turn,    // one does
  passed_over,  // a fiber waits although a P is idle (I4, I8)
  soon,         // something was done, or looks as if something will have to be done soon
};

// One look at all Ps. I4, I8: wakes an M for what was passed over.
[[nodiscard]] Seen look(Sched& s, Watch& w, int64_t now_ns) noexcept;

// PR6: the P whose fiber has run for longest gives way to one whose time has come, which is queued.
void kick_longest(Sched& s, Watch& w, int64_t now_ns) noexcept;

// When the next timer is due in a P that would be late for it, as it runs one fiber for long. kNever: none.
[[nodiscard]] int64_t next_late_timer(Sched& s, const Watch& w) noexcept;

[[nodiscard]] inline bool holds_fibers(const P& p) noexcept {
  return p.next.load(std::memory_order_relaxed) != nullptr || !p.runq.empty();  // relaxed: a look
}

}  // namespace gort
