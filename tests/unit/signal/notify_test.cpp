// notify: signals as values in channels: who gets them, what becomes of the program's handlers, and what is there afterwards.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <stdexcept>
#include <thread>
#include <vector>

#include "fixture.hpp"
#include "gort/blocking.hpp"
#include "gort/signals.hpp"
#include "gort/spawn.hpp"
#include "os/os.hpp"
#include "sched/sched.hpp"
#include "signal/chain.hpp"
#include "signal/sigtab.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using test::Installed;
using test::kernels_action;
using test::same_action;

std::atomic<int> calls{0};
void count_call(int) {
  ++calls;
}

void send_to_process(int sig) {
  ASSERT_EQ(::kill(::getpid(), sig), 0);
}

bool by_default(int sig) {
  return kernels_action(sig).handler == nullptr;
}

int receive(const chan<int>& ch) {
  int sig = 0;
  EXPECT_EQ(ch.recv_for(sig, test::kPatience), op_status::ok);
  return sig;
}

// Each case in a run with ticks, in one without, and on a thread with no runtime at all.
enum class Where : uint8_t { run, run_without_ticks, thread };
class Notify : public testing::TestWithParam<Where> {
 protected:
  void SetUp() override {
    calls = 0;
    if (GetParam() == Where::run_without_ticks && !test::without_preemption()) {
      GTEST_SKIP() << "this process has read its settings";
    }
    for (int sig = 1; sig <= kSignals; ++sig) before_[sig] = kernels_action(sig);
  }
  // Everything is as it was.
  void TearDown() override {
    if (IsSkipped()) return;
    for (int sig = 1; sig <= kSignals; ++sig) {
      EXPECT_EQ(kernels_action(sig).handler, before_[sig].handler) << signame(sig).text;
    }
    EXPECT_EQ(outside_wakers.load(), 0);
  }
  template <class F>
  void there(F&& body) {
    const test::Resources before;
    for (int sig = 1; sig <= kSignals; ++sig) before_[sig] = kernels_action(sig);
    if (GetParam() == Where::thread) {
      body();
    } else {
      options o{.procs = 2};
      if (GetParam() == Where::run && !test::kTsan) o.slice = 2ms;
      run(o, std::forward<F>(body));
    }
    before.expect_unchanged();
  }

 private:
  std::array<os::SignalAction, kSignals + 1> before_;
};
INSTANTIATE_TEST_SUITE_P(Where, Notify,
                         testing::Values(Where::run, Where::run_without_ticks, Where::thread),
                         [](const testing::TestParamInfo<Where>& info) {
                           return info.param == Where::run      ? "run"
                                  : info.param == Where::thread ? "thread"
                                                                : "run_without_ticks";
                         });

// NT1.
TEST_P(Notify, BringsTheSignalsThatWereAskedFor) {
  there([] {
    const chan<int> ch(4);
    signals::notify(ch, {SIGUSR1, SIGTERM});
    for (const int sig : {SIGUSR1, SIGTERM, SIGUSR1}) {
      send_to_process(sig);
      EXPECT_EQ(receive(ch), sig);
    }
    EXPECT_TRUE(by_default(SIGUSR2));
    signals::stop(ch);
    EXPECT_TRUE(by_default(SIGUSR1));
    EXPECT_TRUE(by_default(SIGTERM));
    EXPECT_EQ(ch.size(), 0U);
  });
}

TEST_P(Notify, ServesSeveralChannelsUntilEachStops) {
  there([] {
    const chan<int> a(4);
    const chan<int> b(4);
    signals::notify(a, {SIGUSR1});
    signals::notify(a, {SIGUSR2});  // adds
    signals::notify(b, {SIGUSR1});
    send_to_process(SIGUSR1);
    EXPECT_EQ(receive(a), SIGUSR1);
    EXPECT_EQ(receive(b), SIGUSR1);
    signals::stop(a);
    EXPECT_TRUE(by_default(SIGUSR2));
    EXPECT_FALSE(by_default(SIGUSR1));
    send_to_process(SIGUSR1);
    EXPECT_EQ(receive(b), SIGUSR1);
    EXPECT_EQ(a.size(), 0U);
    signals::stop(a);  // nothing to end
    signals::stop(b);
    EXPECT_TRUE(by_default(SIGUSR1));
  });
}

