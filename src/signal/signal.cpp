#include "signal/signal.hpp"

#include <csignal>

#include "os/os.hpp"
#include "sched/current.hpp"
#include "sched/preempt.hpp"

namespace gort {
namespace {

constexpr int kTick =
    SIGURG;  // as in Go: ignored by default, nobody's, and libraries let it through
// Faults in a handler are to be seen at once; 32 and 33 are libc's.
constexpr uint64_t kMasked =
    os::kAllButLibcSignals &
    ~(os::signal_bit(SIGSEGV) | os::signal_bit(SIGBUS) | os::signal_bit(SIGFPE) |
      os::signal_bit(SIGILL) | os::signal_bit(SIGTRAP));

os::SignalAction before;

void sighandler(int sig, void* info, void* context) noexcept {
  const auto* what = static_cast<const siginfo_t*>(info);
  M* const m = current_m();
  if (os::is_tick(m != nullptr ? &m->os : nullptr, info)) {
    // No M on a thread that is about to become one, or has just been one.
    if (m != nullptr) preempt_tick(m);
    return;
  }
  if (m != nullptr && what->si_code == SI_TKILL && what->si_pid == os::getpid() &&
      preempt_kicked(m)) {
    return;
  }
  if (os::has_handler(before)) before.handler(sig, info, context);
}

}  // namespace

int initsig() noexcept {
  os::SignalAction action;
  action.handler = sighandler;
  action.flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  action.mask = kMasked;
  return os::rt_sigaction(kTick, &action, &before);
}

void finisig() noexcept {
  (void)os::rt_sigaction(kTick, &before, nullptr);
}

}  // namespace gort
