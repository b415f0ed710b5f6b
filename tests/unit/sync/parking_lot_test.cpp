// parking_lot: the queues of a bucket, one per address (PL1), and the tree of addresses (PL6).
#include "sync/parking_lot.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <numeric>
#include <vector>

#include "base/random.hpp"

namespace gort {
namespace {

// Waiters that never park: the bucket does not look at more than the queue's links.
struct Waiters {
  ParkingBucket bucket;
  std::array<char, 3> objects{};
  std::array<Parked, 8> w;

  Parked& at(size_t i, size_t object) {
    w[i].address = &objects[object];
    return w[i];
  }
  std::vector<long> drain(size_t object) {
    std::vector<long> order;
    while (const Parked* p = bucket.pop(&objects[object])) order.push_back(p - w.data());
    return order;
  }
};

TEST(ParkingLot, OneQueuePerAddressFirstInFirstOut) {
  Waiters t;
  for (size_t i = 0; i < 6; ++i) t.bucket.push_back(t.at(i, i % 3));
  EXPECT_EQ(t.drain(1), (std::vector<long>{1, 4}));
  EXPECT_FALSE(t.bucket.has(&t.objects[1]));
  EXPECT_TRUE(t.bucket.has(&t.objects[0]));
  EXPECT_EQ(t.drain(0), (std::vector<long>{0, 3}));
  EXPECT_EQ(t.drain(2), (std::vector<long>{2, 5}));
  EXPECT_EQ(t.bucket.top, nullptr);
}

TEST(ParkingLot, PushFrontGoesFirst) {
  Waiters t;
  t.bucket.push_front(t.at(0, 0));
  t.bucket.push_back(t.at(1, 0));
  t.bucket.push_back(t.at(2, 1));
  t.bucket.push_front(t.at(3, 0));
  t.bucket.push_back(t.at(4, 0));
  EXPECT_EQ(t.drain(0), (std::vector<long>{3, 0, 1, 4}));
  EXPECT_EQ(t.drain(1), (std::vector<long>{2}));
}

TEST(ParkingLot, TakesOutAnywhere) {
  for (size_t victim = 0; victim < 4; ++victim) {
    Waiters t;
    t.bucket.push_back(t.at(6, 1));
    std::vector<long> expected;
    for (size_t i = 0; i < 4; ++i) {
      t.bucket.push_back(t.at(i, 0));
      if (i != victim) expected.push_back(static_cast<long>(i));
    }
    t.bucket.push_back(t.at(7, 2));
    EXPECT_TRUE(t.bucket.take_out(t.w[victim]));
    EXPECT_FALSE(t.bucket.take_out(t.w[victim]));
    t.bucket.push_back(t.at(5, 0));
    expected.push_back(5);
    EXPECT_EQ(t.drain(0), expected);
    EXPECT_EQ(t.drain(1), (std::vector<long>{6}));
    EXPECT_EQ(t.drain(2), (std::vector<long>{7}));
  }
}

// W1: one whose time limit has come is passed over, and finds itself out.
TEST(ParkingLot, PopPassesOverTheTimedOut) {
  Waiters t;
  Timer timer;
  t.w[0].timer = &timer;
  t.w[1].timer = &timer;
  t.bucket.push_back(t.at(0, 0));
  t.bucket.push_back(t.at(1, 0));
  ASSERT_TRUE(claim(t.w[0]));
  EXPECT_EQ(t.bucket.pop(&t.objects[0]), &t.w[1]);
  EXPECT_FALSE(t.w[0].queued);
  EXPECT_FALSE(claim(t.w[1]));
}

// Addresses that nobody looks behind.
const void* address_at(uint64_t n) {
  return reinterpret_cast<const void*>(static_cast<uintptr_t>(n));
}

// PL6. Returns how deep it is, and lists its nodes from left to right.
size_t check_tree(const Parked* at, std::vector<const Parked*>& nodes) {
  if (at == nullptr) return 0;
  for (const Parked* child : {static_cast<Parked*>(at->left), static_cast<Parked*>(at->right)}) {
    if (child != nullptr) {
      EXPECT_GE(at->priority, child->priority);
    }
  }
  EXPECT_EQ(at->prev, nullptr);
  const size_t left = check_tree(at->left, nodes);
  nodes.push_back(at);
  const size_t right = check_tree(at->right, nodes);
  return 1 + std::max(left, right);
}

// What must be there, in a std::map.
class Mirror {
 public:
  enum class At { front, back };

  Mirror() : free_(waiters_.size()) { std::iota(free_.begin(), free_.end(), size_t{0}); }

