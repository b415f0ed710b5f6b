// Signals of which channels were told, and what ends the process all the same: the default action once nobody wants them, and a
// deadlock once no signal can end it (D8).
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "gort/chan.hpp"
#include "gort/fiber.hpp"
#include "gort/run.hpp"
#include "gort/signals.hpp"
#include "gort/spawn.hpp"
#include "support/sanitized.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using testing::ExitedWithCode;
using testing::KilledBySignal;

constexpr int kTurns = test::kSanitizers ? 500 : 5'000;

class NotifyDeathTest : public testing::Test {
 protected:
  NotifyDeathTest() {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
  }
};

void strict() {
  ::setenv("GORT_DEBUG", "deadlock=strict", 1);
}

TEST_F(NotifyDeathTest, AfterTheLastStopTheDefaultIsBack) {
  const auto stopped = [] {
    const chan<int> a(1);
    const chan<int> b(1);
    signals::notify(a, {SIGTERM});
    signals::notify(b, {SIGTERM, SIGINT});
    signals::stop(a);
    ::raise(SIGTERM);
    if (b.recv() != SIGTERM) ::_exit(1);
    signals::stop(b);
  };
  EXPECT_EXIT(
      {
        stopped();
        ::raise(SIGTERM);
      },
      KilledBySignal(SIGTERM), "");
  EXPECT_EXIT(run(options{.procs = 2},
                  [&] {
                    stopped();
                    ::raise(SIGTERM);
                  }),
              KilledBySignal(SIGTERM), "");
}

TEST_F(NotifyDeathTest, AfterAResetTheDefaultIsBack) {
  EXPECT_EXIT(
      {
        const chan<int> ch(1);
        signals::notify(ch);
        signals::reset();
        ::raise(SIGINT);
      },
      KilledBySignal(SIGINT), "");
  EXPECT_EXIT(
      {
        signals::ignore({SIGINT});
        ::raise(SIGINT);
        signals::reset({SIGINT});
        ::raise(SIGINT);
      },
      KilledBySignal(SIGINT), "");
}

// A program that is started by one that ignores a signal ignores it, too; one that was told of it does not.
TEST_F(NotifyDeathTest, IgnoringIsInheritedAndBeingToldIsNot) {
  EXPECT_EXIT(
      {
        const chan<int> ch(1);
        signals::notify(ch, {SIGUSR1});
        signals::ignore({SIGUSR2});
        ::execl("/bin/sh", "sh", "-c", "kill -USR2 $$; kill -USR1 $$; exit 1", nullptr);
      },
      KilledBySignal(SIGUSR1), "");
}

// NT6: between channels and SIG_IGN there is no moment in which the default ends the process.
TEST_F(NotifyDeathTest, ASignalThatIsWantedAndIgnoredInTurnsEndsNothing) {
  EXPECT_EXIT(
      {
        const chan<int> ch(1);
        std::atomic<bool> over{false};
        signals::notify(ch, {SIGTERM});
        std::thread sender([&over] {
          while (!over) ::raise(SIGTERM);
        });
        for (int i = 0; i < kTurns; ++i) {
          signals::ignore({SIGTERM});
          signals::notify(ch, {SIGTERM});
        }
        over = true;
        sender.join();
        ::_exit(0);
      },
      ExitedWithCode(0), "^$");
}

// D8, in strict mode, where nobody else keeps the report back.
TEST_F(NotifyDeathTest, NoDeadlockWhileASignalMayCome) {
  EXPECT_EXIT(
      {
        strict();
        const chan<int> ch(1);
        signals::notify(ch, {SIGUSR1});
        std::thread([] {
          std::this_thread::sleep_for(300ms);
          ::kill(::getpid(), SIGUSR1);
        }).detach();
        run(options{.procs = 2}, [&] { ::_exit(ch.recv() == SIGUSR1 ? 0 : 1); });
      },
      ExitedWithCode(0), "^$");
}

TEST_F(NotifyDeathTest, ADeadlockOnceNobodyWantsSignals) {
  EXPECT_EXIT(run(options{.procs = 2},
                  [] {
                    const chan<int> ch(1);
                    signals::notify(ch, {SIGUSR1});
                    signals::stop(ch);
                    (void)ch.recv();
                  }),
              ExitedWithCode(2), "gort: deadlock");
  // A thread takes the wish back while everybody is asleep.
  EXPECT_EXIT(
      {
        strict();
        const chan<int> ch(1);
        signals::notify(ch, {SIGUSR1});
        std::thread([&ch] {
          std::this_thread::sleep_for(300ms);
          signals::stop(ch);
          for (;;) ::pause();
        }).detach();
        run(options{.procs = 2}, [&] { (void)ch.recv(); });
      },
      ExitedWithCode(2), "gort: deadlock");
}

}  // namespace
}  // namespace gort
