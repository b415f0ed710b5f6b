// watch: how sysmon sees that a P does not move, and what it does about it.
//
//   WA1  A P that has not begun another fiber since the last look, while fibers wait in it or for anybody, or it is to rest, is looked at: if
//        its thread is blocked in the kernel it loses the P (PR5 in preempt.hpp); if it runs, and somebody's time has come
//        meanwhile, or its ticks fail to come, its fiber is asked to give way (PR6).
//   WA2  Blocked means: the kernel says that the thread sleeps, at two looks in a row, or at one when the P has not moved for
//        a millisecond: a client of a server on the same machine sleeps for moments, again and again, and uses no slice up.
//        The thread's clock alone would not tell: a thread without a processor uses none. But one that has used nearly all of the time
//        since the last look computes, and the kernel is not asked.
//   WA3  The fiber of such a P is also told that others wait (M::yield_wanted), with preemption or without: it hears of it
//        where it calls checkpoint(), and gives way there by a switch, which costs a hundredth of an interruption. A word that
//        comes late is heard by another fiber of the M, which gives way in vain.
//
// Owner of everything here: sysmon.
#pragma once

#include <cstdint>

#include "sched/sched.hpp"

namespace gort {

struct ProcWatch {
  uint64_t turns = 0;
  int64_t since_ns = 0;  // when it was first seen with these turns
  bool asleep = false;   // its thread was, at the last look at it with these turns
  // At the last look at a thread: which one, what it had used by then, and when that was.
  int clock_tid = 0;
  int64_t cpu_ns = 0;
  int64_t clock_ns = 0;
  // Of kicks with these turns: the next one, and how long after the last.
  int64_t next_kick_ns = 0;
  int64_t kick_gap_ns = 0;
};

// 56 KiB of the 128 of sysmon's stack: nothing that the kernel could refuse.
struct Watch {
  ProcWatch procs[kMaxProcs];
  uint64_t taken = 0;  // of the global queue, when somebody whose time had come was last seen in it
};

enum class Seen : uint8_t {
  all_moves,    // no P runs one fiber for long
  long_turn,    // one does
  passed_over,  // a fiber waits although a P is idle (I4, I8), or although its time has come
  soon,         // something was done, or looks as if something will have to be done soon
};

// One look at all Ps. I4, I8: wakes an M for what was passed over.
[[nodiscard]] Seen look(Sched& s, Watch& w, int64_t now_ns) noexcept;

// PR6: the P whose fiber has run for longest gives way to one whose time has come, which is in the global queue. Again at each look,
// as long as one is there and nobody comes by: at one look no P may run for long enough yet, or all may be on their way from one M to
// another. But those turns are longer, lest many whose time has come cut each other short.
enum class Timely : uint8_t { just_queued, waits };
[[nodiscard]] Seen kick_longest(Sched& s, Watch& w, Timely what, int64_t now_ns) noexcept;

// When the next timer is due in a P that would be late for it, as it runs one fiber for long. kNever: none.
[[nodiscard]] int64_t next_late_timer(Sched& s, const Watch& w) noexcept;

}  // namespace gort
