// place: a thread that is woken in the place of another; and that its mask is afterwards what it was.
#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <functional>
#include <gort/gort.hpp>
#include <thread>
#include <vector>

#include "os/os.hpp"
#include "sched/note.hpp"
#include "support/burn.hpp"

namespace gort::os {
namespace {

cpu_set_t mask_of(int tid) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  EXPECT_EQ(::sched_getaffinity(tid, sizeof mask, &mask), 0);
  return mask;
}

cpu_set_t only(int cpu) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  CPU_SET(cpu, &mask);
  return mask;
}

bool equal(const cpu_set_t& a, const cpu_set_t& b) {
  return CPU_EQUAL(&a, &b);
}

// Two processors that this process may use.
struct Pair {
  int here = -1;
  int there = -1;
};
Pair two_cpus() {
  Pair found;
  const cpu_set_t mask = mask_of(0);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &mask)) continue;
    if (found.here < 0) {
      found.here = cpu;
    } else if (found.there < 0) {
      found.there = cpu;
    }
  }
  return found;
}

// A thread that sleeps, is woken in our place, and looks around.
class Sleeper {
 public:
  explicit Sleeper(const cpu_set_t* mask) {
    thread_ = std::thread([this, mask] {
      if (mask != nullptr) {
        EXPECT_EQ(::sched_setaffinity(0, sizeof *mask, mask), 0);
      }
      before_ = mask_of(0);
      tid_ = gettid();
      note_.sleep();
      woken_ = mask_of(0);
      woken_on_ = getcpu();
      settle_place(place);
      after_ = mask_of(0);
    });
    while (tid_ == 0) osyield();
  }
  ~Sleeper() {
    if (thread_.joinable()) wake();
  }
  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;

  void wake() {
    note_.wake();
    thread_.join();
  }
  [[nodiscard]] int tid() const { return tid_; }
  [[nodiscard]] cpu_set_t before() const { return before_; }
  [[nodiscard]] cpu_set_t woken() const { return woken_; }
  [[nodiscard]] cpu_set_t after() const { return after_; }
  [[nodiscard]] int woken_on() const { return woken_on_; }

  Place place;

 private:
  Note note_;
  std::atomic<int> tid_{0};
  cpu_set_t before_{};
  cpu_set_t woken_{};
  cpu_set_t after_{};
  int woken_on_ = -1;
  std::thread thread_;
};

class PlaceTest : public testing::Test {
 protected:
  void SetUp() override {
    std::thread(learn_places).join();
    if (two_cpus().there < 0) GTEST_SKIP() << "one processor is one place";
  }
  // The waker stays where it is while the test looks.
  static void on(int cpu, const std::function<void()>& body) {
    std::thread([&] {
      const cpu_set_t mask = only(cpu);
      ASSERT_EQ(::sched_setaffinity(0, sizeof mask, &mask), 0);
      body();
    }).join();
  }
};

TEST_F(PlaceTest, TheSleeperWakesWhereItsWakerRan) {
  const Pair cpus = two_cpus();
  for (const int cpu : {cpus.here, cpus.there}) {
    Sleeper sleeper(nullptr);
    on(cpu, [&] {
      EXPECT_EQ(getcpu(), cpu);
      pull_here(sleeper.place, sleeper.tid());
      sleeper.wake();
    });
    EXPECT_EQ(sleeper.woken_on(), cpu);
    EXPECT_TRUE(equal(sleeper.woken(), only(cpu)));
    EXPECT_TRUE(equal(sleeper.after(), sleeper.before()));
    EXPECT_EQ(sleeper.place.cpu, -1);
  }
}

TEST_F(PlaceTest, OneThatWasNotPulledKeepsItsMask) {
  Sleeper sleeper(nullptr);
  sleeper.wake();
  EXPECT_TRUE(equal(sleeper.woken(), sleeper.before()));
  EXPECT_TRUE(equal(sleeper.after(), sleeper.before()));
}

// PC2: where it may not run, it is not taken.
TEST_F(PlaceTest, NobodyIsTakenToWhereHeMayNotRun) {
  const Pair cpus = two_cpus();
  const cpu_set_t mask = only(cpus.there);
  Sleeper sleeper(&mask);
  on(cpus.here, [&] {
    pull_here(sleeper.place, sleeper.tid());
    sleeper.wake();
  });
  EXPECT_EQ(sleeper.woken_on(), cpus.there);
  EXPECT_TRUE(equal(sleeper.woken(), mask));
  EXPECT_TRUE(equal(sleeper.after(), mask));
}

// PC2: a mask of its own comes back, and is not taken for that of the process.
TEST_F(PlaceTest, AMaskOfItsOwnComesBack) {
  const Pair cpus = two_cpus();
  cpu_set_t mask = only(cpus.here);
  CPU_SET(cpus.there, &mask);
  Sleeper sleeper(&mask);
  on(cpus.here, [&] {
    pull_here(sleeper.place, sleeper.tid());
    sleeper.wake();
  });
  EXPECT_EQ(sleeper.woken_on(), cpus.here);
  EXPECT_TRUE(equal(sleeper.after(), mask));
}

// PC2: who sets another mask between the two keeps it.
TEST_F(PlaceTest, AMaskThatSomebodySetsMeanwhileStays) {
  const Pair cpus = two_cpus();
  Sleeper sleeper(nullptr);
  on(cpus.here, [&] {
    pull_here(sleeper.place, sleeper.tid());
    const cpu_set_t mask = only(cpus.there);
    EXPECT_EQ(::sched_setaffinity(sleeper.tid(), sizeof mask, &mask), 0);
    sleeper.wake();
  });
  EXPECT_TRUE(equal(sleeper.after(), only(cpus.there)));
}

TEST_F(PlaceTest, AThreadThatHasEndedIsNoPlace) {
  Place place;
  constexpr int kNoThread = 0x7fffffff;
  pull_here(place, kNoThread);
  EXPECT_EQ(place.cpu, -1);
}

// Fibers that take turns: their own code never sees another mask than the process has, nor does it find one afterwards.
TEST_F(PlaceTest, FibersThatTakeTurnsSeeTheMaskOfTheProcess) {
  const cpu_set_t mine = mask_of(0);
  std::atomic<int> differ{0};
  const uint64_t preemptions = run({.procs = 2, .slice = std::chrono::milliseconds(1)}, [&] {
    std::vector<task<void>> hogs;
    for (int i = 0; i < 5; ++i) {
      hogs.push_back(spawn([&] {
        for (int j = 0; j < 200; ++j) {
          if (!equal(mask_of(0), mine)) ++differ;
          test::burn_here(1);
        }
      }));
    }
    for (auto& hog : hogs) hog.join();
    return stats().preemptions;
  });
  EXPECT_EQ(differ, 0);
  EXPECT_GT(preemptions, 10U);
  EXPECT_TRUE(equal(mask_of(0), mine));
}

}  // namespace
}  // namespace gort::os
