// preempt: taking the P from a fiber that has used up its slice, at any instruction outside the runtime.
//
// C++ code that was interrupted anywhere can not go on on another thread: addresses of thread-local variables are in its
// registers, malloc and stdio have noted which thread holds their locks. So the P moves and the fiber stays (Shiina et
// al., "Lightweight preemptive user-level threads", PPoPP 2021): the M sleeps in the handler of the signal, and another
// M goes on with the P. To the code it looks like what threads see at all times.
//
//   PR1  A fiber that was interrupted is bound to its M (G::bound_to) from before it is in a queue until its M goes on.
//        Whoever takes it out of a queue runs it by giving that M his P (dispatch_bound), and is without one.
//   PR2  An M that sleeps for its fiber is on no idle list. One wake-up of its note is one P, in M::next_p: by
//        whoever took its fiber out of a queue, which one does.
//   PR3  A P is given away here only to an M that is there: one that sleeps for the fiber that comes next, or an idle
//        one. There is none: the fiber goes on, and an idle one is asked for (request_spare). So whatever is held by
//        fibers that were interrupted, each of them comes in turn.
//   PR5  sysmon takes the P from an M whose fiber blocks its thread: it asks (M::retake), fences heavily, and looks at
//        in_runtime; the M sets in_runtime, fences lightly, and looks at retake. So one sees the other: either the M
//        is left alone, or it comes by settle_retake() before it uses its P, and they agree under Sched::lock. A fiber
//        whose P was taken runs on without one until its next region or tick (blocking_count counts it), and then gets in line.
//   PR4  Everything here may run in a handler: no malloc, no lock that a program can hold.
//
// Rejected: moving the fiber (above); a call injected into it (needs room on its stack, breaks unwind tables); a signal
// to the whole process (hits whom it likes).
#pragma once

#include "sched/m.hpp"

namespace gort {

struct P;

// A tick of M's processor time, in the handler, on M.
void preempt_tick(M* m) noexcept;

// The same where a region is left whose M was to give way (RG3).
void give_way_late(M* m) noexcept;

// PR5: at the beginning of a region, on m.
void settle_retake(M* m) noexcept;
// By sysmon: takes P from the M that holds it, if that is outside the runtime and the P has not moved since `turns`. True:
// done.
bool retake(P* p, uint64_t turns) noexcept;

// PR1: runs a fiber that is bound to another M, by giving that one the P. m is without one then.
void dispatch_bound(M* m, G* g) noexcept;

// PR3: makes an idle M sooner or later. From anywhere.
void request_spare() noexcept;

// The thread that makes them, while preemption is on.
[[nodiscard]] int start_spares() noexcept;
void stop_spares() noexcept;

}  // namespace gort
