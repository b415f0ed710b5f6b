// signal and timer: actions, masks, stacks and sending, straight to the kernel; timers of one thread.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unwind.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <ctime>
#include <iterator>
#include <thread>
#include <vector>

#include "os/os.hpp"

namespace gort::os {
namespace {

constexpr int64_t kMs = 1'000'000;

std::atomic<int> count{0};
std::atomic<int> taken_by{0};
std::atomic<void*> stood_at{nullptr};
std::atomic<void*> value{nullptr};
std::atomic<Sender> sent_by{Sender::others};

void note_it(int, void* info, void*) {
  value = static_cast<const siginfo_t*>(info)->si_ptr;
  sent_by = sender_of(info);
  int here = 0;
  stood_at = &here;
  taken_by = gettid();
  ++count;
}

// Sets an action for a scope, and begins to count.
class Action {
 public:
  explicit Action(int sig, void (*handler)(int, void*, void*) = note_it, unsigned long flags = 0)
      : sig_(sig) {
    count = 0;
    SignalAction action;
    action.handler = handler;
    action.flags = flags | SA_SIGINFO;
    EXPECT_EQ(rt_sigaction(sig, &action, &old_), 0);
  }
  ~Action() { EXPECT_EQ(rt_sigaction(sig_, &old_, nullptr), 0); }
  Action(const Action&) = delete;
  Action& operator=(const Action&) = delete;

