// The number of Ps changes: by hand, with the machine, under fibers of every kind (RP1 to RP7 in src/sched/procs.cpp).
#include "sched/procs.hpp"

#include <dirent.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <thread>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/run.hpp"
#include "gort/spawn.hpp"
#include "gort/stats.hpp"
#include "os/settings.hpp"
#include "sched/current.hpp"
#include "sched/sched.hpp"
#include "support/burn.hpp"
#include "support/debug_setting.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;

int in_use() {
  return sched().procs_in_use.load(std::memory_order_relaxed);
}

// Every thread of the process, or the current one, on these processors.
void pin_all(const cpu_set_t& set) {
  DIR* d = opendir("/proc/self/task");
  ASSERT_NE(d, nullptr);
  while (const dirent* e = readdir(d)) {
    if (e->d_name[0] != '.') ::sched_setaffinity(std::atoi(e->d_name), sizeof set, &set);
  }
  closedir(d);
}

cpu_set_t allowed() {
  cpu_set_t set;
  EXPECT_EQ(::sched_getaffinity(0, sizeof set, &set), 0);
  return set;
}

cpu_set_t first_of(const cpu_set_t& all) {
  cpu_set_t one;
  CPU_ZERO(&one);
  int i = 0;
  while (!CPU_ISSET(i, &all)) ++i;
  CPU_SET(i, &one);
  return one;
}

// What sysmon does once a second, by a thread that may use one processor.
void follow_one_processor() {
  std::thread([] {
    const cpu_set_t one = first_of(allowed());
    ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
    follow_machine();
  }).join();
}

class SetProcs : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(SetProcs);

TEST_P(SetProcs, TellsTheNumberBefore) {
  in_fibers([this] {
    EXPECT_EQ(set_procs(3), nprocs());
    EXPECT_EQ(procs(), 3);
    EXPECT_EQ(stats().procs.size(), 3U);
    std::thread([] { EXPECT_EQ(set_procs(1), 3); }).join();
    blocking([] { EXPECT_EQ(set_procs(1024), 1); });
    EXPECT_EQ(procs(), 1024);
    EXPECT_EQ(set_procs(2), 1024);
    EXPECT_EQ(set_procs(2), 2);
    EXPECT_EQ(spawn([] { return 7; }).get(), 7);
  });
}

TEST_P(SetProcs, RefusesWhatIsNoNumberOfPs) {
  EXPECT_THROW(set_procs(1), std::logic_error);  // without a runtime
  in_fibers([this] {
    for (const int n : {0, -1, 1025}) EXPECT_THROW(set_procs(n), std::invalid_argument) << n;
    EXPECT_EQ(procs(), nprocs());
  });
  EXPECT_THROW(set_procs(1), std::logic_error);
}

// RP1, RP2, RP7: also beside fibers that never give way, of which each still comes in turn.
TEST_P(SetProcs, ThoseBeyondItRest) {
  in_fibers([this] {
    std::atomic<bool> over{false};
    std::vector<std::atomic<uint64_t>> turns(static_cast<size_t>(nprocs()));
    std::vector<task<void>> hogs;
    for (auto& n : turns) {
      hogs.push_back(spawn([&over, &n] {
        while (!over.load(std::memory_order_relaxed)) n.fetch_add(1, std::memory_order_relaxed);
      }));
    }
    for (auto& n : turns) test::until([&n] { return n.load() != 0; });
    set_procs(1);
    test::until([] { return in_use() == 1; });
    for (auto& n : turns) {
      const uint64_t before = n.load();
      test::until([&n, before] { return n.load() > before; });
    }
    over.store(true);
    for (auto& h : hogs) h.join();
  });
}

// RP5: the only P's fiber never gives way, and others come into use beside it.
TEST_P(SetProcs, OthersComeIntoUseBesideAHog) {
  in_fibers([this] {
    const int more = nprocs() + 2;
    set_procs(more);
    EXPECT_TRUE(test::spin_until([more] { return in_use() == more; }));
    std::atomic<bool> ran{false};
    auto first = spawn([&ran] { ran.store(true); });
    auto second = spawn([] {});
    EXPECT_TRUE(test::spin_until([&ran] { return ran.load(); }));
    first.join();
    second.join();
  });
}

// RP3, RP5: a P that is the only one left takes the ways of one that never had another, unless chaos forbids it.
TEST_P(SetProcs, TheLastOneIsAlone) {
  in_fibers([] {
    set_procs(4);
    set_procs(1);
    if (!sched().may_be_alone) return;
    test::until([] { return in_use() == 1 && sched().procs[0].alone; });
  });
}

