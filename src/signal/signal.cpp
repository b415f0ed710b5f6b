#include "signal/signal.hpp"

#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "base/line.hpp"
#include "base/thread_safety.hpp"
#include "os/os.hpp"
#include "sched/current.hpp"
#include "sched/preempt.hpp"
#include "sched/region.hpp"
#include "signal/fault.hpp"
#include "signal/notify.hpp"

namespace gort {
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

// What initsig() has taken, as a set. relaxed, every access: by the thread that starts and ends the runtime, and by sysmon,
// whose life lies in between.
Atomic<uint64_t> taken{0};

void take(int sig) noexcept {
  if (!take_signal(sig)) return;
  taken.fetch_or(os::signal_bit(sig), std::memory_order_relaxed);  // relaxed: see taken
}

bool has_taken(int sig) noexcept {
  return (taken.load(std::memory_order_relaxed) & os::signal_bit(sig)) != 0;  // relaxed: see taken
}

void say_lost() noexcept {
  taken.fetch_and(~os::signal_bit(kTickSignal), std::memory_order_relaxed);  // relaxed: see taken
  Line line;
  line.put("gort: the program takes SIGURG over again and again; fibers that do not give way are ");
  line.put("not interrupted any more");
  line.write(STDERR_FILENO);
}

// A sanitizer's report says more than ours.
bool is_sanitizers(int sig) noexcept {
  os::SignalAction action;
  action.handler = getsig(sig);
  return os::sanitizer_present() && os::has_handler(action);
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

// PR6 in preempt.hpp.
bool is_kick(M* m, const siginfo_t* info) noexcept {
  return info->si_code == SI_TKILL && info->si_pid == os::getpid() && preempt_kicked(m);
}

}  // namespace

// In this order: what is certainly ours; faults; what channels want; what is the program's.
void sighandler(const Arrived& signal, M* m) {
  if (signal.sig == kTickSignal && is_tick(m, info_of(signal))) return preempt_tick(m);
  if (signal.sig == kTickSignal && is_kick(m, info_of(signal))) return;
  if (is_fault(signal.sig, *info_of(signal))) return fault(signal, m);
  if (notified(signal)) return;
  forward(signal);
}

void cgoSigtramp(const Arrived& signal) {
  // A thread that has just been an M, or is about to be one.
  if (signal.sig == kTickSignal && is_tick(nullptr, info_of(signal))) return;
  if (is_fault(signal.sig, *info_of(signal))) return fault(signal, nullptr);
  if (notified(signal)) return;
  forward(signal);
}

void initsig(Ticks ticks) noexcept {
  for (const int sig : kFaults) {
    if (!is_sanitizers(sig)) take(sig);
  }
  if (ticks == Ticks::some) take(kTickSignal);
  for (int sig = 1; sig <= kSignals; ++sig) setsigstack(sig);
}

void finisig() noexcept {
  for (int sig = 1; sig <= kSignals; ++sig) {
    if (has_taken(sig)) give_back(sig);
  }
  taken.store(0, std::memory_order_relaxed);  // relaxed: see taken
  unsetsigstacks();
}

void signal_check() noexcept {
  const Region in;
  // SG2. Faults are not taken back: who installs a handler for them has reasons of his own (a collector, a probe that he
  // will take off in a moment), and gets them as he would without us.
  if (has_taken(kTickSignal) && !is_ours(getsig(kTickSignal)) && !take_signal(kTickSignal)) {
    say_lost();
  }
  for (int sig = 1; sig <= kSignals; ++sig) setsigstack(sig);
}

}  // namespace gort
