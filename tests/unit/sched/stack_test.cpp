// StackPool: guards, cost per slot, and giving memory back. The invariants K1..K5 are stack.hpp's.
#include "sched/stack.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "os/os.hpp"
#include "support/random.hpp"
#include "support/sanitized.hpp"

namespace gort {
namespace {

using test::kSanitizers;

constexpr size_t kStack = StackPool::kDefaultStackBytes;
constexpr size_t kUnlimited = SIZE_MAX;

size_t page() {
  return os::system_info().page_bytes;
}

size_t slot() {
  return kStack + page();
}

int count_mappings() {
  std::ifstream maps("/proc/self/maps");
  int n = 0;
  for (std::string line; std::getline(maps, line);) n++;
  return n;
}

size_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  size_t total = 0;
  size_t resident = 0;
  statm >> total >> resident;
  return resident * page();
}

size_t address_space_bytes() {
  std::ifstream statm("/proc/self/statm");
  size_t total = 0;
  statm >> total;
  return total * page();
}

std::vector<std::byte*> take(StackPool& pool, size_t n) {
  std::vector<std::byte*> out(n, nullptr);
  out.resize(pool.take(out));
  return out;
}

// ---- handing out --------------------------------------------------------------------------------

TEST(StackPool, StackSizes) {
  EXPECT_EQ(StackPool::stack_bytes_for(kStack), kStack);
  EXPECT_EQ(StackPool::stack_bytes_for(kStack + 1), 2 * kStack);
  EXPECT_EQ(StackPool::stack_bytes_for(0), 4 * page());
  EXPECT_EQ(StackPool::stack_bytes_for(1), 4 * page());
  EXPECT_EQ(StackPool::stack_bytes_for(SIZE_MAX), size_t{1} << 40);
}

TEST(StackPool, SlotsAreDistinctAlignedZeroedAndWritable) {
  StackPool pool(kStack);
  const std::vector<std::byte*> slots = take(pool, 700);  // three slabs
  ASSERT_EQ(slots.size(), 700u);
  EXPECT_EQ(std::set<std::byte*>(slots.begin(), slots.end()).size(), slots.size());
  for (std::byte* end : slots) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(end) % page(), 0u);
    EXPECT_EQ(end[-1], std::byte{0});
    end[-1] = std::byte{1};
    std::byte* lowest = end - slot() + pool.guard_bytes();
    EXPECT_EQ(*lowest, std::byte{0});
    *lowest = std::byte{1};
  }
  EXPECT_EQ(pool.stats().slots_out, 700u);
  pool.give(slots);
  EXPECT_EQ(pool.stats().slots_out, 0u);
}

TEST(StackPool, EverySizeWorks) {
  for (size_t bytes = 4 * page(); bytes <= size_t{1} << 30; bytes *= 4) {
    StackPool pool(bytes);
    const std::vector<std::byte*> slots = take(pool, 3);
    ASSERT_EQ(slots.size(), 3u) << bytes;
    for (std::byte* end : slots) end[-1] = std::byte{1};
    pool.give(slots);
    EXPECT_GE(pool.stats().bytes_reserved, 3 * bytes);
  }
}

TEST(StackPool, WarmSlotsComeBackLastInFirstOut) {
  StackPool pool(kStack);
  const std::vector<std::byte*> slots = take(pool, 3);
  pool.give(std::span(slots).subspan(0, 1));
  pool.give(std::span(slots).subspan(1, 2));
  const std::vector<std::byte*> again = take(pool, 3);
  EXPECT_EQ(again, (std::vector<std::byte*>{slots[2], slots[1], slots[0]}));
  pool.give(again);
}

TEST(StackPool, TakingNothingAndGivingNothing) {
  StackPool pool(kStack);
  EXPECT_EQ(pool.take({}), 0u);
  pool.give({});
  EXPECT_EQ(pool.scavenge(100), 0u);
  EXPECT_EQ(pool.stats().slots_reserved, 0u);
}

