// notify: who wants which signals (gort/signals.hpp), and the helper, a thread that sends them on.
//
// The handler puts a signal into the inbox and wakes the helper, which sends it to the channels that want it, by try_send():
// that takes locks and may wake a fiber, which nothing in a handler may do. The helper is there while anybody wants anything, and
// belongs to no runtime, so it needs none, and works while no fiber runs or every P is busy. It lets in exactly the signals
// that are wanted, so that one comes although every other thread blocks it; it is the only thread whose mask gort changes for that.
//
//   NT4  Of a signal that nobody wants any more, what was there before it was wanted is back when the call has returned that ended it,
//        and everything that came before is in its channels. In this order: the helper blocks the signal (else it would take one that
//        the program blocks everywhere, and die of it), the inbox is closed to it (NT2), what is in there is sent on, the
//        channel is forgotten, the old action is back. A handler that has begun and comes late goes the way of the old action.
//   NT5  Two locks: `calls` is held by who changes anything, for the whole change; `list` guards the subscribers for moments, and the
//        helper takes that one alone, so that who changes something may wait for the helper.
//
// Rejected: a fiber that waits in the kernel, as Go has it (holds a runtime's thread anyway, and ends with the runtime while
// the program's wish does not); sysmon or the poller as the helper (no delivery without a runtime; sysmon would have to wake
// from its deep sleep, and both would take locks that a program can hold); sending from the handler.
#include "signal/notify.hpp"

#include <algorithm>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/mutex.hpp"
#include "gort/signals.hpp"
#include "os/os.hpp"
#include "sched/deadlock.hpp"
#include "sched/fork.hpp"
#include "sched/note.hpp"
#include "sched/region.hpp"
#include "sched/sched.hpp"
#include "signal/inbox.hpp"
#include "signal/sigtab.hpp"

namespace gort {
namespace {

constexpr size_t kHelperStackBytes = size_t{256} << 10;  // handlers of the program may run there

// Those that can be had: "Signals that can not be had" of signals.hpp says why not the others.
uint64_t available() noexcept {
  uint64_t set = kMaskedInHandlers & ~(os::signal_bit(SIGKILL) | os::signal_bit(SIGSTOP) |
                                       os::signal_bit(SIGURG) | os::signal_bit(SIGPROF));
  for (int sig = SIGSYS + 1; sig < SIGRTMIN; ++sig) set &= ~os::signal_bit(sig);
  return set;
}

// Throws std::invalid_argument.
void check_number(int sig) {
  if (sig < 1 || sig > kSignals) {
    throw std::invalid_argument("gort: there is no signal " + std::to_string(sig));
  }
}

uint64_t set_of(std::span<const int> signals) {
  if (signals.empty()) return available();
  uint64_t set = 0;
  for (const int sig : signals) {
    check_number(sig);
    set |= os::signal_bit(sig);
  }
  return set & available();
}

template <class F>
void for_each_signal(uint64_t set, F&& f) {
  for (int sig = 1; sig <= kSignals; ++sig) {
    if ((set & os::signal_bit(sig)) != 0) f(sig);
  }
}

[[noreturn]] void refuse(int sig) {
  throw std::system_error(
      std::make_error_code(std::errc::resource_unavailable_try_again),
      std::string("gort: the program has taken over again and again ") + signame(sig).text);
}

struct Subscriber {
  chan<int> ch;
  uint64_t signals;
};

enum class Then : uint8_t { give_back, ignore };

class Notifier {
 public:
  void add(const chan<int>& ch, uint64_t set);
  void remove(const chan<int>& ch);
  void remove_all(uint64_t set, Then then);
  // In the child of a fork.
  void forget() noexcept;

 private:
  // What the helper does.
  static void helper_main(void* self) noexcept;
  void deliver() noexcept;

  // Of who holds `calls`.
  void begin_helper();
  void end_helper() noexcept;
  void set_helpers_mask(uint64_t open) noexcept;
  void take_signals(uint64_t set);
  void take_ignored(uint64_t set);
  void heed_program(uint64_t set) noexcept;
  void undo(uint64_t set) noexcept;
  void put_back(uint64_t set) noexcept;
  [[nodiscard]] uint64_t wanted_without(const chan<int>* ch, uint64_t set);
  void withdraw(const chan<int>* ch, uint64_t set, Then then);

  mutex calls_;  // NT5
  mutex list_;   // NT5
  std::vector<Subscriber> subscribers_;

