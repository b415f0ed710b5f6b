// The deadlock report: when it comes, and when it must not. And the other ways to end with a
// message.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "gort/barrier.hpp"
#include "gort/blocking.hpp"
#include "gort/chan.hpp"
#include "gort/condition_variable.hpp"
#include "gort/fiber.hpp"
#include "gort/latch.hpp"
#include "gort/mutex.hpp"
#include "gort/once.hpp"
#include "gort/run.hpp"
#include "gort/select.hpp"
#include "gort/spawn.hpp"
#include "gort/stats.hpp"
#include "gort/timer.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using testing::ExitedWithCode;
using testing::KilledBySignal;

constexpr int kDeadlock = 2;

// The main fiber joins one that waits for a mutex that the main fiber holds.
void embrace() {
  mutex held;
  const std::lock_guard guard(held);
  auto juliet = spawn(attrs{.name = "juliet"}, [&held] { const std::lock_guard second(held); });
  juliet.join();
}

// Ends the process with another status if it is still there after that long.
void give_up_after(int seconds) {
  alarm(static_cast<unsigned>(seconds));  // SIGALRM kills
}

class DeadlockDeathTest : public testing::TestWithParam<int> {
 protected:
  DeadlockDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
  [[nodiscard]] options opts() const { return options{.procs = GetParam()}; }
};
INSTANTIATE_TEST_SUITE_P(Procs, DeadlockDeathTest, testing::Values(1, 2, 4));

TEST_P(DeadlockDeathTest, IsReported) {
  EXPECT_EXIT(
      {
        give_up_after(10);
        run(opts(), embrace);
      },
      ExitedWithCode(kDeadlock), "gort: deadlock");
}

// D1, RP2: Ps that rest are not waited for.
TEST_P(DeadlockDeathTest, IsReportedBesidePsThatRest) {
  EXPECT_EXIT(
      {
        give_up_after(10);
        run(opts(), [] {
          set_procs(6);
          spawn([] { yield(); }).join();
          set_procs(1);
          embrace();
        });
      },
      ExitedWithCode(kDeadlock), "gort: deadlock");
}

TEST_P(DeadlockDeathTest, TheReportNamesEveryFiber) {
  EXPECT_EXIT(
      {
        give_up_after(10);
        run(opts(), embrace);
      },
      ExitedWithCode(kDeadlock), "\"main\": waiting, join(.|\n)*\"juliet\": waiting, mutex");
}

// Selects that wait for each other's channels, and one that waits for nothing at all.
TEST_P(DeadlockDeathTest, NamesSelects) {
  EXPECT_EXIT(
      {
        give_up_after(10);
        run(opts(), [] {
          const chan<int> a;
          const chan<int> b;
          auto other = spawn(attrs{.name = "other"}, [&] { select(on_recv(a), on_recv(b)); });
          auto idler = spawn(attrs{.name = "idler"}, [] { select(); });
          select(on_recv(b), on_recv(a), on_recv(chan<int>::nil()));
        });
      },
      ExitedWithCode(kDeadlock), "\"main\": waiting, select(.|\n)*\"other\": waiting, select");
}

// A limit that never comes is none (D2).
TEST_P(DeadlockDeathTest, IsReportedUnderALimitForEver) {
  EXPECT_EXIT(
      {
        give_up_after(10);
        run(opts(), [] {
          const chan<int> a;
          const chan<int> b;
          select(on_recv(a), on_recv(b), on_timeout(std::chrono::hours::max()));
        });
      },
      ExitedWithCode(kDeadlock), "gort: deadlock");
  EXPECT_EXIT(
      {
        give_up_after(10);
        run(opts(), [] { select(on_timeout(std::chrono::hours::max())); });
      },
      ExitedWithCode(kDeadlock), "gort: deadlock");
  EXPECT_EXIT(
      {
        give_up_after(10);
        run(opts(), [] {
          int out;
          (void)chan<int>().recv_for(out, std::chrono::hours::max());
        });
      },
      ExitedWithCode(kDeadlock), "gort: deadlock");
}

// Ends the main function beside a fiber that waits for good, whatever it is asked. What it waits for is never given back.
template <class Wait>
void leave_behind(const options& o, Wait&& wait) {
  give_up_after(10);
  run(o, [&wait] {
    std::atomic<bool> begun{false};
    go(attrs{.name = "left"}, [&] {
      begun = true;
      wait();
    });
    test::until([&] { return begun.load(); });
    go(attrs{.name = "obedient"}, [] { sleep_for(1h); });
  });
}

