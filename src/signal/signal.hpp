// signal: the handlers that gort installs, and what they do. docs/design/0015-signals.md
//
//   SG1  Our handlers stand there before the first fiber, and until the last has ended; what the program has
//        there is called for all that is not ours, and is back afterwards.
//   SG2  Preemption is not lost without a word: if the program takes SIGURG, the next signal_check() puts ours before it.
#pragma once

#include <csignal>
#include <cstdint>

#include "signal/chain.hpp"

namespace gort {

struct M;

inline constexpr int kTickSignal =
    SIGURG;  // as in Go: ignored by default, and libraries let it through

enum class Ticks : uint8_t { none, some };

// For the life of a runtime: faults are ours, and with ticks SIGURG. Handlers of the program run on signal stacks meanwhile.
// By libpreinit() and runtime.cpp.
void initsig(Ticks ticks) noexcept;
void finisig() noexcept;

// Whether the program has taken SIGURG, or has installed a handler that would run on a fiber's stack; sets it right. By
// sysmon, twice a second: 64 reads of an action, some 10 us in all. From anywhere but a handler.
void signal_check() noexcept;

// Whether a signal is one of our ticks. m is the M of this thread, or nullptr.
[[nodiscard]] bool is_tick(const M* m, const siginfo_t* info) noexcept;

// What is installed for every signal of ours, one for each level of chain.hpp: saves errno, finds the M, and calls one of the
// following two.
extern const SignalHandler sigtramps[kLevels];
// On an M.
void sighandler(const Arrived& signal, M* m);
// On a thread that is none.
void cgoSigtramp(const Arrived& signal);

}  // namespace gort