  os::mOS helper_;
  bool has_helper_ = false;
  Atomic<uint64_t> open_{0};  // what the helper lets in
  Atomic<bool> over_{false};
  Note masked_;  // it has
};

// There from the process's beginning, and not destroyed at its end, when a helper may still run.
union Forever {
  constexpr Forever() noexcept : notifier() {}
  ~Forever() {}
  Notifier notifier;
};
constinit Forever forever;

Notifier& notifier() noexcept {
  return forever.notifier;
}

// FK2 in fork.hpp. The helper is not there, and who waited for signals is the parent. Handlers of ours stay installed in the child,
// and do what would be done without them.
void Notifier::forget() noexcept {
  new (this) Notifier;  // what it owned is the parent's
}

const bool forgets_wishes = on_fork([]() noexcept {
  signal_inbox.forget();
  notifier().forget();
  signals_host.tid.store(0, std::memory_order_relaxed);  // relaxed: there is one thread
});

// ---- The helper -----------------------------------------------------------------------------------------

void Notifier::helper_main(void* self) noexcept {
  auto& n = *static_cast<Notifier*>(self);
  os::minitHouse(n.helper_);
  // relaxed, both: for handlers on this thread; to others it is not theirs.
  signals_host.mask.store(n.helper_.creator_mask, std::memory_order_relaxed);
  signals_host.tid.store(os::gettid(), std::memory_order_relaxed);
  uint64_t open = 0;
  for (;;) {
    signal_inbox.sleep();
    // relaxed, both: the note has brought them.
    if (n.over_.load(std::memory_order_relaxed)) break;
    if (const uint64_t now = n.open_.load(std::memory_order_relaxed); now != open) {
      open = now;
      os::sigprocmask(os::kBlockedInHouse & ~open);
      n.masked_.wake();
    }
    n.deliver();
  }
  os::sigprocmask(os::kBlockedInHouse);
  signals_host.tid.store(0, std::memory_order_relaxed);  // relaxed: as above
}

// On the helper, or on who has closed the inbox to something.
void Notifier::deliver() noexcept {
  const std::lock_guard guard(list_);
  for_each_signal(signal_inbox.take(), [this](int sig) {
    for (const Subscriber& s : subscribers_) {
      if ((s.signals & os::signal_bit(sig)) != 0) (void)s.ch.try_send(sig);
    }
  });
}

void Notifier::begin_helper() {
  if (has_helper_) return;
  (void)os::pin_library();  // first: from here on somebody may save the address of a handler
  os::osinit();
  over_.store(false, std::memory_order_relaxed);  // relaxed: the thread begins behind it
  open_.store(0, std::memory_order_relaxed);      // relaxed: as above
  int error = 0;
  blocking([&] { error = os::newosproc0(helper_, kHelperStackBytes, helper_main, this); });
  if (error != 0) {
    throw std::system_error(-error, std::generic_category(), "gort: no thread for signals");
  }
  has_helper_ = true;
  house_threads.made();
  outside_wakers.fetch_add(1, std::memory_order_relaxed);  // relaxed: D8
}

void Notifier::end_helper() noexcept {
  if (!has_helper_) return;
  has_helper_ = false;
  house_threads.will_end();
  over_.store(true, std::memory_order_relaxed);  // relaxed: the note follows
  signal_inbox.wake();
  blocking([this] { os::mdestroy(helper_); });
  const Region in;
  end_outside_waker();  // D8
}

void Notifier::set_helpers_mask(uint64_t open) noexcept {
  // relaxed: who changes it holds `calls`.
  if (open == open_.load(std::memory_order_relaxed)) return;
  open_.store(open, std::memory_order_relaxed);  // relaxed: the note follows
  signal_inbox.wake();
  blocking([this] { masked_.sleep(); });
}

// ---- Changes --------------------------------------------------------------------------------------------

// All of them, or none and an exception.
void Notifier::take_signals(uint64_t set) {
  heed_program(set);
  uint64_t done = 0;
  int refused = 0;
  {
    const Region in;
    for_each_signal(set, [&](int sig) {
      if (refused != 0) return;
      if (take_signal(sig)) {
        done |= os::signal_bit(sig);
      } else {
        refused = sig;
      }
    });
    if (refused != 0) {
      undo(done);
    }
  }
  if (refused != 0) refuse(refused);
}

// Where the program has put its own action over our SIG_IGN, that is over.
void Notifier::heed_program(uint64_t set) noexcept {
  for_each_signal(set & signal_inbox.ignored(), [](int sig) {
    if (!signals::ignored(sig)) signal_inbox.heed(os::signal_bit(sig));
  });
}

// The same with SIG_IGN; NT6 from here on.
void Notifier::take_ignored(uint64_t set) {
  heed_program(set);
  const uint64_t more = set & ~signal_inbox.ignored();
  signal_inbox.ignore(more);
  uint64_t done = 0;
  int refused = 0;
  {
    const Region in;
    for_each_signal(set, [&](int sig) {
      if (refused != 0) return;
      if (take_signal_ignored(sig)) {
        done |= os::signal_bit(sig);
      } else {
        refused = sig;
      }
    });
    if (refused == 0) return;
    signal_inbox.heed(more);
    undo(done);
  }
  refuse(refused);
}

// Of signals that a change has taken before it failed: what stood there before it.
void Notifier::undo(uint64_t set) noexcept {
  const uint64_t ignored = set & signal_inbox.ignored();
  const uint64_t wanted = set & signal_inbox.wanted() & ~ignored;
  // The level that they have is theirs, so this is not refused.
  for_each_signal(ignored, [](int sig) { (void)take_signal_ignored(sig); });
  for_each_signal(wanted, [](int sig) { (void)take_signal(sig); });
  put_back(set & ~ignored & ~wanted);
}

void Notifier::put_back(uint64_t set) noexcept {
  const Region in;
  for_each_signal(set, [](int sig) { give_back(sig); });
}

void Notifier::add(const chan<int>& ch, uint64_t set) {
  if (after_fork) throw std::logic_error("gort: no signals in the child of a fork");
  const std::lock_guard guard(calls_);
  if (set == 0) return;
  begin_helper();
  const auto same = [&ch](const Subscriber& s) { return s.ch == ch; };
  try {
    const std::lock_guard list(list_);
    if (std::none_of(subscribers_.begin(), subscribers_.end(), same)) {
      subscribers_.push_back({ch, 0});
    }
  } catch (...) {
    if (subscribers_.empty()) end_helper();
    throw;
  }
  try {
    take_signals(set);
  } catch (...) {
    withdraw(&ch, 0, Then::give_back);
    throw;
  }
  {
    const std::lock_guard list(list_);
    std::find_if(subscribers_.begin(), subscribers_.end(), same)->signals |= set;
  }
  signal_inbox.open(set);
  signal_inbox.heed(set);  // NT6
  set_helpers_mask(signal_inbox.wanted());
}

// Of `set`, what is wanted now and would be by nobody without that channel (all channels: nullptr).
uint64_t Notifier::wanted_without(const chan<int>* ch, uint64_t set) {
  uint64_t others = 0;
  for (const Subscriber& s : subscribers_) {
    if (ch != nullptr && !(s.ch == *ch)) others |= s.signals;
  }
  return set & signal_inbox.wanted() & ~others;
}

// NT4. `set` of that channel's signals, or of everybody's.
void Notifier::withdraw(const chan<int>* ch, uint64_t set, Then then) {
  const uint64_t over = wanted_without(ch, set);
  const uint64_t left = signal_inbox.wanted() & ~over;
  if (left == 0) {
    end_helper();
  } else {
    set_helpers_mask(left);
  }
  signal_inbox.close(over);
  deliver();
  {
    const std::lock_guard list(list_);
    for (Subscriber& s : subscribers_) {
      if (ch == nullptr || s.ch == *ch) s.signals &= ~set;
    }
    std::erase_if(subscribers_, [](const Subscriber& s) { return s.signals == 0; });
  }
  if (then == Then::give_back) put_back(over);
}

void Notifier::remove(const chan<int>& ch) {
  const std::lock_guard guard(calls_);
  withdraw(&ch, ~uint64_t{0}, Then::give_back);
}

void Notifier::remove_all(uint64_t set, Then then) {
  const std::lock_guard guard(calls_);
  if (then == Then::ignore) take_ignored(set);
  withdraw(nullptr, set, then);
  if (then == Then::ignore) return;
  put_back(signal_inbox.ignored() & set);
  signal_inbox.heed(set);
}

}  // namespace

namespace signals {

void notify(const chan<int>& ch, std::span<const int> signals) {
  if (ch == chan<int>::nil()) throw std::invalid_argument("gort: signals into a nil channel");
  notifier().add(ch, set_of(signals));
}

void stop(const chan<int>& ch) {
  notifier().remove(ch);
}

void ignore(std::span<const int> signals) {
  notifier().remove_all(set_of(signals), Then::ignore);
}

void reset(std::span<const int> signals) {
  notifier().remove_all(set_of(signals), Then::give_back);
}

bool ignored(int sig) {
  check_number(sig);
  os::SignalAction now;
  sysSigaction(sig, nullptr, &now);
  return !os::has_handler(now) && now.handler != nullptr;  // neither a function nor SIG_DFL
}

}  // namespace signals
}  // namespace gort
