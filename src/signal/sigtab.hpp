// sigtab: signals one by one: their names, what they do by default, who sent one, and how a handler is installed.
//
// Called by chain.cpp and fault.cpp, and by whoever installs handlers of his own in this layer. Everything here may be called
// in a handler.
#pragma once

#include <csignal>
#include <cstdint>

#include "os/os.hpp"

namespace gort {

inline constexpr int kSignals = 64;  // the kernel's, 1 to 64

using SignalHandler = void (*)(int sig, void* info, void* context);

// Blocked while our handlers run: all but libc's own (32, 33), and but faults, which are to be seen at once.
inline constexpr uint64_t kMaskedInHandlers = os::kAllButLibcSignals & ~os::kFaultSignals;

// "SIGURG"; "signal 40" for one that has no name.
struct SignalName {
  char text[20];
};
[[nodiscard]] SignalName signame(int sig) noexcept;

// Whether a signal without a handler does nothing, as SIGURG.
[[nodiscard]] bool ignored_by_default(int sig) noexcept;
// Whether it stops the process, as SIGTSTP.
[[nodiscard]] bool stops_by_default(int sig) noexcept;

// rt_sigaction() that must succeed, except for 32, 33 and 64, which emulators refuse.
void sysSigaction(int sig, const os::SignalAction* action, os::SignalAction* old) noexcept;

// A handler of ours is installed like all of them: on the signal stack, not ending system calls, with kMaskedInHandlers.
[[nodiscard]] os::SignalAction our_action(SignalHandler handler) noexcept;
// Installs it, with more flags. *old is what was there.
void setsig(int sig, SignalHandler handler, os::SignalAction* old,
            unsigned long flags = 0) noexcept;
// What is installed now; SIG_DFL and SIG_IGN are handlers here.
[[nodiscard]] SignalHandler getsig(int sig) noexcept;

// Whether a process sent it (kill, tgkill, sigqueue, a timer) rather than the kernel because of what the thread did.
[[nodiscard]] bool sigFromUser(const siginfo_t& info) noexcept;

// Why and where, of a fault.
struct FaultCause {
  int code = 0;  // si_code
  bool address_known = false;
  uintptr_t address = 0;
};
// Where the kernel says "SI_KERNEL, address 0" it does not know the address: on x86-64 one that no page can have is no
// page fault. That is told from a null pointer's.
[[nodiscard]] FaultCause fixsigcode(int sig, const siginfo_t& info) noexcept;

}  // namespace gort
