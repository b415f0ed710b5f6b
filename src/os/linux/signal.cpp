// signal: what the signal layer and the threads need of the kernel. Implements the section "Signals" of os.hpp.
//
// Straight to the kernel: libc hides 32 and 33, and wraps handlers on some systems.
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>

#include "os/linux/sanitizer.hpp"
#include "os/linux/syscall.hpp"
#include "os/os.hpp"

// What the kernel lets a handler return to. gdb and the unwinders know a signal's frame by exactly these two
// instructions in a place that no unwind table describes. The nop belongs to that place: an unwinder looks up the
// byte before a return address. aarch64 has the same in its vDSO.
#if defined(__x86_64__)
asm(R"(
  .text
  .balign 16
  nop
  .globl sigreturn__sigaction
  .hidden sigreturn__sigaction
  .type sigreturn__sigaction, @function
sigreturn__sigaction:
  movq $15, %rax
  syscall
  .size sigreturn__sigaction, .-sigreturn__sigaction
)");
// NOLINTNEXTLINE(bugprone-reserved-identifier): Go's runtime calls it so
extern "C" void sigreturn__sigaction();
#endif

namespace gort::os {

// The kernel's layouts.
static_assert(offsetof(SignalAction, mask) == 3 * sizeof(long) && sizeof(SignalAction) == 32);
static_assert(offsetof(AltStack, flags) == offsetof(stack_t, ss_flags) &&
              offsetof(AltStack, bytes) == offsetof(stack_t, ss_size) &&
              sizeof(AltStack) == sizeof(stack_t));

#if defined(GORT_OS_TSAN)
// ThreadSanitizer has to know the handler of ticks: it calls it where the thread is in none of its own functions, since that
// handler goes on with other threads' memory. Nobody else's does.
namespace {
struct sigaction libc_action(const SignalAction& action) noexcept {
  struct sigaction as {};
  as.sa_sigaction = reinterpret_cast<void (*)(int, siginfo_t*, void*)>(action.handler);
  as.sa_flags = static_cast<int>(action.flags);
  std::memcpy(&as.sa_mask, &action.mask, sizeof action.mask);
  return as;
}
[[gnu::noinline]] int sigaction_by_libc(int sig, const SignalAction* action,
                                        SignalAction* old) noexcept {
  struct sigaction now {};
  struct sigaction was {};
  if (action != nullptr) now = libc_action(*action);
  if (::sigaction(sig, action != nullptr ? &now : nullptr, &was) != 0) return -errno;
  if (old == nullptr) return 0;
  old->handler = reinterpret_cast<void (*)(int, void*, void*)>(was.sa_sigaction);
  old->flags = static_cast<unsigned>(was.sa_flags);
  old->restorer = nullptr;
  std::memcpy(&old->mask, &was.sa_mask, sizeof old->mask);
  return 0;
}
}  // namespace
#endif

int rt_sigaction(int sig, const SignalAction* action, SignalAction* old) noexcept {
#if defined(GORT_OS_TSAN)
  if (sig == SIGURG) return sigaction_by_libc(sig, action, old);
#endif
  SignalAction with_restorer;
#if defined(__x86_64__)
  constexpr unsigned long kRestorer = 0x04000000;  // SA_RESTORER
  // Somebody else's action goes back as it was.
  if (action != nullptr && has_handler(*action) && (action->flags & kRestorer) == 0) {
    with_restorer = *action;
    with_restorer.flags |= kRestorer;
    with_restorer.restorer = sigreturn__sigaction;
    action = &with_restorer;
  }
#else
  (void)with_restorer;
#endif
  return static_cast<int>(
      raw_syscall(SYS_rt_sigaction, sig, action, old, sizeof(SignalAction::mask)));
}

bool has_handler(const SignalAction& action) noexcept {
  const auto at = reinterpret_cast<uintptr_t>(action.handler);
  return at != reinterpret_cast<uintptr_t>(SIG_DFL) && at != reinterpret_cast<uintptr_t>(SIG_IGN);
}

SignalAction ignoring() noexcept {
  SignalAction action;
  // By way of a number: as a function, SIG_IGN has another type.
  action.handler = reinterpret_cast<decltype(action.handler)>(reinterpret_cast<uintptr_t>(SIG_IGN));
  return action;
}

int sigaltstack(const AltStack* stack, AltStack* old) noexcept {
  return static_cast<int>(raw_syscall(SYS_sigaltstack, stack, old));
}

int rtsigprocmask(int how, const uint64_t* set, uint64_t* old) noexcept {
  return static_cast<int>(raw_syscall(SYS_rt_sigprocmask, how, set, old, sizeof *set));
}

uint64_t sigprocmask(uint64_t mask) noexcept {
  uint64_t old = 0;
  rtsigprocmask(SIG_SETMASK, &mask, &old);
  return old;
}

int tgkill(int tid, int sig) noexcept {
  return static_cast<int>(raw_syscall(SYS_tgkill, getpid(), tid, sig));
}

namespace {

char sender_mark = 0;
// Whether the kernel, or what stands before it in a sandbox, has refused signals with a mark.
constinit Atomic<bool> marks_refused{false};

}  // namespace

int signal_thread(int tid, int sig) noexcept {
  siginfo_t info{};
  info.si_signo = sig;
  info.si_code = SI_QUEUE;
  info.si_pid = getpid();
  info.si_ptr = &sender_mark;
  const auto error =
      static_cast<int>(raw_syscall(SYS_rt_tgsigqueueinfo, info.si_pid, tid, sig, &info));
  if (error != -ENOSYS && error != -EPERM) return error;
  marks_refused.store(true, std::memory_order_relaxed);  // relaxed: the signal follows
  return tgkill(tid, sig);
}

Sender sender_of(const void* info) noexcept {
  const auto& what = *static_cast<const siginfo_t*>(info);
  if (what.si_code == SI_QUEUE) {
    return what.si_ptr == &sender_mark ? Sender::signal_thread : Sender::others;
  }
  // The kernel had no memory for the rest, or RLIMIT_SIGPENDING is reached: the signal comes all the same.
  if (what.si_code == SI_USER && what.si_pid == 0) return Sender::unknown;
  // relaxed: it was stored before the signal was sent.
  return what.si_code == SI_TKILL && what.si_pid == getpid() &&
                 marks_refused.load(std::memory_order_relaxed)
             ? Sender::unknown
             : Sender::others;
}

int raise(int sig) noexcept {
  return tgkill(gettid(), sig);
}

int raiseproc(int sig) noexcept {
  return static_cast<int>(raw_syscall(SYS_kill, getpid(), sig));
}

}  // namespace gort::os