// D2: of fibers whose main function has returned, too, where no stop request ends their waits.
TEST_P(DeadlockDeathTest, ComesAfterTheMainFunctionForAMutex) {
  EXPECT_EXIT(leave_behind(opts(),
                           [] {
                             auto* m = new mutex;
                             m->lock();
                             m->lock();
                           }),
              ExitedWithCode(kDeadlock), "gort: deadlock(.|\n)*\"left\": waiting, mutex");
}
TEST_P(DeadlockDeathTest, ComesAfterTheMainFunctionForALatch) {
  EXPECT_EXIT(leave_behind(opts(), [] { (new latch(1))->wait(); }), ExitedWithCode(kDeadlock),
              "gort: deadlock(.|\n)*\"left\": waiting, latch");
}
TEST_P(DeadlockDeathTest, ComesAfterTheMainFunctionForABarrier) {
  EXPECT_EXIT(leave_behind(opts(), [] { (new barrier<>(2))->arrive_and_wait(); }),
              ExitedWithCode(kDeadlock), "gort: deadlock(.|\n)*\"left\": waiting, barrier");
}
TEST_P(DeadlockDeathTest, ComesAfterTheMainFunctionForAOnceFlag) {
  EXPECT_EXIT(leave_behind(opts(),
                           [] {
                             auto* flag = new once_flag;
                             std::atomic<bool> calls{false};
                             go(attrs{.name = "caller"}, [&] {
                               call_once(*flag, [&] {
                                 calls = true;
                                 (new latch(1))->wait();
                               });
                             });
                             test::until([&] { return calls.load(); });
                             call_once(*flag, [] {});
                           }),
              ExitedWithCode(kDeadlock), "gort: deadlock(.|\n)*\"left\": waiting, call_once");
}
TEST_P(DeadlockDeathTest, ComesAfterTheMainFunctionForACondition) {
  EXPECT_EXIT(leave_behind(opts(),
                           [] {
                             auto* m = new mutex;
                             std::unique_lock lock(*m);
                             (new condition_variable)->wait(lock);
                           }),
              ExitedWithCode(kDeadlock),
              "gort: deadlock(.|\n)*\"left\": waiting, condition variable");
}

TEST_P(DeadlockDeathTest, ComesAfterTimersHaveFired) {
  EXPECT_EXIT(
      {
        give_up_after(10);
        run(opts(), [] {
          go([] { sleep_for(30ms); });
          auto cancelled = spawn([] { sleep_for(1h); });
          sleep_for(5ms);
          cancelled.request_stop();
          cancelled.join();
          embrace();
        });
      },
      ExitedWithCode(kDeadlock), "gort: deadlock");
}

TEST_P(DeadlockDeathTest, ComesAfterAllWasBlocking) {
  EXPECT_EXIT(
      {
        give_up_after(10);
        run(opts(), [] {
          for (int i = 0; i < 4; ++i)
            go([] { blocking([] { std::this_thread::sleep_for(10ms); }); });
          embrace();
        });
      },
      ExitedWithCode(kDeadlock), "gort: deadlock");
}

TEST_P(DeadlockDeathTest, ConcernsARunOfAnEmbeddedRuntime) {
  EXPECT_EXIT(
      {
        give_up_after(10);
        runtime rt(opts());
        rt.run(embrace);
      },
      ExitedWithCode(kDeadlock), "gort: deadlock");
}

// D3: a thread of the program could still wake somebody; once it has ended, nobody can.
// D4: a request to stop does not end these waits, and nobody else will.
TEST_P(DeadlockDeathTest, ConcernsTheEndOfAnEmbeddedRuntime) {
  EXPECT_EXIT(
      {
        give_up_after(10);
        mutex m;
        m.lock();
        runtime rt(opts());
        rt.run([&] {
          go(attrs{.name = "for-good"}, [&m] { m.lock(); });
          const auto waits = [] { return stats().parks > 0; };
          while (!waits()) yield();
        });
      },
      ExitedWithCode(kDeadlock), "gort: deadlock(.|\n)*for-good");
}