TEST_P(Notify, NeverWaitsForAChannel) {
  there([] {
    const chan<int> full(1);
    const chan<int> unbuffered;
    const chan<int> closed(1);
    closed.close();
    const chan<int> last(4);
    for (const auto& ch : {full, unbuffered, closed, last}) signals::notify(ch, {SIGUSR1});
    for (int i = 0; i < 3; ++i) {
      send_to_process(SIGUSR1);
      EXPECT_EQ(receive(last), SIGUSR1);
    }
    EXPECT_EQ(full.size(), 1U);
    for (const auto& ch : {full, unbuffered, closed, last}) signals::stop(ch);
  });
}

// NT3.
TEST_P(Notify, AFiberOrThreadThatWaitsIsWoken) {
  there([] {
    const chan<int> ch;
    signals::notify(ch, {SIGUSR1});
    std::atomic<int> got{0};
    std::thread waits([&] { got = receive(ch); });
    // Unbuffered: a signal before the thread waits is dropped. To this thread: one to the process may still be on its way to
    // another when stop() has given the signal its default action back, which ends the process.
    test::until([&] {
      os::raise(SIGUSR1);
      return got != 0;
    });
    waits.join();
    EXPECT_EQ(got, SIGUSR1);
    signals::stop(ch);
  });
}

// Blocks a signal in this thread and those that it makes, for a scope.
class Blocked {
 public:
  explicit Blocked(int sig) {
    const uint64_t set = os::signal_bit(sig);
    os::rtsigprocmask(SIG_BLOCK, &set, &old_);
  }
  ~Blocked() { os::rtsigprocmask(SIG_SETMASK, &old_, nullptr); }
  Blocked(const Blocked&) = delete;
  Blocked& operator=(const Blocked&) = delete;

 private:
  uint64_t old_ = 0;
};

// The helper takes it, whoever blocks it.
TEST_P(Notify, AWholeProcessThatBlocksItGetsIt) {
  std::thread([] {}).join();  // libc's first thread, and a sanitizer's
  const Blocked usr1(SIGUSR1);
  there([] {
    const chan<int> ch(1);
    send_to_process(SIGUSR1);
    signals::notify(ch, {SIGUSR1});
    EXPECT_EQ(receive(ch), SIGUSR1);
    signals::stop(ch);
  });
}

// NT4: what the program blocks everywhere stays with it when the wish has ended, while the helper goes on for another.
TEST_P(Notify, TheHelperBlocksWhatNobodyWantsAnyMore) {
  const Blocked usr1(SIGUSR1);
  there([] {
    for (int i = 0; i < 20; ++i) {
      const chan<int> a(4);
      const chan<int> b(4);
      signals::notify(a, {SIGUSR1});
      signals::notify(b, {SIGUSR2});
      signals::stop(a);
      send_to_process(SIGUSR1);
      send_to_process(SIGUSR2);
      EXPECT_EQ(receive(b), SIGUSR2);
      sigset_t set;
      sigemptyset(&set);
      sigaddset(&set, SIGUSR1);
      int sig = 0;
      EXPECT_EQ(::sigwait(&set, &sig), 0);
      EXPECT_EQ(sig, SIGUSR1);
      EXPECT_EQ(a.size(), 0U);
      signals::stop(b);
    }
  });
}

TEST_P(Notify, ASignalToAForeignThreadComes) {
  there([] {
    const chan<int> ch(1);
    signals::notify(ch, {SIGUSR1});
    std::thread([] { EXPECT_EQ(::pthread_kill(::pthread_self(), SIGUSR1), 0); }).join();
    EXPECT_EQ(receive(ch), SIGUSR1);
    os::raise(SIGUSR1);
    EXPECT_EQ(receive(ch), SIGUSR1);
    signals::stop(ch);
  });
}

