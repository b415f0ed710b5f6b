// roll: the Ms that have a thread, and each one's timer for the CPU profile (src/signal/prof.hpp).
//
// A profile may start and end at any time, also while no runtime lives, and while fibers run that never reach a
// scheduling point. So every M is on the roll from before its first fiber until after its last, and who starts a profile
// gives timers to all of them: the kernel allows a timer on the clock of any thread of the process.
//
//   PF1  Under the roll's lock, every M on the roll has a timer of the period that is in force, or none where that is 0
//        or the kernel has refused. Its signal is SIGPROF, or SIGURG where the program blocks that one; where there are no
//        ticks either, there is no timer. An M that enters gets its own; one that leaves takes it away, on its own thread.
//
// Rejected: as in Go, each M compares its rate with the scheduler's whenever it is given a fiber (a fiber that never
// waits is what one starts a profile for, and here nothing brings its M to a scheduling point; and it is a load in the
// hottest loop); a signal that makes each M do it (cuts system calls short that are no business of a profile).
#pragma once

#include <cstdint>

#include "sched/m.hpp"

namespace gort {

// Its address is the value of the signals of these timers: what tells them from a program's own.
extern char profile_mark;

// By the M itself: behind set_current_m(), and before it is none any more.
void roll_enter(M* m) noexcept;
void roll_leave(M* m) noexcept;

// Gives every M a timer that sends its signal (PF1) after each `hz`th part of a second of its processor time, now and later; 0:
// takes them away. Behind it no tick of the old ones is sent any more; one that was sent may still arrive.
void setThreadCPUProfilers(int hz) noexcept;

}  // namespace gort
