// What a program sees of preemption and hand-off: what is in use, that it can be chosen, and that it can not be noticed.
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/fiber.hpp"
#include "gort/spawn.hpp"
#include "gort/stats.hpp"
#include "sched/sched.hpp"
#include "support/debug_setting.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

TEST(Preempt, IsOnByItselfAndSaysSo) {
  run([] {
    const runtime_stats s = stats();
    EXPECT_EQ(s.slice, 10ms);
    EXPECT_STREQ(s.ticks, "timer");
  });
  run(options{.slice = 25ms}, [] { EXPECT_EQ(stats().slice, 25ms); });
  run(options{.slice = 1ms}, [] {
    EXPECT_EQ(stats().slice, 1ms);
    EXPECT_TRUE(stats().ticks == std::string("event") || stats().ticks == std::string("watchman"));
  });
}

TEST(Preempt, RefusesASliceThatIsTooShort) {
  EXPECT_THROW(run(options{.slice = 99us}, [] {}), std::invalid_argument);
}

// How often two fibers that never give way take turns on one P in `time`, of the processor: others may be busy, too.
int turns_of_two_hogs(const options& o, std::chrono::milliseconds time) {
  std::atomic<int> turns{0};
  run(o, [&] {
    std::atomic<int> last{-1};
    const int64_t end_ns = test::cpu_ns() + std::chrono::nanoseconds(time).count();
    const auto hog = [&](int me) {
      while (test::cpu_ns() < end_ns) {
        for (int i = 0; i < 10'000; ++i) {  // the look is a system call
          if (last.exchange(me, std::memory_order_relaxed) != me) turns.fetch_add(1);
        }
      }
    };
    task<void> other = spawn(hog, 1);
    hog(0);
    other.join();
  });
  return turns;
}