// NT1, NT2: a stop() comes behind everything that came before it, and nothing comes behind it.
TEST_P(Notify, WhatCameBeforeTheStopIsInTheChannel) {
  there([] {
    const Installed program(SIGUSR1, count_call, SA_ONSTACK);
    for (int i = 0; i < 200; ++i) {
      const chan<int> ch(1);
      signals::notify(ch, {SIGUSR1});
      os::raise(SIGUSR1);
      signals::stop(ch);
      ASSERT_EQ(ch.size(), 1U) << i;
      os::raise(SIGUSR1);
      ASSERT_EQ(ch.size(), 1U) << i;
    }
    EXPECT_EQ(calls, 400);
  });
}

// CH1 to CH4 hold for these signals, too.
TEST_P(Notify, TheHandlerOfTheProgramIsCalledBesideTheChannels) {
  there([] {
    const Installed program(SIGUSR1, count_call, SA_RESTART | SA_ONSTACK);
    const os::SignalAction its = kernels_action(SIGUSR1);
    const chan<int> ch(1);
    signals::notify(ch, {SIGUSR1});
    os::raise(SIGUSR1);
    EXPECT_EQ(receive(ch), SIGUSR1);
    EXPECT_EQ(calls, 1);
    signals::stop(ch);
    EXPECT_TRUE(same_action(kernels_action(SIGUSR1), its));
    os::raise(SIGUSR1);
    EXPECT_EQ(calls, 2);
  });
}

// On the helper, too, which blocks nearly everything: what the handler exec()s would have that from it.
std::atomic<uint64_t> seen_mask{0};
TEST_P(Notify, TheHandlerOfTheProgramRunsUnderItsMask) {
  std::thread([] {}).join();
  const Blocked usr1(SIGUSR1);
  there([] {
    const auto handler = [](int) {
      uint64_t now = 0;
      os::rtsigprocmask(SIG_BLOCK, nullptr, &now);
      seen_mask = now;
      ++calls;
    };
    const Installed program(SIGUSR1, handler, SA_ONSTACK);
    const chan<int> ch(1);
    signals::notify(ch, {SIGUSR1});
    send_to_process(SIGUSR1);
    EXPECT_EQ(receive(ch), SIGUSR1);
    test::until([] { return calls == 1; });
    EXPECT_NE(seen_mask & os::signal_bit(SIGUSR1), 0U);
    EXPECT_EQ(seen_mask & os::signal_bit(SIGTERM), 0U);
    signals::stop(ch);
  });
}

TEST_P(Notify, ALaterHandlerOfTheProgramHasItUntilTheNextNotify) {
  if (test::kTsan) GTEST_SKIP() << "TSan knows nothing of actions that it has not set";
  there([] {
    const chan<int> ch(2);
    signals::notify(ch, {SIGUSR1});
    {
      const Installed later(SIGUSR1, count_call, SA_ONSTACK);
      os::raise(SIGUSR1);
      EXPECT_EQ(calls, 1);
      signals::notify(ch, {SIGUSR1});
      os::raise(SIGUSR1);
      EXPECT_EQ(receive(ch), SIGUSR1);
      EXPECT_EQ(calls, 2);
      EXPECT_EQ(ch.size(), 0U) << "once";
    }
    os::raise(SIGUSR1);
    EXPECT_EQ(receive(ch), SIGUSR1);
    signals::stop(ch);
  });
}

// ---- ignore, reset, ignored -----------------------------------------------------------------------------

