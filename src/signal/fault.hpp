// fault: what a thread has done to itself: SIGSEGV, SIGBUS, SIGFPE, SIGILL from the kernel.
//
//   SG3  A fault in the guard of the stack of the fiber that runs here is its stack's overflow: that is said, and the process
//        ends by the signal. Every other fault belongs to the program: its handler is called; if it has none, a line says
//        which fiber it was, and the process ends by the signal.
//   SG4  The report needs no heap, no stdio, no lock and no stack but the signal stack, and it is made once: a thread that
//        faults meanwhile waits for the end, and a fault in the report ends the process at once.
#pragma once

#include "sched/m.hpp"
#include "signal/chain.hpp"

namespace gort {

inline constexpr int kFaults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
[[nodiscard]] bool is_fault(int sig, const siginfo_t& info) noexcept;

// In the handler; m is nullptr on a thread that is no M, whose end is not commented.
void fault(const Arrived& signal, M* m);

}  // namespace gort
