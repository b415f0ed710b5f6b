// parking_lot: the queues of a bucket, one per address (PL1).
#include "sync/parking_lot.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

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
