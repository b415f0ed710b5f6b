#include "signal/fault.hpp"

#include <unistd.h>

#include "base/line.hpp"
#include "os/os.hpp"
#include "sched/g.hpp"
#include "signal/die.hpp"
#include "signal/sigtab.hpp"

namespace gort {
namespace {

constexpr size_t kKiB = 1024;

const siginfo_t& info_of(const Arrived& signal) noexcept {
  return *static_cast<const siginfo_t*>(signal.info);
}

// SG3. The guard is one page (stack.hpp).
bool overflows(const M* m, int sig, const FaultCause& cause) noexcept {
  if (m == nullptr || sig != SIGSEGV || !cause.address_known) return false;
  const G* const g = m->cur;
  if (g->kind != GKind::fiber) return false;
  const auto low = reinterpret_cast<uintptr_t>(g->stack_low);
  return cause.address < low && low - cause.address <= os::system_info().page_bytes;
}

void put_fiber(Line& line, const G* g) noexcept {
  line.put("fiber ").put_number(static_cast<long>(g->id));
  if (g->name[0] != '\0') line.put(" (").put(g->name, kNameBytes).put(")");
}

void report_overflow(const M* m, const FaultCause& cause) noexcept {
  const G* const g = m->cur;
  Line line;
  line.put("gort: fatal: stack overflow in ");
  put_fiber(line, g);
  line.put(": its ").put_number(static_cast<long>(g->stack_bytes / kKiB)).put(" KiB end at ");
  line.put_address(reinterpret_cast<uintptr_t>(g->stack_low)).put(", it touched ");
  line.put_address(cause.address);
  line.put("; attrs.stack_size, options.stack_size and GORT_STACK make stacks larger");
  line.write(STDERR_FILENO);
}

void report_fault(const M* m, int sig, const FaultCause& cause) noexcept {
  Line line;
  line.put("gort: fatal: ").put(signame(sig).text).put(" at ");
  if (cause.address_known) {
    line.put_address(cause.address);
  } else {
    line.put("an address that can not be");
  }
  line.put(" (code ").put_number(cause.code).put("), ");
  if (m->cur->kind == GKind::fiber) {
    line.put("in ");
    put_fiber(line, m->cur);
  } else {
    line.put("in no fiber, on thread ").put_number(os::gettid());
  }
  line.write(STDERR_FILENO);
}

Atomic<int> reporter{0};  // the thread that makes the report, once there is one

// SG4.
bool may_report() noexcept {
  const int self = os::gettid();
  int who = 0;
  // relaxed, both: whoever loses does nothing any more.
  if (reporter.compare_exchange_strong(who, self, std::memory_order_relaxed,
                                       std::memory_order_relaxed)) {
    return true;
  }
  if (who == self) return false;
  const Atomic<uint32_t> end{0};
  for (;;) os::futexsleep(&end, 0, os::kForever);  // the other ends the process
}

}  // namespace

bool is_fault(int sig, const siginfo_t& info) noexcept {
  for (const int one : kFaults) {
    if (sig == one) return !sigFromUser(info);
  }
  return false;
}

void fault(const Arrived& signal, M* m) {
  const FaultCause cause = fixsigcode(signal.sig, info_of(signal));
  if (overflows(m, signal.sig, cause)) {
    if (may_report()) report_overflow(m, cause);
    dieFromSignal(signal.sig);
  }
  SignalHandler instead;
  // SIG_IGN too: the kernel would not let such a thread go on.
  if (call_chained(signal, &instead)) return;
  if (m != nullptr && may_report()) report_fault(m, signal.sig, cause);
  dieFromSignal(signal.sig);
}

}  // namespace gort
