// thread: making Ms' threads and ending them. Implements the section "Threads" of os.hpp over the
// back ends of thread.hpp, where the invariants TH1 to TH4 are stated.
//
// Called by the scheduler's idle.cpp (Ms) and runtime.cpp (sysmon, joining at the end). Making a
// thread takes malloc's lock and libc's list lock: never call it in a handler, nor while the
// runtime holds a lock of its own that a handler wants.
#include "os/linux/thread.hpp"

#include <pthread.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>
#include <string>
#include <string_view>

#include "base/check.hpp"
#include "os/linux/glibc_thread.hpp"
#include "os/linux/internal.hpp"
#include "os/linux/syscall.hpp"
#include "os/settings.hpp"

namespace gort::os {
namespace {

constexpr unsigned long kTimerSlackNs =
    1;  // the default, 50 us, would be added to every timed sleep
constexpr int64_t kNsPerSecond = 1'000'000'000;

// What the program's threads have, once known; 0: not yet. relaxed, every access: by threads that know no better, and in the
// child of a fork.
constinit Atomic<int> programs_slack_ns{0};

// Timers of the calling thread are not rounded from now on. What it had before.
int set_timer_slack() noexcept {
  const int slack = std::max(static_cast<int>(raw_syscall(SYS_prctl, PR_GET_TIMERSLACK)), 0);
  // relaxed: see programs_slack_ns. A thread that one of ours has made inherits ours.
  if (slack > static_cast<int>(kTimerSlackNs)) {
    programs_slack_ns.store(slack, std::memory_order_relaxed);
  }
  raw_syscall(SYS_prctl, PR_SET_TIMERSLACK, kTimerSlackNs);
  return slack;
}

struct Attempt {
  ThreadBackend backend;
  mOS& os;
  size_t stack_bytes;
};

int attempt_once(void* arg) noexcept {
  const Attempt& a = *static_cast<Attempt*>(arg);
  return a.backend == ThreadBackend::clone ? glibc_thread_start(a.os, a.stack_bytes)
                                           : pthread_start(a.os, a.stack_bytes);
}

void pause_ns(int64_t ns) noexcept {
  const struct { int64_t sec, nsec; } time{ns / kNsPerSecond, ns % kNsPerSecond};
  raw_syscall(SYS_nanosleep, &time, nullptr);  // all signals are blocked: it is not cut short
}

// The threads of minitHouse(), which make others in the name of who has made them: with this mask. Each has a place to itself, from
// there to mdestroy(), and reads no other's mask.
struct House {
  Atomic<int> tid{0};  // 0: free
  Atomic<uint64_t> mask{0};
};
// sysmon, the maker of threads, what takes signals, a profile's collector; and as many whose records are about to go. One that finds no
// place hands its own mask on.
constexpr int kHouses = 8;
House houses[kHouses];

House* house_of_this_thread() noexcept {
  const int self = gettid();
  for (House& house : houses) {
    if (house.tid.load(std::memory_order_relaxed) == self)
      return &house;  // relaxed: its own is its own
  }
  return nullptr;
}

void move_in(mOS& os) noexcept {
  for (int i = 0; i < kHouses; ++i) {
    int nobody = 0;
    // relaxed, both: who has a place is alone in it.
    if (!houses[i].tid.compare_exchange_strong(nobody, gettid(), std::memory_order_relaxed,
                                               std::memory_order_relaxed)) {
      continue;
    }
    houses[i].mask.store(os.creator_mask, std::memory_order_relaxed);  // relaxed: as above
    os.house = i;
    return;
  }
}

// What newosproc() uses when nobody has chosen before.
ThreadBackend backend_or_choose() noexcept {
  const ThreadBackend chosen = thread_backend();
  if (chosen != ThreadBackend::none) return chosen;
  std::string error;
  if (choose_thread_backend(settings().threads, &error)) return thread_backend();
  // Another thread may have chosen between the two looks; then there is no reason to refuse.
  return thread_backend();
}

}  // namespace

int newosproc(mOS& os, void (*start)(void*), void* arg, size_t stack_bytes) noexcept {
  const ThreadBackend backend = backend_or_choose();
  if (backend == ThreadBackend::none) return -ENOTSUP;
  return newosproc_on(backend, os, start, arg, stack_bytes);
}

int newosproc0(mOS& os, size_t stack_bytes, void (*start)(void*), void* arg) noexcept {
  return newosproc_on(ThreadBackend::pthread, os, start, arg, stack_bytes);
}

int newosproc_on(ThreadBackend backend, mOS& os, void (*start)(void*), void* arg,
                 size_t stack_bytes) noexcept {
  os.start = start;
  os.start_arg = arg;
  os.backend = backend;
  // relaxed: the thread that could read it does not exist yet, and its start publishes everything.
  os.tid.store(0, std::memory_order_relaxed);
  os.thread.store(nullptr, std::memory_order_relaxed);
  const uint64_t old_mask = sigprocmask(kBlockedAtBirth);  // TH4
  const House* const house = house_of_this_thread();
  // relaxed: this thread's own.
  os.creator_mask = house != nullptr ? house->mask.load(std::memory_order_relaxed) : old_mask;
  Attempt attempt{backend, os, stack_bytes == 0 ? kThreadStackBytes : stack_bytes};
  const int error = retry_on_eagain(attempt_once, &attempt, pause_ns);
  // TH2: os is not ours any more, unless the attempt has failed.
  if (error != 0) os.backend = ThreadBackend::none;
  sigprocmask(old_mask);
  return error;
}

int retry_on_eagain(int (*attempt)(void*), void* arg, void (*pause_ns)(int64_t)) noexcept {
  for (int i = 1;; ++i) {
    const int error = attempt(arg);
    if (error != -EAGAIN || i == kAttempts) return error;
    pause_ns(i * kPauseStepNs);
  }
}

void* thread_main(void* arg) noexcept {
  mOS& os = *static_cast<mOS*>(arg);
  // release: pairs with the acquire in mdestroy(), which learns whom to join. The clone back end
  // has set it before the thread existed, to the same value.
  os.thread.store(reinterpret_cast<void*>(pthread_self()), std::memory_order_release);
  os.start(os.start_arg);
  return nullptr;
}

namespace {

// What a handler needs beside the frame that the kernel makes, whose size depends on the processor.
constexpr size_t kSignalStackBytes = size_t{64} << 10;
constexpr size_t kFrameBytesUsual = 2048;  // MINSIGSTKSZ, where the kernel tells none

// Once nobody runs on it.
void end_signal_stack(mOS& os) noexcept {
  if (os.signal_stack == nullptr) return;
  mem_unmap(os.signal_stack, os.signal_stack_bytes);
  os.signal_stack = nullptr;
}

}  // namespace

int mpreinit(mOS& os) noexcept {
  const size_t page = system_info().page_bytes;
  const size_t frame = std::max<size_t>(::getauxval(AT_MINSIGSTKSZ), kFrameBytesUsual);
  const size_t bytes = (frame + kSignalStackBytes + 2 * page - 1) & ~(page - 1);
  auto* low = static_cast<std::byte*>(mem_reserve(bytes, page));
  if (low == nullptr) return -ENOMEM;
  if (mem_guard_install(low, page) != 0 && mem_protect_none(low, page) != 0) {
    mem_unmap(low, bytes);
    return -ENOMEM;
  }
  os.signal_stack = low;
  os.signal_stack_bytes = bytes;
  return 0;
}

void minit(mOS& os) noexcept {
  const int slack = set_timer_slack();
  if (os.backend == ThreadBackend::none) {
    os.timer_slack_ns = slack;  // a borrowed thread keeps its mask and gets this back
    minitSignalStack(os);
    const uint64_t open = signals_for(os);
    rtsigprocmask(SIG_UNBLOCK, &open, &os.old_mask);
  } else {
    minitSignalStack(os);
    sigprocmask(os.creator_mask & kAllButLibcSignals & ~signals_for(os));
  }
  if (os.signal_stack != nullptr) begin_ticks(os);
  // release: whoever reads a tid that is not 0 may count on the thread's being initialised.
  os.tid.store(gettid(), std::memory_order_release);
}

void minitHouse(mOS& os) noexcept {
  (void)set_timer_slack();
  sigprocmask(kBlockedInHouse);
  move_in(os);
  // release: as in minit().
  os.tid.store(gettid(), std::memory_order_release);
}

void unminit(mOS& os) noexcept {
  // relaxed: only this thread has written it; readers that still use it send to a living thread.
  os.tid.store(0, std::memory_order_relaxed);
  raw_syscall(SYS_prctl, PR_SET_TIMERSLACK, os.timer_slack_ns);  // 0: the process's default
  if (os.signal_stack == nullptr) return;
  // A tick that is pending is taken before the old mask is back.
  end_ticks(os);
  sigprocmask(os.old_mask);
  unminitSignalStack(os);
  end_signal_stack(os);
}

void forget_house() noexcept {
  for (House& house : houses)
    house.tid.store(0, std::memory_order_relaxed);  // relaxed: there is one thread
}

void forget_timer_slack() noexcept {
  // relaxed: see programs_slack_ns.
  const int programs = programs_slack_ns.load(std::memory_order_relaxed);
  if (programs == 0) return;
  if (raw_syscall(SYS_prctl, PR_GET_TIMERSLACK) != static_cast<long>(kTimerSlackNs)) return;
  raw_syscall(SYS_prctl, PR_SET_TIMERSLACK, programs);
}

void mdestroy(mOS& os) noexcept {
  if (os.backend == ThreadBackend::none) return;  // borrowed, or never made
  // acquire: pairs with the release in thread_main(). Null only in the moment between the creation
  // of a pthread and its first instruction, so that yielding is enough.
  while (os.thread.load(std::memory_order_acquire) == nullptr) osyield_no_g();
  if (os.backend == ThreadBackend::clone) {
    glibc_thread_reap(os);
  } else {
    pthread_reap(os);
  }
  end_ticks(os);
  end_signal_stack(os);
  if (os.house >= 0) houses[os.house].tid.store(0, std::memory_order_relaxed);  // relaxed: as there
  os.house = -1;
  // relaxed: the thread is gone, and os is the caller's alone.
  os.thread.store(nullptr, std::memory_order_relaxed);
  os.tid.store(0, std::memory_order_relaxed);
  os.backend = ThreadBackend::none;
}

bool has_ended(const mOS& os) noexcept {
  // relaxed: a number; who asks knows that minit() has come by.
  const int tid = os.tid.load(std::memory_order_relaxed);
  return tid == 0 || tgkill(tid, 0) == -ESRCH;
}

// Not by listing /proc/self/task: a thread that ends while the kernel stands at it ends the list, and those behind it
// are missing (seen 300 times in 10 million lists beside threads that come and go). This number is kept under a lock.
int count_threads() noexcept {
  char text[1024];  // 52 numbers and a name of at most 64 bytes
  const long got = read_file("/proc/self/stat", 0, text);
  if (got < 0) return static_cast<int>(got);
  return parse_stat_threads({text, static_cast<size_t>(got)});
}

char thread_state(int tid) noexcept {
  char path[40] = "/proc/self/task/";
  char digits[12];
  size_t n = 0;
  for (int rest = tid; rest > 0 && n < sizeof digits; rest /= 10) {
    digits[n++] = static_cast<char>('0' + rest % 10);
  }
  char* to = path + std::char_traits<char>::length(path);
  while (n > 0) *to++ = digits[--n];
  std::memcpy(to, "/stat", sizeof "/stat");
  char text[96];  // a number, a name of at most 16 bytes, the state
  const long got = read_file(path, 0, text);
  return got < 0 ? '\0' : parse_stat_state({text, static_cast<size_t>(got)});
}

namespace {

// Behind the name, which stands in parentheses and may hold anything, parentheses too.
bool skip_name(std::string_view& text) noexcept {
  const size_t end = text.rfind(')');
  if (end == std::string_view::npos) return false;
  text.remove_prefix(end + 1);
  return true;
}

}  // namespace

char parse_stat_state(std::string_view text) noexcept {
  return skip_name(text) && text.size() > 1 && text[0] == ' ' ? text[1] : '\0';
}

int parse_stat_threads(std::string_view text) noexcept {
  constexpr int kField = 18;  // behind the name
  if (!skip_name(text)) return -EINVAL;
  for (int i = 0; i < kField; ++i) {
    const size_t space = text.find(' ');
    if (space == std::string_view::npos) return -EINVAL;
    text.remove_prefix(space + 1);
  }
  uint64_t threads = 0;
  const size_t end = text.find(' ');
  if (end == std::string_view::npos || !parse_decimal(text.substr(0, end), threads) ||
      threads == 0 || threads > INT_MAX) {
    return -EINVAL;
  }
  return static_cast<int>(threads);
}

}  // namespace gort::os