TEST(StackPoolDeathTest, BrokenInvariants) {
  StackPool pool(kStack);
  std::vector<std::byte*> slots = take(pool, 1);
  EXPECT_DEATH(
      {
        pool.give(slots);
        pool.give(slots);
      },
      "K1: a stack was given back twice");
  std::byte* middle[] = {slots[0] - 16};
  EXPECT_DEATH(pool.give(middle), "K1: a stack that is not this pool's");
  std::byte here{};
  std::byte* foreign[] = {&here};
  EXPECT_DEATH(pool.give(foreign), "K1: a stack that is not this pool's");
  EXPECT_DEATH(
      {
        StackPool dying(kStack);
        static_cast<void>(take(dying, 1));
      },
      "K5: a stack is in use");
  pool.give(slots);
}

// ---- guards (K2) --------------------------------------------------------------------------------

TEST(StackPoolDeathTest, TheGuardFaultsAlsoAfterRecycling) {
  StackPool pool(kStack);
  std::vector<std::byte*> slots = take(pool, 40);  // more than one batch
  ASSERT_NE(pool.stats().guard, GuardKind::none);
  for (const size_t i : {size_t{0}, size_t{31}, size_t{39}}) {
    std::byte* guard = slots[i] - slot();
    EXPECT_DEATH(*guard = std::byte{1}, "") << i;
    EXPECT_DEATH(guard[page() - 1] = std::byte{1}, "") << i;
    guard[page()] = std::byte{1};
  }
  pool.give(slots);
  pool.scavenge(40);
  slots = take(pool, 40);
  for (std::byte* end : slots) EXPECT_EQ(os::mem_resident(end - slot(), page()), 0u);
  EXPECT_DEATH(*(slots[0] - slot()) = std::byte{1}, "");
  pool.give(slots);
}

TEST(StackPoolDeathTest, ProtectNoneGuardsFault) {
  StackPool pool(kStack, GuardKind::protect_none, kUnlimited);
  const std::vector<std::byte*> slots = take(pool, 2);
  EXPECT_EQ(pool.stats().guard, GuardKind::protect_none);
  EXPECT_EQ(pool.stats().slots_unguarded, 0u);
  for (std::byte* end : slots) {
    EXPECT_DEATH(*(end - slot()) = std::byte{1}, "");
    *(end - slot() + page()) = std::byte{1};
  }
  pool.give(slots);
}

TEST(StackPool, ProtectNoneGuardsAreCountedAsMappings) {
  const int before = count_mappings();
  StackPool pool(kStack, GuardKind::protect_none, kUnlimited);
  const std::vector<std::byte*> slots = take(pool, 500);
  const int grown = count_mappings() - before;
  EXPECT_GE(grown, 900);
  EXPECT_NEAR(static_cast<double>(pool.stats().mappings), grown, 100);
  pool.give(slots);
}

// Nothing of the program's beside it loses a huge page to it.
TEST(StackPool, ASlabIsAWholeNumberOfHugePages) {
  const size_t huge = os::system_info().huge_page_bytes;
  if (huge == 0) GTEST_SKIP() << "this kernel has none";
  StackPool pool(kStack);
  std::byte* end = nullptr;
  ASSERT_EQ(pool.take({&end, 1}), 1U);
  EXPECT_EQ(pool.stats().bytes_reserved % huge, 0U);
  pool.give({&end, 1});
}

TEST(StackPool, AnExhaustedBudgetMeansNoGuardAndOneWarning) {
  constexpr size_t kBudget = 50;
  ::testing::internal::CaptureStderr();
  {
    StackPool pool(kStack, GuardKind::protect_none, kBudget);
    const std::vector<std::byte*> slots = take(pool, 200);
    ASSERT_EQ(slots.size(), 200u);
    for (std::byte* end : slots) end[-1] = std::byte{1};
    EXPECT_EQ(pool.stats().guard, GuardKind::none);
    EXPECT_EQ(pool.stats().slots_unguarded, 200 - kBudget);
    *(slots[199] - slot()) = std::byte{1};  // no guard, no fault
    const std::vector<std::byte*> more = take(pool, 100);
    EXPECT_GE(pool.stats().slots_unguarded, 300 - kBudget);
    pool.give(slots);
    pool.give(more);
  }
  {
    // The first pool's guards are gone, so the budget is there again.
    StackPool pool(kStack, GuardKind::protect_none, kBudget);
    const std::vector<std::byte*> slots = take(pool, 32);
    EXPECT_EQ(pool.stats().guard, GuardKind::protect_none);
    EXPECT_EQ(pool.stats().slots_unguarded, 0u);
    pool.give(slots);
  }
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(text.find("gort: warning: further stacks have no guard page"), 0u) << text;
  EXPECT_EQ(text.find('\n'), text.size() - 1) << text;
}