// RP1, PR7: fibers whose Ps are lent while these are put to rest come back.
TEST_P(SetProcs, BlockingFibersComeBack) {
  in_fibers([] {
    std::atomic<int> inside{0};
    std::atomic<bool> over{false};
    std::vector<task<void>> fibers;
    for (int i = 0; i < 8; ++i) {
      fibers.push_back(spawn([&] {
        blocking([&] {
          inside.fetch_add(1);
          while (!over.load()) std::this_thread::yield();
        });
      }));
    }
    test::until([&inside] { return inside.load() == 8; });
    set_procs(1);
    over.store(true);
    for (auto& f : fibers) f.join();
    test::until([] { return in_use() == 1; });
  });
}

// RP4: timers of Ps that rest are fired while the only other one is busy all the time.
TEST(ProcsAlone, TimersOfThoseThatRest) {
  if (test::kSanitizers) GTEST_SKIP() << "a sanitizer takes its time";
  run(options{.procs = 2}, [] {
    constexpr int kSleepers = 8;
    constexpr auto kSleep = 60ms;
    std::atomic<int> begun{0};
    std::atomic<int> ended{0};
    std::atomic<int64_t> latest_ns{0};
    std::vector<task<void>> sleepers;
    for (int i = 0; i < kSleepers; ++i) {
      sleepers.push_back(spawn([&] {
        const int64_t due = test::now_ns() + std::chrono::nanoseconds(kSleep).count();
        begun.fetch_add(1);
        sleep_for(kSleep);
        const int64_t late = test::now_ns() - due;
        if (late > latest_ns.load()) latest_ns.store(late);
        ended.fetch_add(1);
      }));
    }
    EXPECT_TRUE(test::spin_until([&] { return begun.load() == kSleepers; }));
    set_procs(1);
    test::burn_here(400);
    EXPECT_EQ(ended.load(), kSleepers) << "nobody has looked after their timers";
    EXPECT_LT(latest_ns.load(), 150'000'000);
    for (auto& s : sleepers) s.join();
  });
}

// RP4, WA1: the same where the busy one moves on until the timers are due, so that sysmon finds nobody who has run for long
// when it fires them, and only then goes on for a slice.
TEST(ProcsAlone, TimersOfThoseThatRestWhereALongTurnBegins) {
  if (test::kSanitizers) GTEST_SKIP() << "a sanitizer takes its time";
  static constexpr auto kSlice = 300ms;
  run(options{.procs = 2, .slice = kSlice}, [] {
    std::atomic<int> ready{0};
    std::atomic<bool> go{false};
    std::atomic<int64_t> late_ns{-1};
    const int64_t due = test::now_ns() + std::chrono::nanoseconds(60ms).count();
    std::vector<task<void>> sleepers;
    // Both Ps are in use; the timer is in the heap of the one that will rest.
    for (int i = 0; i < 2; ++i) {
      sleepers.push_back(spawn([&] {
        ready.fetch_add(1);
        while (!go.load()) {
        }
        if (current_m()->p->id == 0) return;
        sleep_until(std::chrono::steady_clock::time_point(std::chrono::nanoseconds(due)));
        late_ns.store(test::now_ns() - due);
      }));
    }
    blocking([&] {
      while (ready.load() != 2) std::this_thread::yield();
      go.store(true);
    });
    set_procs(1);
    while (test::now_ns() < due - 50'000) yield();
    while (test::now_ns() < due + std::chrono::nanoseconds(kSlice).count()) {
    }
    EXPECT_GE(late_ns.load(), 0) << "nobody has asked for the P again";
    for (auto& s : sleepers) s.join();
    EXPECT_LT(late_ns.load(), std::chrono::nanoseconds(kSlice / 2).count());
  });
}

// RP6, PC3: taskset, a cpuset or a cgroup's quota change while the program runs, from its first moment on.
TEST(ProcsAlone, TheNumberFollowsTheAffinityMask) {
  if (os::settings().procs != 0) GTEST_SKIP() << "GORT_PROCS is set";
  const int before = num_cpus();
  if (before < 2) GTEST_SKIP() << "there is one processor";
  const cpu_set_t all = allowed();
  run([&] {
    EXPECT_EQ(procs(), before);
    pin_all(first_of(all));
    test::until([] { return procs() == 1; });
    test::until([] { return in_use() == 1; });
    pin_all(all);
    test::until([before] { return procs() == before; });
  });
  pin_all(all);
}

// RP6: what somebody has said stays.
TEST(Procs, ANumberThatWasGivenDoesNotFollow) {
  run(options{.procs = 2}, [] {
    follow_one_processor();
    EXPECT_EQ(procs(), 2);
  });
  run([] {
    set_procs(3);
    follow_one_processor();
    EXPECT_EQ(procs(), 3);
  });
}

TEST(Procs, TheSettingSwitchesItOff) {
  (void)test::ticks_with("updateprocs=0");
  if (!os::settings().debug.contains("updateprocs"))
    GTEST_SKIP() << "the settings were read before";
  const int before = num_cpus();
  run([before] {
    follow_one_processor();
    EXPECT_EQ(procs(), os::settings().procs != 0 ? os::settings().procs : before);
  });
}

}  // namespace
}  // namespace gort