  void push(const void* address, At end) {
    if (free_.empty()) return;
    Parked& w = waiters_[free_.back()];
    free_.pop_back();
    w.address = address;
    std::deque<Parked*>& queue = queues_[address];
    if (end == At::front) {
      bucket_.push_front(w);
      queue.push_front(&w);
    } else {
      bucket_.push_back(w);
      queue.push_back(&w);
    }
  }
  void pop(const void* address) {
    const auto it = queues_.find(address);
    EXPECT_EQ(bucket_.has(address), it != queues_.end());
    Parked* expected = it == queues_.end() ? nullptr : it->second.front();
    EXPECT_EQ(bucket_.pop(address), expected);
    if (expected != nullptr) forget(expected);
  }
  void take_out(size_t i) {
    const bool queued = waiters_[i].queued;
    EXPECT_EQ(bucket_.take_out(waiters_[i]), queued);
    if (queued) forget(&waiters_[i]);
  }
  void compare() {
    std::vector<const Parked*> nodes;
    check_tree(bucket_.top, nodes);
    ASSERT_EQ(nodes.size(), queues_.size());
    auto node = nodes.begin();
    for (const auto& [address, queue] : queues_) {
      ASSERT_EQ((*node)->address, address);
      ASSERT_EQ((*node)->last, queue.back());
      const Parked* w = *node++;
      for (const Parked* expected : queue) {
        ASSERT_EQ(w, expected);
        w = w->next;
      }
      ASSERT_EQ(w, nullptr);
    }
  }
  [[nodiscard]] size_t size() const { return waiters_.size(); }

 private:
  void forget(Parked* w) {
    std::deque<Parked*>& queue = queues_[w->address];
    queue.erase(std::find(queue.begin(), queue.end(), w));
    if (queue.empty()) queues_.erase(w->address);
    free_.push_back(static_cast<size_t>(w - waiters_.data()));
  }

  ParkingBucket bucket_;
  std::vector<Parked> waiters_ = std::vector<Parked>(600);
  std::vector<size_t> free_;
  std::map<const void*, std::deque<Parked*>, std::less<>> queues_;
};

TEST(ParkingLot, KeepsManyAddressesLikeAMap) {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    Random random;
    random.seed(seed);
    Mirror both;
    const uint64_t addresses = uint64_t{1} << seed;  // from long queues to single waiters
    for (int step = 0; step < 20'000; ++step) {
      const uint64_t n = random.next();
      const void* address = address_at(0x10000 + 8 * ((n >> 8) % addresses));
      switch (n % 8) {
        case 0:
          both.push(address, Mirror::At::front);
          break;
        case 1:
        case 2:
        case 3:
          both.push(address, Mirror::At::back);
          break;
        case 4:
        case 5:
          both.pop(address);
          break;
        default:
          both.take_out((n >> 32) % both.size());
      }
      if (step % 64 != 0) continue;
      ASSERT_NO_FATAL_FAILURE(both.compare()) << "seed " << seed;
    }
  }
}

// PL6: as an array has them, a page, a stack; and in any order.
TEST(ParkingLot, IsNotDeepWhateverTheAddressesHaveInCommon) {
  constexpr size_t kObjects = 4096;
  constexpr size_t kDeepest = 40;  // 3 or 4 times the 12 of a perfect one
  for (const uint64_t stride : {1U, 8U, 64U, 4096U, 65536U, 266240U}) {
    for (const bool ascending : {true, false}) {
      ParkingBucket bucket;
      std::vector<Parked> waiters(kObjects);
      for (size_t i = 0; i < kObjects; ++i) {
        const uint64_t n = ascending ? i : kObjects - i;
        waiters[i].address = address_at(0x7f0000000000 + stride * n);
        bucket.push_back(waiters[i]);
      }
      std::vector<const Parked*> nodes;
      EXPECT_LE(check_tree(bucket.top, nodes), kDeepest) << stride;
      EXPECT_EQ(nodes.size(), kObjects);
      for (Parked& w : waiters) EXPECT_EQ(bucket.pop(w.address), &w);
      EXPECT_EQ(bucket.top, nullptr);
    }
  }
}

TEST(ParkingLot, AddressesSpreadOverTheTable) {
  constexpr size_t kObjects = 4096;
  std::vector<uint32_t> objects(kObjects);
  std::vector<ParkingBucket*> used;
  for (const uint32_t& o : objects) used.push_back(&parking_lot.bucket_for(&o));
  size_t most = 0;
  for (ParkingBucket* b : used) {
    most = std::max<size_t>(most, static_cast<size_t>(std::count(used.begin(), used.end(), b)));
  }
  EXPECT_LE(most, 4 * kObjects / 512);
}

}  // namespace
}  // namespace gort