// PR1 to PR3, WA1: with each source of ticks that can be chosen.
class TicksBy : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Preempt, TicksBy, testing::Values("timer", "event", "watchman"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(TicksBy, TwoHogsTakeTurns) {
  if (test::kSanitizers) GTEST_SKIP() << "a sanitizer takes its time";
  const std::string source = GetParam();
  const std::string got = test::ticks_with("ticks=" + source);
  if (got != source)
    GTEST_SKIP() << "this process has " << got << ", or the kernel allows no other";
  // Timers come with the kernel's own tick, some milliseconds apart.
  const int least = source == "timer" ? 10 : 30;
  EXPECT_GE(turns_of_two_hogs({.procs = 1, .slice = 1ms}, 300ms), least);
}

// SP1, SP2: threads come when fibers block theirs, and leave when they have not been needed for long.
TEST(PreemptAlone, SparesLeaveWhenTheyAreIdle) {
  if (test::kSanitizers) GTEST_SKIP() << "a sanitizer takes its time";
  run(options{.procs = 2}, [] {
    constexpr int kBlocked = 20;
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    std::atomic<int> begun{0};
    std::vector<task<void>> blocked;
    for (int i = 0; i < kBlocked; ++i) {
      blocked.push_back(spawn([&] {
        // The last of them can begin once all but one of the others have lost their Ps.
        if (++begun == kBlocked) {
          EXPECT_EQ(::write(ends[1], "x", 1), 1);
        }
        pollfd fed{ends[0], POLLIN, 0};
        EXPECT_EQ(::poll(&fed, 1, -1), 1) << "no signal may cut it short";
      }));
    }
    for (auto& b : blocked) b.join();
    for (const int fd : ends) ::close(fd);
    EXPECT_GE(stats().threads, 20);
    EXPECT_GE(stats().handoffs, 18U);
    const auto end = steady_clock::now() + test::kPatience;
    while (stats().threads > 2 && steady_clock::now() < end) sleep_for(100ms);
    EXPECT_LE(stats().threads, 2);
    // SP2: their records serve again.
    std::vector<task<void>> again;
    for (int i = 0; i < 10; ++i) again.push_back(spawn([] { ::usleep(100'000); }));
    for (auto& b : again) b.join();
    EXPECT_GE(stats().threads, 10);
  });
}

// options.max_threads is there, and said once; what can go on goes on: here three that never give way take turns although
// a fourth is not to be had a thread for (PR1: those who are bound).
TEST(PreemptAlone, ThreadsAreBounded) {
  if (test::kSanitizers) GTEST_SKIP() << "a sanitizer takes its time";
  testing::internal::CaptureStderr();
  run(options{.procs = 1, .max_threads = 3, .slice = 1ms}, [] {
    constexpr int kHogs = 6;
    std::atomic<bool> over{false};
    std::vector<std::atomic<uint64_t>> rounds(kHogs);
    std::vector<task<void>> hogs;
    for (int i = 0; i < kHogs; ++i) {
      hogs.push_back(spawn([&over, &n = rounds[static_cast<size_t>(i)]] {
        const auto end = steady_clock::now() + 300ms;
        while (!over && steady_clock::now() < end) n.fetch_add(1, std::memory_order_relaxed);
      }));
    }
    for (auto& h : hogs) h.join();
    for (const auto& n : rounds) EXPECT_GT(n.load(), 0U);
    EXPECT_LE(stats().threads, 3);
  });
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("options.max_threads allows (3)"), std::string::npos) << said;
}

// PR3, WA1: when somebody's time comes, nobody is there to go on with the P, and a thread is made; it need not wait for the end of the
// slice then.
TEST(PreemptAlone, AnHeirThatComesLateGetsTheP) {
  if (test::kSanitizers) GTEST_SKIP() << "a sanitizer takes its time";
  run(options{.procs = 1, .slice = 300ms}, [] {
    auto hog = spawn([] {
      const auto end = steady_clock::now() + 500ms;
      while (steady_clock::now() < end) {
      }
    });
    const auto due = steady_clock::now() + 5ms;
    sleep_until(due);
    EXPECT_LT(steady_clock::now() - due, 100ms);
    hog.join();
  });
}

// PR7: blocking() lends its P, and whoever needs it gets it at once.
TEST(Preempt, ALentPIsThereForOthers) {
  runtime rt({.procs = 1});
  std::atomic<bool> inside{false};
  std::atomic<bool> ran{false};
  task<void> blocked = rt.spawn([&] {
    blocking([&] {
      inside = true;
      inside.notify_one();
      ran.wait(false);
    });
  });
  inside.wait(false);
  const auto begin = steady_clock::now();
  rt.spawn([&] {
      ran = true;
      ran.notify_one();
    }).join();
  EXPECT_LT(steady_clock::now() - begin, test::kPatience);
  blocked.join();
}

// PR7: calls of gort inside blocking(), and blocking() inside blocking(), end the loan and leave nothing behind.
TEST(Preempt, CallsInsideBlocking) {
  run(options{.procs = 2}, [] {
    for (int i = 0; i < 1000; ++i) {
      blocking([i] {
        if (i % 2 == 0) yield();
        blocking([] {});
        if (i % 3 == 0) sleep_for(1us);
        task<int> t = spawn([] { return 7; });
        EXPECT_EQ(t.get(), 7);
      });
    }
    EXPECT_EQ(procs(), 2);
  });
}

// PR5, WA2, D2: a thread that blocks by itself, with nobody waiting, gives the P up after a while, so that nothing is awake.
TEST(PreemptAlone, NothingIsAwakeBesideABlockedThread) {
  if (test::kSanitizers) GTEST_SKIP() << "a sanitizer takes its time";
  run(options{.procs = 1}, [] {
    ::usleep(200'000);  // until sysmon sleeps for good
    const int64_t before = test::cpu_ns();
    ::usleep(500'000);
    EXPECT_LT(test::cpu_ns() - before, 1'000'000) << "of processor time in half a second";
  });
}

}  // namespace
}  // namespace gort
