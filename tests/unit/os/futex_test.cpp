// futex: sleeping and waking, without ever sleeping in order to wait for another thread.
#include <gtest/gtest.h>
#include <linux/futex.h>

#include <atomic>
#include <cerrno>
#include <limits>
#include <thread>
#include <vector>

#include "os/os.hpp"

namespace gort::os {
namespace {

constexpr int64_t kMs = 1'000'000;

TEST(Futex, AChangedWordDoesNotSleep) {
  std::atomic<uint32_t> word{1};
  futexsleep(&word, 0, kForever);
  EXPECT_EQ(futex(&word, FUTEX_WAIT_PRIVATE, 0, nullptr, nullptr, 0), -EAGAIN);
}

TEST(Futex, TimesOut) {
  std::atomic<uint32_t> word{0};
  const int64_t start = nanotime();
  // May return early, so until the time has passed.
  while (nanotime() - start < 5 * kMs) futexsleep(&word, 0, 5 * kMs - (nanotime() - start));
  EXPECT_GE(nanotime() - start, 5 * kMs);
  futexsleep(&word, 0, 0);  // returns
}

TEST(Futex, LeavesErrnoAlone) {
  std::atomic<uint32_t> word{0};
  errno = 42;
  futexsleep(&word, 1, kForever);
  futexsleep(&word, 0, 1);
  futexwakeup(&word, 1);
  EXPECT_EQ(errno, 42);
}

TEST(Futex, WakesForeverAndLongSleepers) {
  for (const int64_t ns : {kForever, int64_t{-5}, std::numeric_limits<int64_t>::max()}) {
    std::atomic<uint32_t> word{0};
    std::thread sleeper([&] {
      while (word.load(std::memory_order_acquire) == 0) futexsleep(&word, 0, ns);
    });
    word.store(1, std::memory_order_release);
    futexwakeup(&word, 1);
    sleeper.join();
  }
}

TEST(Futex, WakesAtMostN) {
  std::atomic<uint32_t> word{0};
  std::atomic<int> tokens{0};
  constexpr int kSleepers = 4;
  std::vector<std::thread> sleepers;
  for (int i = 0; i < kSleepers; i++) {
    sleepers.emplace_back([&] {
      while (word.load(std::memory_order_acquire) == 0) futexsleep(&word, 0, kForever);
      tokens.fetch_add(1, std::memory_order_relaxed);
    });
  }
  // The kernel says how many it woke: wake one at a time until every sleeper has been seen asleep
  // once.
  for (int woken = 0; woken < kSleepers;) {
    const long n = futex(&word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
    ASSERT_GE(n, 0);
    ASSERT_LE(n, 1);
    woken += static_cast<int>(n);
    osyield();
  }
  word.store(1, std::memory_order_release);
  futexwakeup(&word, std::numeric_limits<int32_t>::max());
  for (std::thread& t : sleepers) t.join();
  EXPECT_EQ(tokens.load(), kSleepers);
}

// What Lock (invariant L2) relies on: a wake at an address that was freed meanwhile is harmless.
TEST(Futex, AWakeAtAnUnmappedAddressWakesNobody) {
  void* page = mem_map(system_info().page_bytes);
  mem_unmap(page, system_info().page_bytes);
  futexwakeup(static_cast<std::atomic<uint32_t>*>(page), 1);
}

TEST(FutexDeathTest, AMisalignedWakeIsABrokenInvariant) {
  alignas(8) char bytes[8] = {};
  EXPECT_DEATH(futexwakeup(reinterpret_cast<std::atomic<uint32_t>*>(bytes + 1), 1),
               "gort: fatal: futexwakeup addr=0x[0-9a-f]+ returned: -22");
}

}  // namespace
}  // namespace gort::os