TEST_P(Notify, IgnoreEndsTheWishAndTheHandler) {
  there([] {
    const Installed program(SIGUSR1, count_call, SA_ONSTACK);
    const chan<int> ch(1);
    EXPECT_FALSE(signals::ignored(SIGUSR1));
    signals::notify(ch, {SIGUSR1, SIGUSR2});
    signals::ignore({SIGUSR1});
    EXPECT_TRUE(signals::ignored(SIGUSR1));
    EXPECT_FALSE(signals::ignored(SIGUSR2));
    os::raise(SIGUSR1);
    os::raise(SIGUSR2);
    EXPECT_EQ(receive(ch), SIGUSR2);
    EXPECT_EQ(ch.size(), 0U);
    EXPECT_EQ(calls, 0);
    signals::notify(ch, {SIGUSR1});
    EXPECT_FALSE(signals::ignored(SIGUSR1));
    os::raise(SIGUSR1);
    EXPECT_EQ(receive(ch), SIGUSR1);
    EXPECT_EQ(calls, 1);
    signals::ignore({SIGUSR1});
    signals::reset({SIGUSR1});
    EXPECT_FALSE(signals::ignored(SIGUSR1));
    os::raise(SIGUSR1);
    EXPECT_EQ(calls, 2);
    signals::stop(ch);
  });
}

TEST_P(Notify, ResetEndsTheWishOfAll) {
  there([] {
    const chan<int> a(1);
    const chan<int> b(1);
    signals::notify(a, {SIGUSR1, SIGUSR2});
    signals::notify(b, {SIGUSR1});
    signals::reset({SIGUSR1});
    EXPECT_TRUE(by_default(SIGUSR1));
    send_to_process(SIGUSR2);
    EXPECT_EQ(receive(a), SIGUSR2);
    signals::reset();
    EXPECT_TRUE(by_default(SIGUSR2));
  });
}

TEST_P(Notify, WhatWasIgnoredAtTheStartIsSoAgain) {
  there([] {
    const Installed ignores(SIGHUP, SIG_IGN);
    EXPECT_TRUE(signals::ignored(SIGHUP));
    const chan<int> ch(1);
    signals::notify(ch, {SIGHUP});
    EXPECT_FALSE(signals::ignored(SIGHUP));
    send_to_process(SIGHUP);
    EXPECT_EQ(receive(ch), SIGHUP);
    signals::stop(ch);
    EXPECT_TRUE(signals::ignored(SIGHUP));
  });
}

// A handler that the program puts over our SIG_IGN is the program's, and stays.
TEST_P(Notify, IgnoringLeavesTheProgramItsWord) {
  if (test::kTsan) GTEST_SKIP() << "TSan knows nothing of actions that it has not set";
  there([] {
    signals::ignore({SIGUSR1});
    std::signal(SIGUSR1, count_call);
    EXPECT_FALSE(signals::ignored(SIGUSR1));
    signals::reset({SIGUSR1});
    os::raise(SIGUSR1);
    EXPECT_EQ(calls, 1);
    signals::ignore({SIGUSR1});
    os::raise(SIGUSR1);
    EXPECT_EQ(calls, 1);
    signals::reset({SIGUSR1});
    os::raise(SIGUSR1);
    EXPECT_EQ(calls, 2);
    std::signal(SIGUSR1, SIG_DFL);
  });
}

struct sigaction saved_by_program {};
void call_saved(int sig, siginfo_t* info, void* context) {
  saved_by_program.sa_sigaction(sig, info, context);
}

// NT6, CH1: one that does so, and calls ours, which it has saved, hears what was behind us.
TEST_P(Notify, IgnoringLeavesTheProgramItsChain) {
  if (test::kTsan) GTEST_SKIP() << "TSan knows nothing of actions that it has not set";
  there([] {
    const Installed program(SIGUSR1, count_call);
    const chan<int> ch(1);
    signals::notify(ch, {SIGUSR1});
    struct sigaction over {};
    over.sa_sigaction = call_saved;
    over.sa_flags = SA_SIGINFO;
    ASSERT_EQ(::sigaction(SIGUSR1, &over, &saved_by_program), 0);
    signals::ignore({SIGUSR1});
    os::raise(SIGUSR1);
    EXPECT_EQ(calls, 0);
    ASSERT_EQ(::sigaction(SIGUSR1, &over, nullptr), 0);
    os::raise(SIGUSR1);
    EXPECT_EQ(calls, 1);
    signals::reset({SIGUSR1});
  });
}

