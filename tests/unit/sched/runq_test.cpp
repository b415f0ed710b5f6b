// RunQueue with a small N, so that it wraps and overflows all the time. Q1..Q4 are runq.hpp's.
#include "sched/runq.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace gort {
namespace {

struct Item {
  int number = 0;
  std::atomic<int> taken{0};
};

constexpr uint32_t kSlots = 8;
using Queue = RunQueue<Item, kSlots>;

TEST(RunQueue, IsFirstInFirstOut) {
  Queue q;
  Item items[kSlots];
  EXPECT_EQ(q.take(), nullptr);
  for (int turn = 0; turn < 100; ++turn) {  // wraps at every turn
    for (Item& i : items) ASSERT_TRUE(q.push(&i));
    EXPECT_EQ(q.size(), kSlots);
    for (Item& i : items) ASSERT_EQ(q.take(), &i);
    EXPECT_TRUE(q.empty());
    EXPECT_TRUE(q.empty_for_owner());
    EXPECT_EQ(q.take(), nullptr);
    ASSERT_TRUE(q.push(&items[0]));  // shifts the next turn
    ASSERT_EQ(q.take_alone(), &items[0]);
    EXPECT_EQ(q.take_alone(), nullptr);
  }
}

TEST(RunQueue, RefusesWhenFull) {
  Queue q;
  Item items[kSlots + 1];
  for (uint32_t i = 0; i < kSlots; ++i) ASSERT_TRUE(q.push(&items[i]));
  EXPECT_FALSE(q.push(&items[kSlots]));
  EXPECT_EQ(q.take(), &items[0]);
  EXPECT_TRUE(q.push(&items[kSlots]));
}

TEST(RunQueue, TakesTheOlderHalfOut) {
  Queue q;
  Item items[kSlots];
  for (Item& i : items) ASSERT_TRUE(q.push(&i));
  Item* out[kSlots / 2];
  ASSERT_EQ(q.take_half(out), kSlots / 2);
  for (uint32_t i = 0; i < kSlots / 2; ++i) EXPECT_EQ(out[i], &items[i]);
  EXPECT_EQ(q.size(), kSlots / 2);
  EXPECT_EQ(q.take(), &items[kSlots / 2]);
}

TEST(RunQueue, AThiefGetsHalfRoundedUp) {
  for (uint32_t n = 0; n <= kSlots; ++n) {
    Queue from;
    Queue to;
    Item items[kSlots];
    for (uint32_t i = 0; i < n; ++i) ASSERT_TRUE(from.push(&items[i]));
    Item* first = from.steal_into(to);
    const uint32_t moved = n - n / 2;
    EXPECT_EQ(from.size(), n - moved);
    if (n == 0) {
      EXPECT_EQ(first, nullptr);
      continue;
    }
    // The thief runs the last of the moved ones and queues the others in order.
    EXPECT_EQ(first, &items[moved - 1]);
    EXPECT_EQ(to.size(), moved - 1);
    for (uint32_t i = 0; i + 1 < moved; ++i) EXPECT_EQ(to.take(), &items[i]);
  }
}

// Q3: with an owner and thieves at work, each item is taken by exactly one of them.
TEST(RunQueue, NothingIsLostOrTakenTwice) {
  constexpr int kItems = 200'000;
  constexpr int kThieves = 3;
  std::vector<Item> items(kItems);
  Queue q;
  std::atomic<bool> end{false};
  std::atomic<int> taken{0};
  const auto take = [&](Item* i) {
    if (i == nullptr) return;
    i->taken.fetch_add(1, std::memory_order_relaxed);
    taken.fetch_add(1, std::memory_order_relaxed);
  };
  std::vector<std::thread> thieves;
  for (int t = 0; t < kThieves; ++t) {
    thieves.emplace_back([&] {
      Queue mine;
      while (!end.load()) {
        take(q.steal_into(mine));
        while (Item* i = mine.take()) take(i);
      }
    });
  }
  for (Item& i : items) {
    while (!q.push(&i)) {
      Item* half[kSlots / 2];
      const uint32_t n = q.take_half(half);
      for (uint32_t k = 0; k < n; ++k) take(half[k]);
    }
    if (&i - items.data() < kItems / 2) take(q.take());
  }
  while (Item* i = q.take()) take(i);
  while (taken.load() != kItems) std::this_thread::yield();  // what thieves hold
  end.store(true);
  for (auto& t : thieves) t.join();
  for (const Item& i : items) ASSERT_EQ(i.taken.load(), 1);
}

}  // namespace
}  // namespace gort
