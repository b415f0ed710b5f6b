// What is taken for the life of a runtime. What a signal does then: handler.cpp.
#include "signal/signal.hpp"

#include <unistd.h>

#include <atomic>

#include "base/line.hpp"
#include "os/os.hpp"
#include "sched/region.hpp"
#include "signal/fault.hpp"

namespace gort {
namespace {

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