TEST(StackPool, NoGuardsOnRequestIsSilent) {
  ::testing::internal::CaptureStderr();
  StackPool pool(kStack, GuardKind::none, 0);
  const std::vector<std::byte*> slots = take(pool, 1);
  *(slots[0] - slot()) = std::byte{1};
  EXPECT_GE(pool.stats().slots_unguarded, 1u);
  pool.give(slots);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

// ---- what it costs ------------------------------------------------------------------------------

// A million slots, of which a tenth is touched: a first touch costs 0.3 us on one machine and 80 on a
// busy virtual one (CrowdAlone in crowd_test.cpp touches them all). "Alone" for its 400 MB.
TEST(StackPoolAlone, AMillionSlotsWithOnePageEach) {
  constexpr size_t kCount = kSanitizers ? 10'000 : 1'000'000;
  constexpr size_t kTouched = kCount / 10;
  constexpr size_t kBytesPerSlotMax = 4608;  // one page, and an eighth for everything else
  constexpr int kMappingsMax = 16;
  StackPool pool(kStack);
  if (pool.stats().guard != GuardKind::madvise) GTEST_SKIP() << "kernel before 6.13";
  std::vector<std::byte*> slots(kCount, nullptr);
  const int mappings_before = count_mappings();
  const size_t resident_before = resident_bytes();
  const int64_t start_ns = os::nanotime();
  size_t taken = 0;
  while (taken < kCount) {
    const size_t n =
        pool.take(std::span(slots).subspan(taken, std::min<size_t>(64, kCount - taken)));
    if (n == 0) break;
    taken += n;
  }
  const int64_t taken_ns = os::nanotime();
  if (taken < kCount) {
    pool.give(std::span(slots).first(taken));
    GTEST_SKIP() << "the address space ends at " << taken << " slots";
  }
  const size_t touched = kTouched;
  for (size_t i = 0; i < touched; i++) slots[i][-1] = std::byte{1};
  const int64_t touched_ns = os::nanotime();
  const size_t resident = resident_bytes() - resident_before;
  const int mappings = count_mappings() - mappings_before;
  pool.give(slots);
  const int64_t given_ns = os::nanotime();
  const size_t freed = pool.scavenge(kCount);
  const int64_t end_ns = os::nanotime();

  const auto each = [](int64_t ns, size_t n) {
    return static_cast<long>(ns) / static_cast<long>(n);
  };
  std::printf(
      "%zu slots: take %ld ns each, first touch %ld (%zu touched), give %ld, scavenge %ld; "
      "%zu bytes resident per touched slot, %d mappings more\n",
      kCount, each(taken_ns - start_ns, kCount), each(touched_ns - taken_ns, touched), touched,
      each(given_ns - touched_ns, kCount), each(end_ns - given_ns, kCount), resident / touched,
      mappings);
  EXPECT_LE(pool.stats().mappings, static_cast<size_t>(kMappingsMax));
  EXPECT_EQ(freed, touched * page());
  EXPECT_EQ(pool.stats().slots_warm, 0u);
  if (!kSanitizers) {  // a sanitizer maps shadow memory, too
    EXPECT_LE(mappings, kMappingsMax);
    EXPECT_LE(resident / touched, kBytesPerSlotMax);
    EXPECT_LE(resident_bytes() - resident_before, resident / 20);
  }
}

TEST(StackPool, ScavengeTakesTheLongestUnusedAndMakesThemCold) {
  StackPool pool(kStack);
  const std::vector<std::byte*> slots = take(pool, 4);
  for (std::byte* end : slots) std::memset(end - 3 * page(), 1, 3 * page());
  pool.give(std::span(slots).first(3));  // one stays out, so that the slab is in use
  EXPECT_EQ(pool.scavenge(2), 2 * 3 * page());
  EXPECT_EQ(pool.stats().slots_warm, 1u);
  EXPECT_EQ(os::mem_resident(slots[0] - slot(), slot()), 0u);
  EXPECT_EQ(os::mem_resident(slots[1] - slot(), slot()), 0u);
  EXPECT_EQ(os::mem_resident(slots[2] - slot(), slot()), 3 * page());
  EXPECT_EQ(os::mem_resident(slots[3] - slot(), slot()), 3 * page());
  const std::vector<std::byte*> again = take(pool, 1);
  EXPECT_EQ(again[0], slots[2]);  // warm before cold
  pool.give(again);
  pool.give(std::span(slots).last(1));
}

TEST(StackPool, ScavengeOfAFreeSlabKeepsToItsLimit) {
  StackPool pool(kStack);
  const std::vector<std::byte*> slots = take(pool, 100);
  for (std::byte* end : slots) end[-1] = std::byte{1};
  pool.give(slots);
  EXPECT_EQ(pool.scavenge(30), 30 * page());
  EXPECT_EQ(pool.stats().slots_warm, 70u);
  EXPECT_EQ(pool.scavenge(1000), 70 * page());
  EXPECT_EQ(pool.scavenge(1000), 0u);
  const std::vector<std::byte*> again = take(pool, 100);
  for (std::byte* end : again) EXPECT_EQ(end[-1], std::byte{0});
  EXPECT_EQ(pool.stats().slots_reserved, 252u);
  pool.give(again);
}

TEST(StackPool, WhatIsWarmAllTheTimeIsUnused) {
  StackPool pool(kStack);
  const std::vector<std::byte*> slots = take(pool, 10);
  pool.give(slots);
  EXPECT_EQ(pool.warm_unused(), 0u);  // none was warm from the beginning
  EXPECT_EQ(pool.warm_unused(), 10u);
  pool.give(take(pool, 7));
  EXPECT_EQ(pool.warm_unused(), 3u);
  EXPECT_EQ(pool.warm_unused(), 10u);
  pool.scavenge(4);
  EXPECT_EQ(pool.warm_unused(), 6u);
}

// K3.
TEST(StackPool, ForEachVisitsWhatIsOutOrWarm) {
  StackPool pool(kStack);
  const auto visited = [&] {
    std::set<std::byte*> out;
    pool.for_each([&](std::byte* end) { EXPECT_TRUE(out.insert(end).second); });
    return out;
  };
  EXPECT_TRUE(visited().empty());
  const std::vector<std::byte*> slots = take(pool, 300);
  EXPECT_EQ(visited(), std::set<std::byte*>(slots.begin(), slots.end()));
  pool.give(std::span(slots).first(200));
  EXPECT_EQ(visited().size(), 300u);
  pool.scavenge(150);
  EXPECT_EQ(visited(), std::set<std::byte*>(slots.begin() + 150, slots.end()));
  pool.give(std::span(slots).last(100));
  pool.scavenge(kUnlimited);
  EXPECT_TRUE(visited().empty());
}

TEST(StackPool, MemoryRefusedIsAShortAnswer) {
  if (kSanitizers) GTEST_SKIP() << "sanitizers need their address space";
  rlimit saved;
  ASSERT_EQ(::getrlimit(RLIMIT_AS, &saved), 0);
  StackPool pool(kStack);
  std::vector<std::byte*> slots(2000, nullptr);
  constexpr size_t kRoom = size_t{300} << 20;  // four slabs of 64 MiB and a bit
  rlimit tight = saved;
  tight.rlim_cur = address_space_bytes() + kRoom;
  ASSERT_EQ(::setrlimit(RLIMIT_AS, &tight), 0);
  const size_t n = pool.take(slots);
  const size_t none = pool.take(std::span(slots).subspan(n));
  StackPool refused(kStack);  // not even a table
  std::byte* one[1];
  const size_t from_refused = refused.take(one);
  ASSERT_EQ(::setrlimit(RLIMIT_AS, &saved), 0);
  EXPECT_EQ(n, 4u * 252);
  EXPECT_EQ(none, 0u);
  if (from_refused == 1) refused.give(one);                             // there was room after all
  EXPECT_EQ(pool.take(std::span(slots).subspan(n)), slots.size() - n);  // and it recovers
  pool.give(slots);
}

TEST(StackPool, TheLastBitOfAddressSpaceIsEnoughForNothing) {
  if (kSanitizers) GTEST_SKIP() << "sanitizers need their address space";
  rlimit saved;
  ASSERT_EQ(::getrlimit(RLIMIT_AS, &saved), 0);
  rlimit tight = saved;
  tight.rlim_cur = address_space_bytes() + (size_t{4} << 20);
  ASSERT_EQ(::setrlimit(RLIMIT_AS, &tight), 0);
  size_t n = 1;
  StackStats stats;
  {
    StackPool pool(kStack);
    std::byte* one[1];
    n = pool.take(one);
    stats = pool.stats();
    pool.for_each([](std::byte*) { FAIL(); });
    pool.scavenge(10);
  }
  ASSERT_EQ(::setrlimit(RLIMIT_AS, &saved), 0);
  EXPECT_EQ(n, 0u);
  EXPECT_EQ(stats.slots_reserved, 0u);
}

// ---- all at once --------------------------------------------------------------------------------

// A slot's top word says who has it; 0: nobody, or its pages were given back.
std::atomic_ref<uint64_t> owner_of(std::byte* end) {
  return std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(end - sizeof(uint64_t)));
}

