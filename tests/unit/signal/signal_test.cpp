// signal: what a runtime's life is for the handlers of the program, and what becomes of ticks when the program takes their
// signal.
#include "signal/signal.hpp"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "fixture.hpp"
#include "gort/blocking.hpp"
#include "gort/chan.hpp"
#include "gort/signals.hpp"
#include "gort/spawn.hpp"
#include "gort/stats.hpp"
#include "sched/current.hpp"
#include "sched/sched.hpp"

namespace gort {
namespace {

using test::Installed;
using test::kernels_action;
using test::Preempt;
using test::same_action;

std::atomic<int> first_calls{0};
std::atomic<int> later_calls{0};
std::atomic<int> taken_by{0};
std::atomic<uintptr_t> stood_at{0};

void first(int) {
  const char here = 0;
  stood_at = reinterpret_cast<uintptr_t>(&here);
  taken_by = os::gettid();
  ++first_calls;
}
void later(int, siginfo_t*, void*) {
  ++later_calls;
}

class SignalLife : public test::SignalTest {
 protected:
  void SetUp() override {
    test::SignalTest::SetUp();
    first_calls = 0;
    later_calls = 0;
    taken_by = 0;
    stood_at = 0;
  }
};
GORT_WITH_AND_WITHOUT_TICKS(SignalLife);

// SG1.
TEST_P(SignalLife, AllActionsAreAsTheyWere) {
  const Installed of_urg(SIGURG, first, SA_RESTART);
  const Installed of_usr(SIGUSR1, later);
  const Installed of_segv(SIGSEGV, later);
  std::thread([] {}).join();  // libc installs the handler of its setuid() with the first thread
  os::SignalAction before[kSignals + 1];
  for (int sig = 1; sig <= kSignals; ++sig) before[sig] = kernels_action(sig);
  for (int i = 0; i < 3; ++i) run(opts(), [] { spawn([] {}).join(); });
  for (int sig = 1; sig <= kSignals; ++sig) {
    EXPECT_TRUE(same_action(kernels_action(sig), before[sig])) << signame(sig).text;
  }
}

TEST_P(SignalLife, FaultsAreTakenAndSigurgWithTicks) {
  const bool theirs = is_ours(getsig(SIGURG)) || is_ours(getsig(SIGSEGV));
  EXPECT_FALSE(theirs);
  bool segv = false;
  run(opts(), [&] {
    EXPECT_EQ(is_ours(getsig(SIGURG)), sched().tick_ns != 0);
    segv = is_ours(getsig(SIGSEGV));
  });
  if (!os::sanitizer_present()) {
    EXPECT_TRUE(segv);
  }
}

// A handler that takes its time would hold up whoever interrupts fibers, and makes Ms.
TEST_P(SignalLife, NoHandlerOfTheProgramRunsOnAThreadOfGorts) {
  const Installed installed(SIGUSR1, first, SA_RESTART);
  run(opts(), [] {
    const auto send = [](const os::mOS& to) {
      test::until([&to] { return to.tid != 0; });
      EXPECT_EQ(os::tgkill(to.tid, SIGUSR1), 0);
    };
    send(sched().sysmon_os);
    if (sched().tick_ns != 0) send(sched().spares_os);
    spawn([] {
      uint64_t blocked = 0;
      os::rtsigprocmask(SIG_BLOCK, nullptr, &blocked);
      EXPECT_EQ(blocked & os::signal_bit(SIGUSR1), 0U) << "Ms are the program's";
    }).join();
  });
  EXPECT_EQ(first_calls, 0) << "both have ended, and taken what they let in";
}

// On an M, on a thread of the program's, and on its main thread before and after.
TEST_P(SignalLife, ItsOwnSigurgReachesTheProgram) {
  const Installed installed(SIGURG, first);
  os::raise(SIGURG);
  EXPECT_EQ(first_calls, 1);
  run(opts(), [] {
    spawn([] { os::raise(SIGURG); }).join();
    EXPECT_EQ(first_calls, 2);
    blocking([] {
      std::thread([] {
        os::raise(SIGURG);
        EXPECT_EQ(taken_by, os::gettid());
      }).join();
    });
    EXPECT_EQ(first_calls, 3);
  });
  os::raise(SIGURG);
  EXPECT_EQ(first_calls, 4);
}

TEST_P(SignalLife, WithoutAHandlerSigurgIsNothing) {
  run(opts(), [] {
    spawn([] { os::raise(SIGURG); }).join();
    std::thread([] { os::raise(SIGURG); }).join();
  });
}

// Nor does it make a call begin anew, with its time limit, each time.
TEST_P(SignalLife, IgnoredSigurgsDoNotProlongAWait) {
  run(opts(), [] {
    using std::chrono::steady_clock;
    const int tid = os::gettid();
    std::atomic<bool> over{false};
    std::thread sender([&] {
      siginfo_t info{};
      info.si_code = SI_QUEUE;
      const auto end = steady_clock::now() + test::kPatience;
      while (!over && steady_clock::now() < end) {
        ::syscall(SYS_rt_tgsigqueueinfo, ::getpid(), tid, SIGURG, &info);
        std::this_thread::yield();
      }
    });
    const auto start = steady_clock::now();
    blocking([] { (void)::poll(nullptr, 0, 100); });
    EXPECT_LT(steady_clock::now() - start, test::kPatience / 2) << "as long as signals came";
    over = true;
    sender.join();
  });
}

// A signal of sysmon's that comes when the fiber has gone on already (PR6) is not the program's.
TEST_P(SignalLife, LateKicksAreNotTheProgramsSignals) {
  const Installed installed(SIGURG, first);
  run(opts(), [] {
    if (sched().tick_ns == 0) GTEST_SKIP() << "nobody is interrupted";
    chan<int> told(4);
    signals::notify(told, {SIGURG});
    ASSERT_EQ(os::signal_thread(os::gettid(), SIGURG), 0);
    std::thread([] { ASSERT_EQ(os::signal_thread(os::gettid(), SIGURG), 0); }).join();
    EXPECT_EQ(first_calls, 0);
    int nothing;
    EXPECT_EQ(told.recv_for(nothing, std::chrono::milliseconds(20)), op_status::timeout);
  });
}

TEST_P(SignalLife, TheLatestHandlerIsThereAfterwards) {
  const Installed installed(SIGURG, first);
  run(opts(), [] {
    struct sigaction action {};
    action.sa_sigaction = later;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    ::sigaction(SIGURG, &action, nullptr);
    signal_check();
    EXPECT_EQ(is_ours(getsig(SIGURG)), sched().tick_ns != 0);
    os::raise(SIGURG);
    EXPECT_EQ(later_calls, 1);
  });
  os::raise(SIGURG);
  EXPECT_EQ(later_calls, 2);
  EXPECT_EQ(first_calls, 0);
}

bool on_signal_stack() {
  os::AltStack stack;
  os::sigaltstack(nullptr, &stack);
  const auto low = reinterpret_cast<uintptr_t>(stack.low);
  return stood_at >= low && stood_at < low + stack.bytes;
}

// No handler runs on a fiber's stack: not one that was there before, and not one that came later.
TEST_P(SignalLife, HandlersOfTheProgramRunOnTheSignalStack) {
  if (test::kTsan) GTEST_SKIP() << "TSan calls them where it likes";
  const Installed before(SIGUSR1, first);
  run(opts(), [] {
    spawn([] {
      os::raise(SIGUSR1);
      EXPECT_TRUE(on_signal_stack());
    }).join();
    const Installed now(SIGUSR2, first);
    spawn([] {
      os::raise(SIGUSR2);  // on whichever: sysmon may have looked already
      signal_check();
      os::raise(SIGUSR2);
      EXPECT_TRUE(on_signal_stack());
    }).join();
    EXPECT_EQ(first_calls, 3);
  });
  EXPECT_EQ(kernels_action(SIGUSR1).flags & SA_ONSTACK, 0U);
}

TEST(SignalCheck, OutsideOfARuntimeItTakesNothing) {
  const Installed installed(SIGURG, first);
  signal_check();
  EXPECT_FALSE(is_ours(getsig(SIGURG)));
  unsetsigstacks();
}

// ---- Ticks ------------------------------------------------------------------------------------------------

// One P: another fiber runs only if the one that never gives way is interrupted.
bool is_interrupted() {
  std::atomic<bool> other_ran{false};
  go([&other_ran] { other_ran = true; });
  const bool interrupted = test::spin_until([&other_ran] { return other_ran.load(); });
  while (!other_ran) yield();
  return interrupted;
}

class SignalTicks : public SignalLife {
 protected:
  void SetUp() override {
    if (!ticks()) GTEST_SKIP() << "no ticks here";
    SignalLife::SetUp();
  }
};
INSTANTIATE_TEST_SUITE_P(Preempt, SignalTicks, testing::Values(Preempt::on),
                         [](const auto&) { return "on"; });

TEST_P(SignalTicks, InterruptAndAreNotThePrograms) {
  const Installed installed(SIGURG, first);
  run(opts(1), [] { EXPECT_TRUE(is_interrupted()); });
  EXPECT_EQ(first_calls, 0);
}

// SG2: and the program's own handler goes on to get what is sent to it.
TEST_P(SignalTicks, AreNotLostToAHandlerOfTheProgram) {
  run(opts(1), [] {
    EXPECT_TRUE(is_interrupted());
    const Installed takes_it(SIGURG, later);
    signal_check();
    EXPECT_TRUE(is_interrupted());
    const int ticks_before = later_calls;  // those that came before the check went to the program
    os::raise(SIGURG);
    EXPECT_EQ(later_calls, ticks_before + 1);
    EXPECT_TRUE(is_interrupted());
    EXPECT_EQ(later_calls, ticks_before + 1);
  });
}

// SG2: a program that ignores SIGURG, or takes its handler off again.
TEST_P(SignalTicks, AreNotLostToIgnoring) {
  run(opts(1), [] {
    {
      const Installed ignores(SIGURG, SIG_IGN);
      signal_check();
      EXPECT_TRUE(is_interrupted());
    }
    signal_check();
    EXPECT_TRUE(is_interrupted());
    os::raise(SIGURG);
  });
}

TEST_P(SignalTicks, AnMThatBlocksThemIsNotInterruptedAndHarmsNobody) {
  run(opts(1), [] {
    const uint64_t urg = os::signal_bit(SIGURG);
    os::rtsigprocmask(SIG_BLOCK, &urg, nullptr);
    std::atomic<bool> other_ran{false};
    go([&other_ran] { other_ran = true; });
    const uint64_t before = stats().preemptions;
    (void)test::spin_until([&] { return other_ran.load(); }, std::chrono::milliseconds(50));
    EXPECT_EQ(stats().preemptions, before);
    os::rtsigprocmask(SIG_UNBLOCK, &urg, nullptr);
    EXPECT_TRUE(test::spin_until([&] { return other_ran.load(); }));
    while (!other_ran) yield();
  });
}

// A timer of the program's on a thread of ours is no tick.
TEST_P(SignalTicks, AreKnownByTheirValue) {
  siginfo_t info{};
  info.si_code = SI_TIMER;
  info.si_ptr = &os::tick_mark;
  EXPECT_TRUE(is_tick(nullptr, &info));
  info.si_ptr = &info;
  EXPECT_FALSE(is_tick(nullptr, &info));
  info.si_ptr = &os::tick_mark;
  info.si_code = SI_QUEUE;
  EXPECT_FALSE(is_tick(nullptr, &info));
}

TEST_P(SignalTicks, ATickOnAForeignThreadIsNothing) {
  const Installed installed(SIGURG, first);
  run(opts(1), [] {
    std::thread([] {
      os::TimerId timer = -1;
      ASSERT_EQ(
          os::timer_create(os::TimerClock::monotonic, os::gettid(), SIGURG, &os::tick_mark, &timer),
          0);
      ASSERT_EQ(os::timer_settime(timer, 1, 0), 0);
      // Again if it met the tick, and came to nothing: two of a kind are one. When the call returns, both have come.
      while (first_calls == 0) os::raise(SIGURG);
      os::timer_delete(timer);
    }).join();
  });
  EXPECT_EQ(first_calls, 1);
}

template <int... kWhich>
void take_over_each(std::integer_sequence<int, kWhich...>) {
  const auto one = [](void (*handler)(int)) {
    std::signal(SIGURG, handler);
    signal_check();
  };
  (one([](int) { first_calls += kWhich; }), ...);
}

// SG2: never without a word, and the word comes once.
TEST_P(SignalTicks, AreGivenUpWithAWord) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        run(opts(1), [] {
          take_over_each(std::make_integer_sequence<int, kLevels + 2>{});
          ::_exit(is_ours(getsig(SIGURG)) ? 1 : 0);
        });
      },
      testing::ExitedWithCode(0),
      "^(gort: chaos[^\n]*\n)?gort: the program takes SIGURG over[^\n]*\n$");
}

}  // namespace
}  // namespace gort
