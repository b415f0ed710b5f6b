#include "signal/prof.hpp"

#include <csignal>
#include <cstring>
#include <new>

#include "base/mem.hpp"
#include "os/os.hpp"
#include "sched/current.hpp"
#include "sched/fork.hpp"
#include "sched/lock.hpp"
#include "sched/region.hpp"
#include "sched/roll.hpp"
#include "signal/chain.hpp"
#include "signal/unwind.hpp"

namespace gort {
namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;
// Faults in a handler are to be seen at once; 32 and 33 are libc's. SIGPROF: prof.hpp says why.
constexpr uint64_t kMasked =
    os::kAllButLibcSignals & ~(os::kFaultSignals | os::signal_bit(SIGPROF));

Atomic<Samples*> queue{nullptr};
Atomic<int> inside{0};  // handlers that may use it
Atomic<uint64_t> lost{0};
Atomic<uint32_t> profiles{0};  // so far
Atomic<int64_t> period_ns{kNsPerSecond};
ActionCell before;
Lock before_lock;  // who writes it; never taken in a handler

// PF5. What the thread has used since its last tick, in whole periods; what is left over counts the next time.
uint32_t periods_used() noexcept {
  ProfileShare& share = profile_share();
  const int64_t now_ns = os::thread_cpu_ns(0);
  // relaxed, both: written before the ticks begin.
  const uint32_t current = profiles.load(std::memory_order_relaxed);
  if (share.profile != current) {
    share.profile = current;
    share.counted_ns = now_ns;
    return 1;
  }
  // relaxed: as above.
  const int64_t period = period_ns.load(std::memory_order_relaxed);
  const int64_t periods = (now_ns - share.counted_ns) / period;
  share.counted_ns += periods * period;
  return static_cast<uint32_t>(periods);
}

uint32_t weight_of(const siginfo_t& info) noexcept {
  if (info.si_code != SI_TIMER) return periods_used();
  // A kernel that looks at processor time 250 times a second sends one signal for several periods, and says so.
  return info.si_overrun > 0 ? 1 + static_cast<uint32_t>(info.si_overrun) : 1;
}

void fill(Sample& to, const M* m, uint32_t weight, const void* context) noexcept {
  const G* const g = m != nullptr ? m->cur : nullptr;
  to.weight = weight;
  to.fiber = 0;
  to.name[0] = '\0';
  if (g != nullptr && g->kind == GKind::fiber) {
    to.fiber = g->id;
    std::memcpy(to.name, g->name, sizeof to.name);  // its last byte is always 0
  }
  to.depth = static_cast<uint32_t>(unwind(context, g, to.pcs));
}

void sample(const M* m, uint32_t weight, const void* context) noexcept {
  if (weight == 0) return;
  // seq_cst: PF7. Who ends the profile sees us, or we see that it is over.
  if (Samples* const to = queue.load(std::memory_order_seq_cst); to != nullptr) {
    if (!to->push([&](Sample& s) noexcept { fill(s, m, weight, context); })) {
      lost.fetch_add(weight, std::memory_order_relaxed);  // relaxed: a number (PF2)
    }
  }
}

// PF6. A handler that has once been put over ours may call ours, for which it is now the program's: that is the end of the
// chain. (One that leaves by siglongjmp() is not called on this thread again, while profiles run.)
void call_program(const os::SignalAction& program, const Arrived& signal) {
  ProfileShare& share = profile_share();
  if (share.in_program == InProgram::yes) return;
  share.in_program = InProgram::yes;
  call_as_the_kernel(program, signal);
  share.in_program = InProgram::no;
}

// PF8. Not noexcept: see call_chained().
void sigprof(int sig, void* info, void* context) {
  inside.fetch_add(1, std::memory_order_seq_cst);  // seq_cst: PF7, the count before the look
  const M* const m = current_m();
  const ProfTick tick = validSIGPROF(m, info);
  if (tick == ProfTick::counts) {
    sample(m, weight_of(*static_cast<const siginfo_t*>(info)), context);
  }
  os::SignalAction program;
  if (tick == ProfTick::not_ours) program = before.use();
  inside.fetch_sub(1, std::memory_order_release);  // release: PF7, our accesses
  // Not inside: it may leave by siglongjmp().
  if (os::has_handler(program)) call_program(program, {sig, 0, info, context});
}

void await_handlers() noexcept {
  // seq_cst: PF7, and we learn what they have done. They are a few microseconds long.
  while (inside.load(std::memory_order_seq_cst) != 0) os::osyield();
}

int install() noexcept {
  (void)os::pin_library();  // as in libpreinit(): a profile needs no runtime
  os::SignalAction ours;
  ours.handler = sigprof;
  ours.flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART | SA_NODEFER;
  ours.mask = kMasked;
  const Region in;
  const LockGuard guard(before_lock);
  os::SignalAction there;
  if (const int error = os::rt_sigaction(SIGPROF, nullptr, &there); error != 0) return error;
  if (there.handler == sigprof) return 0;  // the program has restored it, and `before` is behind it
  before.set(there);
  os::SignalAction old;
  if (const int error = os::rt_sigaction(SIGPROF, &ours, &old); error != 0) return error;
  if (old.handler != sigprof && !same(old, there)) before.set(old);  // CH2
  return 0;
}

// CH2. Each change tells what it has replaced: what the one before has put there, or the program's latest. By default
// SIGPROF ends the process, so what is on its way is thrown away first: the kernel drops what is pending of a signal that
// becomes ignored. A handler of the program's may see a tick.
void give_back() noexcept {
  const Region in;
  const LockGuard guard(before_lock);
  os::SignalAction there;
  if (os::rt_sigaction(SIGPROF, nullptr, &there) != 0 || there.handler != sigprof) return;  // PF6
  const os::SignalAction program = before.get();
  bool drops = !os::has_handler(program);
  os::SignalAction next = drops ? os::ignoring() : program;
  for (;;) {
    os::SignalAction old;
    if (os::rt_sigaction(SIGPROF, &next, &old) != 0) return;
    const bool as_expected = same(old, there);
    if (as_expected && !drops) return;
    drops = false;
    there = next;
    next = as_expected || old.handler == sigprof ? program : old;
  }
}

// Nothing sends ticks any more, but some may be on their way.
void uninstall() noexcept {
  give_back();
  await_handlers();
}

// PF9. Threads of such a program block it, too, and would take none of the process's ticks; who calls sigwait() would take them all.
bool blocked_here() noexcept {
  uint64_t blocked = 0;
  os::rtsigprocmask(SIG_BLOCK, nullptr, &blocked);
  return (blocked & os::signal_bit(SIGPROF)) != 0;
}

// FK2. The profile goes on in the parent alone. What a tick of it would have found here is not.
const bool forgets_profile = on_fork([]() noexcept {
  new (&before_lock) Lock;
  // relaxed, both: there is one thread.
  inside.store(0, std::memory_order_relaxed);
  if (queue.exchange(nullptr, std::memory_order_relaxed) != nullptr) uninstall();
});

}  // namespace