TEST(StackPool, TwoThreadsTakeAndGiveWhileAThirdScavengesAndLooks) {
  constexpr int kRounds = kSanitizers ? 2'000 : 20'000;
  constexpr size_t kHeldMax = 300;
  const uint64_t seed = test::test_seed();
  StackPool pool(64 << 10);
  std::atomic<int> running{2};
  std::atomic<int> stolen{0};
  std::atomic<size_t> seen_max{0};
  const auto work = [&](uint64_t me) {
    std::mt19937_64 random(seed + me);
    std::vector<std::byte*> held;
    for (int round = 0; round < kRounds; round++) {
      if (held.size() < kHeldMax && random() % 2 == 0) {
        for (std::byte* end : take(pool, random() % 20)) {
          if (owner_of(end).exchange(me, std::memory_order_relaxed) != 0) stolen++;
          held.push_back(end);
        }
        while (!held.empty() && seen_max.load() == 0) os::osyield();  // the third has begun to look
      } else {
        const size_t n = std::min<size_t>(held.size(), random() % 20);
        const auto slots = std::span(held).last(n);
        for (std::byte* end : slots) {
          if (owner_of(end).exchange(0, std::memory_order_relaxed) != me) stolen++;
        }
        pool.give(slots);
        held.resize(held.size() - n);
      }
    }
    for (std::byte* end : held) owner_of(end).store(0, std::memory_order_relaxed);
    pool.give(held);
    running--;
  };
  std::thread a(work, 1);
  std::thread b(work, 2);
  while (running.load() != 0) {
    pool.scavenge(50);
    size_t seen = 0;
    pool.for_each(
        [&](std::byte* end) { seen += owner_of(end).load(std::memory_order_relaxed) <= 2; });
    seen_max = std::max(seen_max.load(), seen);
    os::osyield();
  }
  a.join();
  b.join();
  EXPECT_EQ(stolen.load(), 0);
  EXPECT_GT(seen_max.load(), 0u);
  const StackStats stats = pool.stats();
  EXPECT_EQ(stats.slots_out, 0u);
  EXPECT_LE(stats.slots_warm + stats.slots_cold, stats.slots_reserved);
}

}  // namespace
}  // namespace gort
