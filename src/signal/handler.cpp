// handler: what runs when a signal comes, at any instruction of anybody.
//
// Compiled without ThreadSanitizer, with all that it calls for other signals than ticks (CMakeLists.txt): such a handler may have
// interrupted that one's own code, which holds locks of its own. docs/design/0015-signals.md
#include <cerrno>

#include "os/os.hpp"
#include "sched/current.hpp"
#include "sched/preempt.hpp"
#include "sched/sanitizer.hpp"
#include "signal/fault.hpp"
#include "signal/inbox.hpp"
#include "signal/notify.hpp"
#include "signal/prof.hpp"
#include "signal/signal.hpp"

namespace gort {

constinit SignalInbox signal_inbox;

namespace {

// Not noexcept: see call_chained().
template <int kLevel>
void sigtramp(int sig, void* info, void* context) {
  const int error = errno;
  const Arrived signal{sig, kLevel, info, context};
  if (M* const m = current_m(); m != nullptr) {
    sighandler(signal, m);
  } else {
    cgoSigtramp(signal);
  }
  errno = error;
}

const siginfo_t* info_of(const Arrived& signal) noexcept {
  return static_cast<const siginfo_t*>(signal.info);
}

}  // namespace

static_assert(kLevels == 8, "as many as here");
const SignalHandler sigtramps[kLevels] = {sigtramp<0>, sigtramp<1>, sigtramp<2>, sigtramp<3>,
                                          sigtramp<4>, sigtramp<5>, sigtramp<6>, sigtramp<7>};

// TK2.
bool is_tick(const M* m, const siginfo_t* info) noexcept {
  return os::is_tick(m != nullptr ? &m->os : nullptr, info);
}

namespace {

// Under ThreadSanitizer, which puts ticks off: the mask of what was interrupted, as if the handler had been called at once. What TSan
// does then is not reentrant, and atomics may make it do it again: the mask that it finds is the one that it restores at the end.
class MaskWhilePutOff {
 public:
  explicit MaskWhilePutOff(const Arrived& signal) noexcept {
    if constexpr (kPutsTicksOff) blocked_ = os::sigprocmask(interrupted_mask(signal));
  }
  ~MaskWhilePutOff() {
    if constexpr (kPutsTicksOff) os::sigprocmask(blocked_);
  }
  MaskWhilePutOff(const MaskWhilePutOff&) = delete;
  MaskWhilePutOff& operator=(const MaskWhilePutOff&) = delete;

 private:
  uint64_t blocked_ = 0;
};

// Ticks and kicks (PR6 in preempt.hpp). False: it is the program's SIGURG.
bool interrupts(const Arrived& signal, M* m) noexcept {
  if (profile_tick(m, signal.info, signal.context)) return true;  // PF9
  const bool tick = is_tick(m, info_of(signal));
  const os::Sender sender = os::sender_of(signal.info);
  if (!tick && sender == os::Sender::others) return false;
  const MaskWhilePutOff mask(signal);
  if (tick) {
    preempt_tick(m);  // TK1: cuts no system call short
    return true;
  }
  // A second kick finds nothing to do any more, and is a kick all the same.
  if (!preempt_kicked(m) && sender == os::Sender::unknown) return false;
  (void)os::restart_cut_call(signal.context);
  return true;
}

}  // namespace

// In this order: what is certainly ours; faults; what channels want; what is the program's.
void sighandler(const Arrived& signal, M* m) {
  if (signal.sig == kTickSignal && interrupts(signal, m)) return;
  if (is_fault(signal.sig, *info_of(signal))) return fault(signal, m);
  if (notified(signal)) return;
  forward(signal);
}

void cgoSigtramp(const Arrived& signal) {
  // A thread that has just been an M, or is about to be one.
  if (signal.sig == kTickSignal &&
      (profile_tick(nullptr, signal.info, signal.context) || is_tick(nullptr, info_of(signal)) ||
       os::sender_of(signal.info) == os::Sender::signal_thread)) {
    return;
  }
  if (is_fault(signal.sig, *info_of(signal))) return fault(signal, nullptr);
  if (notified(signal)) return;
  forward(signal);
}

namespace {

// The program has put its own handler over the SIG_IGN of signals::ignore(), and that one calls ours, which it has saved: for who is
// behind us. His handler alone is called: by default a signal that was to be ignored ends nothing (NT6).
bool taken_back(int sig) noexcept {
  os::SignalAction now;
  return os::rt_sigaction(sig, nullptr, &now) == 0 && os::has_handler(now) && !is_ours(now.handler);
}

}  // namespace

bool notified(const Arrived& signal) {
  switch (signal_inbox.put(signal.sig)) {
    case Put::refused:
      return false;  // NT1
    case Put::swallowed:
      if (!taken_back(signal.sig)) return true;  // NT6
      break;
    case Put::down:
      break;
  }
  SignalHandler instead;
  (void)call_chained(signal, &instead);
  return true;
}

}  // namespace gort
