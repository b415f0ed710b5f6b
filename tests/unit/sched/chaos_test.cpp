// chaos: the streams that its decisions come from. What it does to a runtime is in
// tests/death/chaos_test.cpp, where each case has a process and settings of its own.
#include "sched/chaos.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>
#include <vector>

namespace gort {
namespace {

// Whatever the seed that these tests run under, the process goes on without chaos: no runtime is alive.
class Chaos : public testing::Test {
 protected:
  void SetUp() override {
    if (!kChecked) GTEST_SKIP() << "no chaos in this build";
  }
  void TearDown() override { chaos_end(); }
};

// What a new thread, the first to come, is told in one run.
std::vector<uint64_t> drawn(uint64_t seed, uint32_t run) {
  constexpr size_t kNumbers = 100;
  chaos_begin(seed, run);
  std::vector<uint64_t> out(kNumbers);
  std::thread([&out] { std::generate(out.begin(), out.end(), chaos_number); }).join();
  return out;
}

// Z4.
TEST_F(Chaos, ASeedRepeatsItsDecisions) {
  EXPECT_EQ(drawn(7, 1), drawn(7, 1));
}

TEST_F(Chaos, SeedsRunsAndThreadsDiffer) {
  const std::vector<uint64_t> first = drawn(7, 1);
  EXPECT_NE(first, drawn(8, 1));
  EXPECT_NE(first, drawn(7, 2));
  chaos_begin(7, 1);
  std::thread([] { (void)chaos_number(); }).join();
  uint64_t second = 0;
  std::thread([&second] { second = chaos_number(); }).join();
  EXPECT_NE(first[0], second);
}

TEST_F(Chaos, ChancesAreWhatTheySay) {
  chaos_begin(1, 1);
  int hits = 0;
  for (int i = 0; i < 100'000; ++i) hits += chaos_one_in(4) ? 1 : 0;
  EXPECT_NEAR(hits, 25'000, 1'000);  // seven standard deviations
}

// Z2, as far as it shows: without chaos a hook does nothing.
TEST_F(Chaos, NothingHappensWithoutIt) {
  EXPECT_FALSE(chaos());
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(chaos_one_in(1));
}

TEST_F(Chaos, EveryPointMayBePassedAnywhere) {
  chaos_begin(3, 1);
  for (int i = 0; i < static_cast<int>(ChaosPoint::count); ++i) {
    for (int k = 0; k < 100; ++k) chaos_point(static_cast<ChaosPoint>(i));
  }
}

}  // namespace
}  // namespace gort