 private:
  int sig_;
  SignalAction old_;
};

int64_t cpu_ns() {
  timespec t;
  EXPECT_EQ(::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t), 0);
  return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}

void burn(int64_t ns) {
  const int64_t end = cpu_ns() + ns;
  while (cpu_ns() < end) {
  }
}

TEST(Signal, AHandlerRunsAndReturns) {
  const Action action(SIGUSR1);
  for (int i = 1; i <= 3; ++i) {
    ASSERT_EQ(raise(SIGUSR1), 0);
    EXPECT_EQ(count, i);
    EXPECT_EQ(taken_by, gettid());
  }
}

TEST(Signal, TheOldActionIsToldAndKept) {
  const Action outer(SIGUSR1, note_it, SA_RESTART);
  SignalAction now;
  ASSERT_EQ(rt_sigaction(SIGUSR1, nullptr, &now), 0);
  EXPECT_EQ(now.handler, note_it);
  EXPECT_EQ(now.flags & (SA_SIGINFO | SA_RESTART),
            static_cast<unsigned long>(SA_SIGINFO | SA_RESTART));
  struct sigaction libcs;
  ASSERT_EQ(::sigaction(SIGUSR1, nullptr, &libcs), 0);
  EXPECT_EQ(reinterpret_cast<void*>(libcs.sa_sigaction), reinterpret_cast<void*>(note_it));
}

TEST(Signal, WhatCannotBeHandledIsAnError) {
  const SignalAction action{.handler = note_it};
  EXPECT_EQ(rt_sigaction(SIGKILL, &action, nullptr), -EINVAL);
  EXPECT_EQ(rt_sigaction(65, &action, nullptr), -EINVAL);
  EXPECT_EQ(rt_sigaction(0, &action, nullptr), -EINVAL);
}

// An unwinder that starts in a handler knows the kernel's frame by our restorer, and goes on to who was interrupted.
_Unwind_Reason_Code add_function(_Unwind_Context* at, void* out) {
  static_cast<std::vector<void*>*>(out)->push_back(
      _Unwind_FindEnclosingFunction(reinterpret_cast<void*>(_Unwind_GetIP(at) - 1)));
  return _URC_NO_REASON;
}
std::vector<void*> functions;
void unwind_it(int, void*, void*) {
  _Unwind_Backtrace(add_function, &functions);
}
[[gnu::noinline]] void interrupted() {
  EXPECT_EQ(raise(SIGUSR1), 0);
  asm volatile("");  // no tail call
}
TEST(Signal, UnwindersPassTheRestorer) {
  const Action action(SIGUSR1, unwind_it);
  functions.clear();
  functions.reserve(100);
  interrupted();
  EXPECT_NE(std::find(functions.begin(), functions.end(), reinterpret_cast<void*>(interrupted)),
            functions.end());
}

TEST(Signal, MasksHoldBack) {
  const Action action(SIGUSR1);
  const uint64_t old = sigprocmask(signal_bit(SIGUSR1));
  ASSERT_EQ(raise(SIGUSR1), 0);
  EXPECT_EQ(count, 0);
  uint64_t now = 0;
  EXPECT_EQ(rtsigprocmask(SIG_BLOCK, nullptr, &now), 0);
  EXPECT_EQ(now, signal_bit(SIGUSR1));
  const uint64_t more = signal_bit(SIGUSR2);
  EXPECT_EQ(rtsigprocmask(SIG_BLOCK, &more, nullptr), 0);
  EXPECT_EQ(sigprocmask(old), signal_bit(SIGUSR1) | signal_bit(SIGUSR2));
  EXPECT_EQ(count, 1) << "it came when it was let in";
  EXPECT_EQ(rtsigprocmask(77, &more, nullptr), -EINVAL);
}

TEST(Signal, WhatIsIgnoredIsNotPendingAnyMore) {
  Action action(SIGUSR1);
  const uint64_t old = sigprocmask(signal_bit(SIGUSR1));
  ASSERT_EQ(raise(SIGUSR1), 0);
  ASSERT_EQ(raiseproc(SIGUSR1), 0);
  sigset_t pending;
  ASSERT_EQ(::sigpending(&pending), 0);
  EXPECT_EQ(sigismember(&pending, SIGUSR1), 1);
  const SignalAction ignore = ignoring();
  EXPECT_EQ(rt_sigaction(SIGUSR1, &ignore, nullptr), 0);
  ASSERT_EQ(::sigpending(&pending), 0);
  EXPECT_EQ(sigismember(&pending, SIGUSR1), 0);
  struct sigaction now {};
  EXPECT_EQ(::sigaction(SIGUSR1, nullptr, &now), 0);
  EXPECT_EQ(now.sa_handler, SIG_IGN);
  sigprocmask(old);
  EXPECT_EQ(count, 0);
  EXPECT_EQ(rt_sigaction(SIGKILL, &ignore, nullptr), -EINVAL);
}

// What a handler is told of who was interrupted: our own registers, or those of a call below us.
uintptr_t told_pc = 0;
uintptr_t told_sp = 0;
void note_registers(int, void*, void* context) {
  told_pc = signal_context(context).pc;
  told_sp = signal_context(context).sp;
}
TEST(Signal, TheContextIsThatOfTheInterruptedCode) {
  const Action action(SIGUSR1, note_registers);
  const char here = 0;
  ASSERT_EQ(raise(SIGUSR1), 0);
  Dl_info of_pc;
  Dl_info of_us;
  ASSERT_NE(::dladdr(reinterpret_cast<void*>(told_pc), &of_pc), 0);
  ASSERT_NE(::dladdr(reinterpret_cast<void*>(&os::raise), &of_us), 0);
  EXPECT_EQ(of_pc.dli_fbase, of_us.dli_fbase) << "the system call stands beside raise()";
  const auto stack = reinterpret_cast<uintptr_t>(&here);
  EXPECT_LT(told_sp, stack + 4096);
  EXPECT_GT(told_sp, stack - 65536);
}

TEST(Signal, HandlersRunOnTheAlternateStack) {
  std::thread([] {
    constexpr size_t kBytes = 64 * 1024;
    std::vector<std::byte> memory(kBytes);
    AltStack none;
    ASSERT_EQ(sigaltstack(nullptr, &none), 0);
    const AltStack ours{memory.data(), 0, kBytes};
    AltStack before;
    ASSERT_EQ(sigaltstack(&ours, &before), 0);
    EXPECT_EQ(before.low, none.low);
    const auto on_it = [&] {
      return stood_at >= memory.data() && stood_at < memory.data() + kBytes;
    };
    {
      const Action action(SIGUSR1, note_it, SA_ONSTACK);
      ASSERT_EQ(raise(SIGUSR1), 0);
      EXPECT_TRUE(on_it());
    }
    {
      const Action action(SIGUSR1, note_it);
      ASSERT_EQ(raise(SIGUSR1), 0);
      EXPECT_FALSE(on_it());
    }
    const AltStack small{memory.data(), 0, 100};
    EXPECT_EQ(sigaltstack(&small, nullptr), -ENOMEM);
    EXPECT_EQ(sigaltstack(&none, nullptr), 0);
  }).join();
}

TEST(Signal, OneThreadGetsIt) {
  const Action action(SIGUSR1);
  std::atomic<int> tid{0};
  std::atomic<bool> go_on{true};
  std::thread other([&] {
    tid = gettid();
    while (go_on) osyield();
  });
  while (tid == 0) osyield();
  EXPECT_EQ(tgkill(tid, SIGUSR1), 0);
  while (count == 0) osyield();
  EXPECT_EQ(taken_by, tid);
  go_on = false;
  other.join();
  int error;  // a thread that has been joined may be in the kernel for a moment longer
  while ((error = tgkill(tid, SIGUSR1)) == 0) osyield();
  EXPECT_EQ(error, -ESRCH) << "a vanished thread";
  EXPECT_EQ(tgkill(gettid(), 65), -EINVAL);
}

// Signals of ours are told from what the program sends itself, in all ways that it has.
TEST(Signal, TheSenderIsKnown) {
  const Action action(SIGUSR1);
  EXPECT_EQ(signal_thread(gettid(), SIGUSR1), 0);
  EXPECT_EQ(sent_by, Sender::signal_thread);
  EXPECT_EQ(raise(SIGUSR1), 0);
  EXPECT_EQ(sent_by, Sender::others);
  EXPECT_EQ(raiseproc(SIGUSR1), 0);
  EXPECT_EQ(sent_by, Sender::others);
  EXPECT_EQ(queue_signal(gettid(), SIGUSR1, &count), 0);
  EXPECT_EQ(sent_by, Sender::others);
  EXPECT_EQ(signal_thread(gettid(), 65), -EINVAL);
}

int status_of_child(void (*body)()) {
  const pid_t child = ::fork();
  if (child == 0) {
    body();
    ::_exit(0);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

constexpr int kNotAllowedHere = 77;

// The user may have no more signals waiting: they come without what they carry.
TEST(Signal, TheSenderIsUnknownWithoutRoom) {
  const Action action(SIGUSR1);
  EXPECT_EQ(status_of_child([] {
              const rlimit none{0, 0};
              if (::setrlimit(RLIMIT_SIGPENDING, &none) != 0) ::_exit(kNotAllowedHere);
              if (signal_thread(gettid(), SIGUSR1) != 0 || count != 1) ::_exit(1);
              if (sent_by != Sender::unknown) ::_exit(2);
            }),
            0);
}

// A sandbox that has never heard of rt_tgsigqueueinfo.
TEST(Signal, TheSenderIsUnknownInASandbox) {
  const Action action(SIGUSR1);
  const int status = status_of_child([] {
    sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_tgsigqueueinfo, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog filter{std::size(steps), steps};
    if (raise(SIGUSR1) != 0 || sent_by != Sender::others) ::_exit(1);
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
      ::_exit(kNotAllowedHere);
    }
    if (signal_thread(gettid(), SIGUSR1) != 0 || count != 2) ::_exit(2);
    if (sent_by != Sender::unknown) ::_exit(3);
    if (raise(SIGUSR1) != 0 || sent_by != Sender::unknown) ::_exit(4);
  });
  if (status == kNotAllowedHere) GTEST_SKIP() << "seccomp is not allowed here";
  EXPECT_EQ(status, 0);
}

TEST(Signal, TheProcessDiesByItsSignal) {
  const pid_t child = ::fork();
  if (child == 0) {
    sigprocmask(0);
    raiseproc(SIGTERM);
    for (;;) ::pause();
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGTERM);
}

// ---- Timers -------------------------------------------------------------------------------------------

class Timer {
 public:
  Timer(TimerClock clock, int64_t first_ns, int64_t period_ns) {
    EXPECT_EQ(timer_create(clock, gettid(), SIGURG, this, &id_), 0);
    EXPECT_EQ(timer_settime(id_, first_ns, period_ns), 0);
  }
  ~Timer() { EXPECT_EQ(timer_delete(id_), 0); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  [[nodiscard]] TimerId id() const { return id_; }

 private:
  TimerId id_ = -1;
};

TEST(SignalTimer, TicksWhileItsThreadRuns) {
  const Action action(SIGURG, note_it, SA_RESTART);
  const Timer timer(TimerClock::thread_cpu, 10 * kMs, 10 * kMs);
  burn(100 * kMs);
  // As precise as the kernel's tick, at worst 10 ms (HZ=100); and no earlier than it says.
  EXPECT_GE(count, 4);
  EXPECT_LE(count, 10);
  EXPECT_EQ(taken_by, gettid());
  EXPECT_EQ(value, &timer);
}

// The clock is that of the thread which gets the signal, whoever makes the timer.
TEST(SignalTimer, OfAnotherThreadsClock) {
  const Action action(SIGURG, note_it, SA_RESTART);
  std::atomic<int> tid{0};
  std::atomic<bool> run{false};
  std::thread other([&] {
    tid = gettid();
    run.wait(false);
    burn(200 * kMs);
  });
  while (tid == 0) osyield();
  TimerId timer = -1;
  ASSERT_EQ(timer_create(TimerClock::thread_cpu, tid, SIGURG, nullptr, &timer), 0);
  ASSERT_EQ(timer_settime(timer, 10 * kMs, 10 * kMs), 0);
  burn(50 * kMs);
  EXPECT_EQ(count, 0) << "our time is not the other's";
  run = true;
  run.notify_all();
  other.join();
  EXPECT_GE(count, 2);
  EXPECT_LE(count, 20);
  EXPECT_EQ(taken_by, tid);
  EXPECT_EQ(timer_delete(timer), 0);
  // A thread that has been joined may be in the kernel for a moment longer.
  int error;
  while ((error = timer_create(TimerClock::thread_cpu, tid, SIGURG, nullptr, &timer)) == 0) {
    EXPECT_EQ(timer_delete(timer), 0);
  }
  EXPECT_EQ(error, -EINVAL) << "a vanished thread";
}

TEST(SignalTimer, IsSilentWhileItsThreadSleeps) {
  const Action action(SIGURG, note_it, SA_RESTART);
  const Timer timer(TimerClock::thread_cpu, 1 * kMs, 1 * kMs);
  timespec left{};
  const timespec time{0, 50 * kMs};
  EXPECT_EQ(::nanosleep(&time, &left), 0) << "no EINTR";
  EXPECT_LE(count, 1);
}

TEST(SignalTimer, StopsWhenItIsTold) {
  const Action action(SIGURG, note_it, SA_RESTART);
  const Timer timer(TimerClock::thread_cpu, 1 * kMs, 1 * kMs);
  while (count == 0) burn(kMs);
  EXPECT_EQ(timer_settime(timer.id(), 0, 0), 0);
  const int before = count;
  burn(30 * kMs);
  EXPECT_EQ(count, before);
}

TEST(SignalTimer, OnceIsOnce) {
  const Action action(SIGURG, note_it, SA_RESTART);
  const Timer timer(TimerClock::monotonic, 1, 0);
  while (count == 0) osyield();
  burn(20 * kMs);
  EXPECT_EQ(count, 1);
}

TEST(SignalTimer, ErrorsAreNegative) {
  TimerId timer = -1;
  EXPECT_EQ(timer_create(TimerClock::monotonic, -1, SIGURG, nullptr, &timer), -EINVAL)
      << "no such thread";
  EXPECT_EQ(timer_create(TimerClock::monotonic, gettid(), 99, nullptr, &timer), -EINVAL);
  EXPECT_EQ(timer_settime(12345, 0, 0), -EINVAL);
  EXPECT_EQ(timer_delete(12345), -EINVAL);
}

TEST(SignalTimer, TheProcessHasOneToo) {
  const Action action(SIGPROF, note_it, SA_RESTART);
  ASSERT_EQ(setitimer(5 * kMs), 0);
  std::thread([] {
    while (count < 3) burn(kMs);
  }).join();
  ASSERT_EQ(setitimer(0), 0);
  const int before = count;
  burn(20 * kMs);
  EXPECT_EQ(count, before);
}

}  // namespace
}  // namespace gort::os
