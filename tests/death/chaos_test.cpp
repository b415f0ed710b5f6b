// GORT_DEBUG=chaos=SEED: what it says, and that it changes who runs when.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "base/checked.hpp"
#include "gort/run.hpp"
#include "gort/spawn.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using testing::ExitedWithCode;

class ChaosDeathTest : public testing::Test {
 protected:
  ChaosDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

constexpr int kFibers = 100;

// The order in which fibers run that one fiber starts, all on one P.
std::vector<int> order() {
  std::vector<int> seen;
  run(options{.procs = 1}, [&seen] {
    std::vector<task<void>> tasks;
    for (int i = 0; i < kFibers; ++i) tasks.push_back(spawn([&seen, i] { seen.push_back(i); }));
    for (auto& t : tasks) t.join();
  });
  return seen;
}

// How many fibers ran right after the one that was started before, which nearly all do by themselves.
int in_order() {
  const std::vector<int> seen = order();
  int n = 0;
  for (size_t i = 1; i < seen.size(); ++i) n += seen[i] == seen[i - 1] + 1 ? 1 : 0;
  return n;
}

TEST_F(ChaosDeathTest, SaysItsSeedOnce) {
  if (!kChecked) GTEST_SKIP() << "no chaos in this build";
  EXPECT_EXIT(
      {
        setenv("GORT_DEBUG", "chaos=5", 1);
        run([] {});
        run([] {});
        _exit(0);
      },
      ExitedWithCode(0), "^gort: chaos: seed 5; repeat with GORT_DEBUG=chaos=5\n$");
}

TEST_F(ChaosDeathTest, MayChooseItsSeed) {
  if (!kChecked) GTEST_SKIP() << "no chaos in this build";
  EXPECT_EXIT(
      {
        setenv("GORT_DEBUG", "chaos=random", 1);
        run([] {});
        _exit(0);
      },
      ExitedWithCode(0), "gort: chaos: seed [0-9]+; repeat with GORT_DEBUG=chaos=[0-9]+\n");
}

TEST_F(ChaosDeathTest, ChangesTheOrder) {
  if (!kChecked) GTEST_SKIP() << "no chaos in this build";
  EXPECT_EXIT(
      {
        setenv("GORT_DEBUG", "chaos=5", 1);
        _exit(in_order() < kFibers * 3 / 4 ? 0 : 1);
      },
      ExitedWithCode(0), "");
  EXPECT_EXIT(
      {
        unsetenv("GORT_DEBUG");
        _exit(in_order() > kFibers * 3 / 4 ? 0 : 1);
      },
      ExitedWithCode(0), "");
}

TEST_F(ChaosDeathTest, OtherBuildsSayThatTheyHaveNone) {
  if (kChecked) GTEST_SKIP() << "this build has it";
  EXPECT_EXIT(
      {
        setenv("GORT_DEBUG", "chaos=5", 1);
        run([] {});
        _exit(0);
      },
      ExitedWithCode(0), "gort: GORT_DEBUG=chaos=5 ignored: this build of gort has no chaos mode");
}

}  // namespace
}  // namespace gort
