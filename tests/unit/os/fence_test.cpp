// fence: the asymmetric pair orders a store before a load on both sides (Dekker's litmus).
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "os/os.hpp"

namespace gort::os {
namespace {

TEST(Fence, HeavyReturns) {
  fence_heavy();
  osinit();
  for (int i = 0; i < 100; i++) fence_heavy();
}

// FE1: never do both sides read 0. Each round both threads start from a common gate.
TEST(Fence, StoreBeforeLoadOnBothSides) {
  osinit();
  constexpr int kRounds = 5'000;
  std::atomic<int> gate{0};
  std::atomic<int> x{0};
  std::atomic<int> y{0};
  int light_saw = 0;
  std::atomic<int> done{0};
  std::thread light([&] {
    for (int round = 1; round <= kRounds; round++) {
      while (gate.load(std::memory_order_acquire) != round) osyield();
      x.store(1, std::memory_order_relaxed);
      fence_light();
      light_saw = y.load(std::memory_order_relaxed);
      done.store(round, std::memory_order_release);
    }
  });
  int both_zero = 0;
  for (int round = 1; round <= kRounds; round++) {
    x.store(0, std::memory_order_relaxed);
    y.store(0, std::memory_order_relaxed);
    gate.store(round, std::memory_order_release);
    y.store(1, std::memory_order_relaxed);
    fence_heavy();
    const int heavy_saw = x.load(std::memory_order_relaxed);
    while (done.load(std::memory_order_acquire) != round) osyield();
    if (heavy_saw == 0 && light_saw == 0) both_zero++;
  }
  light.join();
  EXPECT_EQ(both_zero, 0);
}

// FE2. A process of its own: here osinit() has been called long since.
TEST(FenceDeathTest, LightFencesAreRealUntilTheHeavyOneIs) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        if (!light_fence_is_real.load(std::memory_order_relaxed)) _exit(1);
        osinit();
        const bool refused = syscall(SYS_membarrier, 0, 0, 0) < 0;
        const bool real = light_fence_is_real.load(std::memory_order_relaxed);
        osinit();
        if (real != light_fence_is_real.load(std::memory_order_relaxed)) _exit(2);
        _exit(real == refused ? 0 : 3);
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace gort::os