TEST_P(Notify, AllSignalsAreAllThatCanBeHad) {
  if (test::kTsan) GTEST_SKIP() << "TSan's own signals are among them";
  there([] {
    const chan<int> ch(kSignals);
    signals::notify(ch);
    EXPECT_TRUE(by_default(SIGSTOP));
    EXPECT_TRUE(by_default(SIGSYS)) << "a filter's answer to a system call is no message";
    EXPECT_EQ(is_ours(getsig(SIGURG)), runtime_alive() && sched().tick_ns != 0);
    EXPECT_FALSE(is_ours(getsig(SIGPROF)));
    for (const int sig : {SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGALRM, SIGTERM, SIGCHLD, SIGTSTP,
                          SIGWINCH, SIGRTMIN, SIGRTMAX}) {
      EXPECT_TRUE(is_ours(getsig(sig))) << signame(sig).text;
      os::raise(sig);
      EXPECT_EQ(receive(ch), sig);
    }
    signals::ignore();
    EXPECT_TRUE(signals::ignored(SIGINT));
    os::raise(SIGINT);
    signals::reset();
    EXPECT_TRUE(by_default(SIGINT));
  });
}

// As in Go: they are passed over.
TEST_P(Notify, WhatCanNotBeHadIsPassedOver) {
  there([] {
    const chan<int> ch(1);
    const std::array<int, 11> none{SIGKILL, SIGSTOP, SIGSEGV, SIGBUS,  SIGFPE, SIGILL,
                                   SIGTRAP, SIGSYS,  SIGURG,  SIGPROF, 33};
    signals::notify(ch, none);
    EXPECT_EQ(outside_wakers.load(), 0);
    signals::ignore(none);
    os::raise(SIGURG);
    EXPECT_EQ(ch.size(), 0U);
    EXPECT_FALSE(signals::ignored(SIGPROF));
    signals::reset(none);
    signals::stop(ch);
  });
}

TEST_P(Notify, WhatIsNoSignalIsAnError) {
  there([] {
    const chan<int> ch(1);
    for (const int sig : {0, -1, 65, 1000}) {
      EXPECT_THROW(signals::notify(ch, {SIGUSR1, sig}), std::invalid_argument);
      EXPECT_THROW(signals::ignore({SIGUSR1, sig}), std::invalid_argument);
      EXPECT_THROW(signals::reset({sig}), std::invalid_argument);
      EXPECT_THROW((void)signals::ignored(sig), std::invalid_argument);
    }
    EXPECT_THROW(signals::notify(chan<int>::nil(), {SIGUSR1}), std::invalid_argument);
    EXPECT_TRUE(by_default(SIGUSR1));
    EXPECT_EQ(outside_wakers.load(), 0);
  });
}

template <int... kWhich>
void take_over_each(const chan<int>& ch, std::integer_sequence<int, kWhich...>) {
  const auto one = [&ch](void (*handler)(int)) {
    std::signal(SIGUSR1, handler);
    signals::notify(ch, {SIGUSR1});
  };
  (one([](int) { calls += kWhich; }), ...);
}

// For a scope: SIGUSR1 has no level left, and the program's last handler counts.
class UsedUp {
 public:
  explicit UsedUp(const chan<int>& ch) {
    EXPECT_THROW(take_over_each(ch, std::make_integer_sequence<int, kLevels + 2>{}),
                 std::system_error);
    signals::stop(ch);
    std::signal(SIGUSR1, count_call);
  }

 private:
  Installed restores_{SIGUSR1, SIG_DFL};
};

TEST_P(Notify, IsRefusedWhenTheProgramTakesItAgainAndAgain) {
  if (test::kTsan) GTEST_SKIP() << "TSan knows nothing of actions that it has not set";
  there([] {
    const Installed restores(SIGUSR1, SIG_DFL);
    const chan<int> ch(1);
    EXPECT_THROW(take_over_each(ch, std::make_integer_sequence<int, kLevels + 2>{}),
                 std::system_error);
    signals::stop(ch);
    EXPECT_EQ(outside_wakers.load(), 0);
  });
}

