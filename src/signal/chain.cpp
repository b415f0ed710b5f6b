#include "signal/chain.hpp"

#include <ucontext.h>

#include <cstring>
#include <new>
#include <utility>

#include "base/thread_safety.hpp"
#include "sched/fork.hpp"
#include "sched/lock.hpp"
#include "signal/die.hpp"
#include "signal/prof.hpp"
#include "signal/signal.hpp"

namespace gort {
namespace {

Lock chains_lock;  // never taken in a handler

struct Chain {
  ActionCell cells[kLevels];
  int levels GORT_GUARDED_BY(chains_lock) = 0;  // in use (CH1)
  bool taken GORT_GUARDED_BY(chains_lock) = false;
  int ignored_level GORT_GUARDED_BY(chains_lock) = -1;  // that our SIG_IGN stands before; -1: none
  // What setsigstack() has put, or no handler.
  os::SignalAction stacked GORT_GUARDED_BY(chains_lock);
};
Chain chains[kSignals + 1];

// FK2. A change that was under way is made or not: of a cell one sees one action whole (CH3).
const bool forgets_lock = on_fork([]() noexcept { new (&chains_lock) Lock; });

// A function of another type, as which it is called; through the type that stands for all of them.
template <class To, class From>
To function_cast(From* function) noexcept {
  return reinterpret_cast<To>(reinterpret_cast<void (*)()>(function));
}

SignalHandler standard(void (*what)(int)) noexcept {
  return function_cast<SignalHandler>(what);
}

constexpr unsigned long kStackFlag = SA_ONSTACK;

int level_of(SignalHandler handler) noexcept {
  for (int level = 0; level < kLevels; ++level) {
    if (sigtramps[level] == handler) return level;
  }
  return -1;
}

// The level that what is there stands for: our handler's, or that of our SIG_IGN. -1: it is the program's.
int level_there(const os::SignalAction& there, int ignored_level) noexcept {
  const int level = level_of(there.handler);
  return level < 0 && there.handler == standard(SIG_IGN) ? ignored_level : level;
}

enum class InPlace : uint8_t { handler, ignore };

os::SignalAction our_action_at(int level, InPlace what) noexcept {
  return what == InPlace::handler ? our_action(sigtramps[level]) : os::ignoring();
}

// What an action says beside who handles the signal: whether children that end leave zombies, and those that stop send one. SIG_IGN
// says by itself that they leave none.
unsigned long childrens_flags(int sig, const os::SignalAction& action) noexcept {
  if (sig != SIGCHLD) return 0;
  const unsigned long no_zombies = action.handler == standard(SIG_IGN) ? SA_NOCLDWAIT : 0;
  return no_zombies | (action.flags & (SA_NOCLDSTOP | SA_NOCLDWAIT));
}

os::SignalAction install(int sig, const os::SignalAction& action) noexcept {
  os::SignalAction old;
  if (level_of(action.handler) >= 0) {
    setsig(sig, action.handler, &old, action.flags);
  } else {
    sysSigaction(sig, &action, &old);
  }
  return old;
}

// CH2: puts next(what is there) in its place; called again for what has come in between.
template <class Next>
void replace_action(int sig, Next next) noexcept {
  os::SignalAction there;
  sysSigaction(sig, nullptr, &there);
  os::SignalAction latest = there;
  for (;;) {
    const os::SignalAction want = next(latest);
    if (same(want, there)) return;
    const os::SignalAction old = install(sig, want);
    if (same(old, there)) return;
    latest = old;
    there = want;
  }
}

// CH1: the level for an action that is not ours. One that is behind a level already was restored, and has its level again.
int level_for(const Chain& chain, int levels, const os::SignalAction& action) noexcept {
  for (int level = 0; level < levels; ++level) {
    if (same(chain.cells[level].get(), action)) return level;
  }
  return levels;
}

}  // namespace

bool same(const os::SignalAction& a, const os::SignalAction& b) noexcept {
  constexpr unsigned long kRestorer = 0x04000000;  // the kernel tells it of each
  constexpr uint64_t kNeverMasked = os::signal_bit(SIGKILL) | os::signal_bit(SIGSTOP);
  return a.handler == b.handler && ((a.flags ^ b.flags) & ~kRestorer) == 0 &&
         ((a.mask ^ b.mask) & ~kNeverMasked) == 0;
}

// ---- A level's action -----------------------------------------------------------------------------------

void ActionCell::set(const os::SignalAction& action) noexcept {
  // relaxed: only its writer changes it.
  const uint32_t next = generation_.load(std::memory_order_relaxed) + 1;
  Slot& slot = slots_[next % 2];
  // release, all of these: a reader that finds one of them, while he reads the generation before last, finds behind it
  // that this generation is not his any more (CH3).
  slot.handler.store(action.handler, std::memory_order_release);
  slot.flags.store(action.flags, std::memory_order_release);
  slot.restorer.store(action.restorer, std::memory_order_release);
  slot.mask.store(action.mask, std::memory_order_release);
  slot.used.store(false, std::memory_order_release);   // release: as above
  generation_.store(next, std::memory_order_release);  // release: publishes the slot
}

bool ActionCell::read(uint32_t n, os::SignalAction& out) const noexcept {
  const Slot& slot = slots_[n % 2];
  // acquire, all of these: pair with the releases in set().
  out.handler = slot.handler.load(std::memory_order_acquire);
  out.flags = slot.flags.load(std::memory_order_acquire);
  out.restorer = slot.restorer.load(std::memory_order_acquire);
  out.mask = slot.mask.load(std::memory_order_acquire);
  // relaxed: behind the acquires above (CH3).
  return generation_.load(std::memory_order_relaxed) == n;
}

os::SignalAction ActionCell::get() const noexcept {
  os::SignalAction action;
  uint32_t n;
  do {
    n = generation_.load(std::memory_order_acquire);  // acquire: pairs with the release in set()
  } while (!read(n, action));
  // relaxed: CH4, it publishes nothing.
  if (slots_[n % 2].used.load(std::memory_order_relaxed)) action.handler = standard(SIG_DFL);
  return action;
}

void ActionCell::drop_stack_flag(const os::SignalAction& put) noexcept {
  if (!same(get(), put)) return;
  // relaxed: only its writer changes it.
  Slot& slot = slots_[generation_.load(std::memory_order_relaxed) % 2];
  // release: as in set(). The same action with the flag and without is one to a reader.
  slot.flags.store(put.flags & ~kStackFlag, std::memory_order_release);
}

os::SignalAction ActionCell::use() noexcept {
  os::SignalAction action;
  uint32_t n;
  do {
    n = generation_.load(std::memory_order_acquire);  // acquire: as in get()
  } while (!read(n, action));
  if ((action.flags & SA_RESETHAND) != 0 &&
      // relaxed: CH4, of two signals one is the first.
      slots_[n % 2].used.exchange(true, std::memory_order_relaxed)) {
    action.handler = standard(SIG_DFL);
  }
  return action;
}

// ---- Before the program's handlers, and away again ------------------------------------------------------

bool is_ours(SignalHandler handler) noexcept {
  return level_of(handler) >= 0;
}

namespace {

bool put_before(int sig, InPlace what) noexcept {
  LockGuard guard(chains_lock);
  Chain& chain = chains[sig];
  const int levels = chain.levels;
  const int ignored = chain.ignored_level;
  const bool again = chain.taken;
  int level = 0;
  replace_action(
      sig, [&chain, &level, sig, levels, ignored, again, what](const os::SignalAction& there) {
        level = level_there(there, ignored);
        if (level < 0) {
          // Who ends the program's handlers between two of our lives ends what they have saved.
          level = level_for(chain, again || os::has_handler(there) ? levels : 0, there);
          if (level == kLevels) return there;
          if (level == levels || !same(chain.cells[level].get(), there)) {
            chain.cells[level].set(there);
          }
        }
        os::SignalAction ours = our_action_at(level, what);
        ours.flags |= childrens_flags(sig, chain.cells[level].get());
        return ours;
      });
  if (level == kLevels) return false;
  chain.levels = level + 1;
  chain.taken = true;
  chain.ignored_level = what == InPlace::ignore ? level : -1;
  return true;
}

}  // namespace

bool take_signal(int sig) noexcept {
  return put_before(sig, InPlace::handler);
}

bool take_signal_ignored(int sig) noexcept {
  return put_before(sig, InPlace::ignore);
}

void give_back(int sig) noexcept {
  LockGuard guard(chains_lock);
  Chain& chain = chains[sig];
  int levels = chain.levels;  // somebody stands over them, and may have saved the last
  const int ignored = chain.ignored_level;
  replace_action(sig, [&chain, &levels, ignored](const os::SignalAction& there) {
    const int level = level_there(there, ignored);
    if (level < 0) return there;
    levels = level;
    return chain.cells[level].get();
  });
  chain.levels = levels;
  chain.taken = false;
  chain.ignored_level = -1;
}

void setsigstack(int sig) noexcept {
  LockGuard guard(chains_lock);
  os::SignalAction put;
  replace_action(sig, [&put](const os::SignalAction& there) {
    if (!os::has_handler(there) || (there.flags & SA_ONSTACK) != 0) return there;
    put = there;
    put.flags |= SA_ONSTACK;
    return put;
  });
  if (put.handler != nullptr) chains[sig].stacked = put;
}

void unsetsigstacks() noexcept {
  LockGuard guard(chains_lock);
  for (int sig = 1; sig <= kSignals; ++sig) {
    const os::SignalAction put = std::exchange(chains[sig].stacked, {});
    if (put.handler == nullptr) continue;
    // Who has taken the signal since then gives back what he has found.
    for (ActionCell& cell : chains[sig].cells) cell.drop_stack_flag(put);
    if (sig == SIGPROF) unsetprofstack(put);
    replace_action(sig, [&put](const os::SignalAction& there) {
      os::SignalAction action = there;
      if (same(there, put)) action.flags &= ~kStackFlag;
      return action;
    });
  }
}

// ---- In a handler ---------------------------------------------------------------------------------------

uint64_t interrupted_mask(const Arrived& signal) noexcept {
  uint64_t mask = 0;  // the kernel writes no more than this of libc's larger sigset_t
  std::memcpy(&mask, &static_cast<const ucontext_t*>(signal.context)->uc_sigmask, sizeof mask);
  return mask;
}

bool call_chained(const Arrived& signal, SignalHandler* instead) {
  const os::SignalAction action = chains[signal.sig].cells[signal.level].use();
  *instead = action.handler;
  if (!os::has_handler(action)) return false;
  call_as_the_kernel(action, signal);
  return true;
}

constinit Host signals_host;

namespace {

// What was blocked for the program where the signal came.
uint64_t programs_mask(const Arrived& signal) noexcept {
  // relaxed, both: on that thread, which has written them.
  const int host = signals_host.tid.load(std::memory_order_relaxed);
  return host != 0 && host == os::gettid() ? signals_host.mask.load(std::memory_order_relaxed)
                                           : interrupted_mask(signal);
}

}  // namespace

void call_as_the_kernel(const os::SignalAction& action, const Arrived& signal) {
  const uint64_t itself = (action.flags & SA_NODEFER) != 0 ? 0 : os::signal_bit(signal.sig);
  const uint64_t ours = os::sigprocmask(programs_mask(signal) | action.mask | itself);
  if ((action.flags & SA_SIGINFO) != 0) {
    using WithInfo = void (*)(int, siginfo_t*, void*);
    function_cast<WithInfo>(action.handler)(signal.sig, static_cast<siginfo_t*>(signal.info),
                                            signal.context);
  } else {
    function_cast<void (*)(int)>(action.handler)(signal.sig);
  }
  os::sigprocmask(ours);
}

namespace {

// By the kernel, which does not stop a process group that nobody would let go on (setpgid(2): an orphaned one); SIGSTOP
// would stop that for good.
void stop_by_default(int sig) noexcept {
  const os::SignalAction by_default;
  os::SignalAction ours;
  sysSigaction(sig, &by_default, &ours);
  const uint64_t open = os::signal_bit(sig);
  uint64_t mask = 0;
  os::rtsigprocmask(SIG_UNBLOCK, &open, &mask);
  os::raise(sig);  // back here once somebody lets the process go on
  os::sigprocmask(mask);
  os::SignalAction meanwhile;
  sysSigaction(sig, &ours, &meanwhile);
  // CH2. Of two threads in here the one that has found our handler puts it back.
  if (meanwhile.handler != by_default.handler) sysSigaction(sig, &meanwhile, nullptr);
}

}  // namespace

void forward(const Arrived& signal) {
  SignalHandler instead;
  if (call_chained(signal, &instead)) return;
  if (instead == standard(SIG_IGN) || ignored_by_default(signal.sig)) return;
  if (stops_by_default(signal.sig)) return stop_by_default(signal.sig);
  dieFromSignal(signal.sig);
}

}  // namespace gort