bool profile_tick(const M* m, const void* info, const void* context) noexcept {
  const auto& what = *static_cast<const siginfo_t*>(info);
  if (what.si_code != SI_TIMER || what.si_ptr != &profile_mark) return false;
  inside.fetch_add(1, std::memory_order_seq_cst);  // seq_cst: PF7, the count before the look
  if (validSIGPROF(m, info) == ProfTick::counts) sample(m, weight_of(what), context);
  inside.fetch_sub(1, std::memory_order_release);  // release: PF7, our accesses
  return true;
}

ProfTick validSIGPROF(const M* m, const void* info) noexcept {
  const auto& what = *static_cast<const siginfo_t*>(info);
  // relaxed: between a thread and a handler on it; roll.cpp says why each answer is right.
  const os::TimerId own = m != nullptr ? m->profile_timer.load(std::memory_order_relaxed) : -1;
  if (what.si_code == SI_TIMER && what.si_ptr == &profile_mark) {
    // A timer that is gone, or whose M is: few, and the time of a moment.
    return own >= 0 && what.si_timerid == own ? ProfTick::counts : ProfTick::counted_elsewhere;
  }
  if (what.si_code == SI_KERNEL) return own >= 0 ? ProfTick::counted_elsewhere : ProfTick::counts;
  return ProfTick::not_ours;
}

int setProcessCPUProfiler(int hz) noexcept {
  if (hz == 0) {
    (void)os::setitimer(0);
    setThreadCPUProfilers(0);
    uninstall();
    return 0;
  }
  // relaxed, both: handlers run behind the system calls that make the ticks.
  profiles.fetch_add(1, std::memory_order_relaxed);
  period_ns.store(kNsPerSecond / hz, std::memory_order_relaxed);
  if (const int error = install(); error != 0) return error;
  setThreadCPUProfilers(hz);
  if (!blocked_here()) (void)os::setitimer(kNsPerSecond / hz);
  return 0;
}

void unsetprofstack(const os::SignalAction& put) noexcept {
  const LockGuard guard(before_lock);
  before.drop_stack_flag(put);
}

void set_samples(Samples* to) noexcept {
  queue.store(to, std::memory_order_seq_cst);  // seq_cst: PF7, before the look at who is inside
  if (to == nullptr) await_handlers();
}

uint64_t take_lost() noexcept {
  return lost.exchange(0, std::memory_order_relaxed);  // relaxed: a number
}

}  // namespace gort