// One that is refused undoes what it has done before: SIGHUP and SIGINT have smaller numbers than SIGUSR1.
TEST_P(Notify, ARefusedCallChangesNothing) {
  if (test::kTsan) GTEST_SKIP() << "TSan knows nothing of actions that it has not set";
  there([] {
    const chan<int> ch(1);
    const UsedUp usr1(ch);
    signals::ignore({SIGHUP});
    signals::notify(ch, {SIGINT});
    EXPECT_THROW(signals::notify(ch, {SIGHUP, SIGQUIT, SIGUSR1}), std::system_error);
    EXPECT_THROW(signals::ignore({SIGHUP, SIGINT, SIGQUIT, SIGUSR1}), std::system_error);
    EXPECT_TRUE(signals::ignored(SIGHUP));
    EXPECT_TRUE(by_default(SIGQUIT));
    os::raise(SIGUSR1);
    EXPECT_EQ(calls, 1) << "it is the program's";
    signals::ignore({SIGQUIT});
    std::signal(SIGQUIT, count_call);
    EXPECT_THROW(signals::notify(ch, {SIGQUIT, SIGUSR1}), std::system_error);
    EXPECT_THROW(signals::ignore({SIGQUIT, SIGUSR1}), std::system_error);
    os::raise(SIGQUIT);
    EXPECT_EQ(calls, 2) << "so is this one";
    std::signal(SIGQUIT, SIG_DFL);
    send_to_process(SIGINT);
    EXPECT_EQ(receive(ch), SIGINT) << "it is not ignored";
    signals::stop(ch);
    EXPECT_TRUE(signals::ignored(SIGHUP));
    signals::reset({SIGHUP});
  });
}

// ---- Runs, and their ends -------------------------------------------------------------------------------

TEST(NotifyRuns, AWishOutlivesRuns) {
  const chan<int> ch(1);
  signals::notify(ch, {SIGUSR1});
  for (int i = 0; i < 5; ++i) {
    run(options{.procs = 2}, [&] {
      auto waits = spawn([&] { return receive(ch); });
      yield();
      send_to_process(SIGUSR1);
      EXPECT_EQ(waits.get(), SIGUSR1);
    });
    send_to_process(SIGUSR1);
    EXPECT_EQ(receive(ch), SIGUSR1) << "between runs";
  }
  signals::stop(ch);
  EXPECT_TRUE(by_default(SIGUSR1));
}

// Where one P is busy with a fiber that never gives way, and where all are asleep for good.
TEST(NotifyRuns, AFiberThatSleepsForGoodIsWokenFromOutside) {
  const chan<int> ch(1);
  signals::notify(ch, {SIGUSR1});
  std::atomic<bool> asleep{false};
  std::thread outside([&] {
    while (!asleep) std::this_thread::yield();
    send_to_process(SIGUSR1);
  });
  run(options{.procs = 1}, [&] {
    asleep = true;
    EXPECT_EQ(ch.recv(), SIGUSR1);
  });
  outside.join();
  signals::stop(ch);
}

TEST(NotifyRuns, CostsNothingWhileNoSignalComes) {
  const chan<int> ch(1);
  signals::notify(ch, {SIGUSR1});
  run(options{.procs = 2}, [&] {
    int sig = 0;
    (void)ch.recv_for(sig, 200ms);  // everybody goes to sleep
    const int64_t before = test::cpu_ns();
    (void)ch.recv_for(sig, 500ms);
    EXPECT_LT(test::cpu_ns() - before, 20'000'000 * (test::kSanitizers ? 10 : 1));
  });
  signals::stop(ch);
}

TEST(NotifyRuns, AStopRequestEndsTheWaitAsAnyOther) {
  run(options{.procs = 2}, [] {
    const chan<int> ch(1);
    signals::notify(ch, {SIGUSR1});
    auto t = spawn([&] { (void)ch.recv(); });
    yield();
    t.request_stop();
    t.get();
    signals::stop(ch);
  });
}

}  // namespace
}  // namespace gort