// And where they have been asleep for long when it comes to that.
TEST_P(DeadlockDeathTest, ConcernsTheEndOfAnIdleRuntime) {
  EXPECT_EXIT(
      {
        give_up_after(10);
        latch never(1);
        runtime rt(opts());
        auto waits = rt.spawn([&never] { never.wait(); });
        waits.detach();
        while (stats().parks == 0) std::this_thread::yield();
        std::this_thread::sleep_for(50ms);  // all Ms are asleep, and sysmon
      },
      ExitedWithCode(kDeadlock), "gort: deadlock");
}

TEST_P(DeadlockDeathTest, WaitsForForeignThreads) {
  EXPECT_EXIT(
      {
        give_up_after(20);
        std::thread([] {
          // The subject: while this thread lives, no report. It says when it ends.
          std::this_thread::sleep_for(1500ms);
          constexpr char text[] = "thread ends\n";
          if (write(STDERR_FILENO, text, sizeof text - 1) < 0) _exit(9);
        }).detach();
        run(opts(), embrace);
      },
      ExitedWithCode(kDeadlock), "thread ends\ngort: deadlock");
}

TEST_P(DeadlockDeathTest, StrictIgnoresForeignThreads) {
  EXPECT_EXIT(
      {
        give_up_after(10);
        setenv("GORT_DEBUG", "deadlock=strict", 1);
        std::thread([] { pause(); }).detach();
        run(opts(), embrace);
      },
      ExitedWithCode(kDeadlock), "gort: deadlock");
}

TEST_P(DeadlockDeathTest, MayBeSwitchedOff) {
  EXPECT_EXIT(
      {
        give_up_after(1);
        setenv("GORT_DEBUG", "deadlock=off", 1);
        run(opts(), embrace);
      },
      KilledBySignal(SIGALRM), "");
}

TEST_P(DeadlockDeathTest, WhatWasPrintedBeforeIsNotLost) {
  EXPECT_EXIT(
      {
        give_up_after(10);
        dup2(STDERR_FILENO, STDOUT_FILENO);
        setvbuf(stdout, nullptr, _IOFBF, 4096);
        std::printf("said before\n");
        run(opts(), embrace);
      },
      ExitedWithCode(kDeadlock), "said before\ngort: deadlock");
}

// D7: each rt.run() starts a fiber from a thread that has no P.
// D1, D2, D4, D5: nobody runs, sleeps or blocks, somebody is in run(), and fibers are left.
TEST_P(DeadlockDeathTest, IsNoneWhileSomebodySleepsOrBlocks) {
  EXPECT_EXIT(
      {
        give_up_after(20);
        setenv("GORT_DEBUG", "deadlock=strict", 1);
        for (int i = 0; i < 20; ++i) {
          run(opts(), [] {
            auto a = spawn([] { sleep_for(3ms); });
            auto b = spawn([] { blocking([] { std::this_thread::sleep_for(2ms); }); });
            a.join();
            b.join();
            // Now everybody else is asleep for good, while one fiber runs.
            spawn([] { test::spin_until([] { return false; }, 2ms); }).join();
          });
        }
        runtime rt(opts());
        for (int i = 0; i < 50; ++i) rt.run([] {});
        auto waits = rt.spawn([] { (void)chan<int>().recv(); });
        std::this_thread::sleep_for(200ms);  // the subject: an idle embedded runtime is no deadlock
        _exit(0);
      },
      ExitedWithCode(0), "");
}

