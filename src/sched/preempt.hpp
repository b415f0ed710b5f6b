// preempt: taking the P from a fiber that has used up its slice, at any instruction outside the runtime.
//
// C++ code that was interrupted anywhere can not go on on another thread: addresses of thread-local variables are in its
// registers, malloc and stdio have noted which thread holds their locks. So the P moves and the fiber stays (Shiina et
// al., "Lightweight preemptive user-level threads", PPoPP 2021): the M sleeps in the handler of the signal, and another
// M goes on with the P. To the code it looks like what threads see at all times.
//
//   PR1  A fiber that was interrupted is bound to its M (G::bound_to) from before it is in a queue until its M goes on.
//        Whoever takes it out of a queue runs it by giving that M his P (dispatch_bound), and is without one.
//        Where a P has no M to go on with it, such a fiber is a reason to give it to that M (give_to_bound).
//   PR2  An M that sleeps for its fiber is on no idle list. One wake-up of its note is one P, in M::next_p: by
//        whoever took its fiber out of a queue, which one does.
//   PR3  A P is given away here only to an M that is there: one that sleeps for the fiber that comes next, or an idle
//        one. There is none: the fiber goes on, and an idle one is asked for (request_spares). If there is none at the next
//        tick either, the first fiber that is bound comes before its turn: whoever makes threads may wait for what it holds. So
//        whatever is held by fibers that were interrupted, each of them goes on some time.
//   PR5  sysmon takes the P from an M whose fiber blocks its thread: it asks (M::retake), fences heavily, and looks at
//        in_runtime; the M sets in_runtime, fences lightly, and looks at retake. So one sees the other: either the M
//        is left alone, or it comes by settle_retake() before it uses its P, and they agree under Sched::lock. A fiber
//        whose P was taken runs on without one until its next region or tick (blocking_count counts it), and then gets in line.
//   PR7  blocking() that finds nobody waiting for its P lends it: the M keeps it, but it counts as idle, and who needs an
//        idle P takes it out of M::retake. The M takes it back by the same word before it uses it.
//   PR4  Everything here may run in a handler: no malloc, no lock that a program can hold.
//   PR8  A fiber that is locked to its M (M::bond) is bound to it all the time. It leaves its M by way of g0 alone: whenever
//        the M gets a P, that one's countdown is set to its end, so that next_or_g0() finds no other fiber. On g0 the M gives
//        the P away, to where it is used, and sleeps as PR2 says; the fiber is still runnable when it gets its turn, while an
//        interrupted one is running by then. When a locked fiber ends its thread does, too.
//   PR6  sysmon may ask a fiber to give way before its slice is over, for one whose time has come: it notes P's turns in
//        M::kick, then signals the M. If P has moved on by then, the signal does nothing. It goes only to a thread that
//        the kernel says is running; one that begins a system call in this moment makes it again (os::restart_cut_call()).
//
// Rejected: moving the fiber (above); a call injected into it (needs room on its stack, breaks unwind tables); a signal
// to the whole process (hits whom it likes).
#pragma once

#include "sched/m.hpp"

namespace gort {

struct P;

// A tick of M's processor time, in the handler, on M.
void preempt_tick(M* m) noexcept;
// PR6: in the handler of a signal that may be sysmon's. False: M::kick asks for nothing.
[[nodiscard]] bool preempt_kicked(M* m) noexcept;
// PR6: by sysmon. False: nobody holds the P, or it was not to be reached.
bool kick(P* p, uint64_t turns) noexcept;

// The same where a region is left whose M was to give way (RG3).
void give_way_late(M* m) noexcept;

// PR5, PR7: at the beginning of a region, on m.
void settle_retake(M* m) noexcept;
// By sysmon: takes P from the M that holds it, if that is outside the runtime and the P has not moved since `turns`, and
// gives it to an M that is idle, or makes it idle. True: done.
bool retake(P* p, uint64_t turns) noexcept;

// PR8, on g0 of an M that is locked to a fiber: the fiber, once it is its turn, with a P. Unless it comes next anyway, the M sleeps.
[[nodiscard]] G* next_of_locked(M* m) noexcept;
// PR8: the current fiber is locked to its M, or free again. In a region.
void lock_to_m(M* m) noexcept;
void unlock_from_m(M* m) noexcept;
// PR8: on the far side of a locked fiber's last switch.
void end_lock(M* m, G* g) noexcept;
// PR8: on g0, where Bond::over: gives the P away. The thread ends behind it.
void leave_with_thread(M* m) noexcept;

// PR1: runs a fiber that is bound to another M, by giving that one the P. m is without one then.
void dispatch_bound(M* m, G* g) noexcept;
// The same by somebody who holds no P but has this one in his hands.
void give_to_bound(P* p, G* g) noexcept;

}  // namespace gort