class FatalDeathTest : public testing::Test {
 protected:
  FatalDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(FatalDeathTest, AnExceptionLeavesAFiber) {
  EXPECT_EXIT(run([] {
                go(attrs{.name = "worker"}, [] { throw std::runtime_error("went wrong"); });
                for (;;) yield();
              }),
              KilledBySignal(SIGABRT), "gort: fatal: .*\"worker\": went wrong");
  EXPECT_EXIT(run([] {
                go([] { throw 5; });
                for (;;) yield();
              }),
              KilledBySignal(SIGABRT), "gort: fatal: .*type i");
}

TEST_F(FatalDeathTest, AnExceptionLeavesADetachedTask) {
  EXPECT_EXIT(run([] {
                std::atomic<bool> detached{false};
                auto t = spawn([&detached] {
                  test::until([&] { return detached.load(); });
                  throw std::runtime_error("nobody asks");
                });
                t.detach();
                detached.store(true);
                for (;;) yield();
              }),
              KilledBySignal(SIGABRT), "gort: fatal: .*nobody asks");
  EXPECT_EXIT(run([] {
                auto t = spawn([] { throw std::runtime_error("too late"); });
                test::until([&] { return t.done(); });
                t.detach();
              }),
              KilledBySignal(SIGABRT), "gort: fatal: .*too late");
}

TEST_F(FatalDeathTest, AnExceptionLeavesATimersFunction) {
  EXPECT_EXIT(run([] {
                after_func(1ms, [] { throw std::runtime_error("too early"); });
                for (;;) yield();
              }),
              KilledBySignal(SIGABRT), "gort: fatal: .*too early");
}

TEST_F(FatalDeathTest, AFiberDestroysItsOwnHandle) {
  EXPECT_EXIT(run([] {
                auto* own = new task<void>;
                std::atomic<bool> there{false};
                *own = spawn([&] {
                  test::until([&] { return there.load(); });
                  delete own;
                });
                there.store(true);
                for (;;) yield();
              }),
              KilledBySignal(SIGABRT), "gort: fatal");
}

TEST_F(FatalDeathTest, ATaskOutlivesItsRuntime) {
  EXPECT_EXIT(
      {
        task<int> kept;
        run([&kept] { kept = spawn([] { return 1; }); });
      },
      KilledBySignal(SIGABRT), "gort: fatal: a gort::task outlives its runtime");
}

TEST_F(FatalDeathTest, AFiberDestroysTheRuntime) {
  EXPECT_EXIT(
      {
        auto* rt = new runtime(options{.procs = 1});
        rt->run([rt] { delete rt; });
      },
      KilledBySignal(SIGABRT), "gort: fatal");
}

TEST_F(FatalDeathTest, AStackOverflowKills) {
  if (test::kSanitizers) GTEST_SKIP() << "a sanitizer has its own report";
  EXPECT_EXIT(run([] {
                spawn([] {
                  struct Deep {
                    static int down(int n) {
                      volatile char frame[512];
                      frame[0] = static_cast<char>(n);
                      return n == 0 ? 0 : down(n - 1) + frame[0];
                    }
                  };
                  return Deep::down(1'000'000);
                }).get();
              }),
              KilledBySignal(SIGSEGV), "");
}

class SettingsDeathTest : public FatalDeathTest {};

TEST_F(SettingsDeathTest, AMalformedVariableIsReportedAndIgnored) {
  EXPECT_EXIT(
      {
        setenv("GORT_PROCS", "abc", 1);
        run([] {});
        _exit(0);
      },
      ExitedWithCode(0), "gort: GORT_PROCS=abc");
}

TEST_F(SettingsDeathTest, ProcsComeFromTheEnvironment) {
  EXPECT_EXIT(
      {
        setenv("GORT_PROCS", "3", 1);
        const int from_env = run([] { return procs(); });
        const int from_options = run(options{.procs = 2}, [] { return procs(); });
        _exit(from_env * 10 + from_options);
      },
      ExitedWithCode(32), "");
}

// D2: nobody comes.
TEST_P(DeadlockDeathTest, ASleepForEverIsReported) {
  EXPECT_EXIT(run(opts(),
                  [] {
                    give_up_after(20);
                    sleep_until(std::chrono::steady_clock::time_point::max());
                  }),
              ExitedWithCode(kDeadlock), "gort: deadlock");
}

// D2: one that has a P again inside of blocking() is a fiber like others.
TEST_P(DeadlockDeathTest, InsideBlockingIsReported) {
  const auto wait_inside = [](auto and_then) {
    give_up_after(20);
    chan<int> never;
    chan<int> once(1);
    std::atomic<bool> over{false};
    std::vector<task<void>> others;  // who want the P
    for (int i = 0; i < 2 * procs(); ++i) {
      others.push_back(spawn([&over] {
        while (!over) yield();
      }));
    }
    blocking([&] {
      once.send(1);
      std::thread([] {}).join();
      (void)once.recv();
      yield();
      and_then();
      over = true;
      (void)never.recv();
    });
  };
  EXPECT_EXIT(run(opts(), [&] { wait_inside([] {}); }), ExitedWithCode(kDeadlock),
              "gort: deadlock");
  EXPECT_EXIT(run(opts(), [&] { wait_inside([] { blocking([] { blocking([] {}); }); }); }),
              ExitedWithCode(kDeadlock), "gort: deadlock");
  EXPECT_EXIT(run(opts(), [&] { wait_inside([] { blocking([] { yield(); }); }); }),
              ExitedWithCode(kDeadlock), "gort: deadlock");
}

}  // namespace
}  // namespace gort
