// samples: the queue from handlers to the collector.
#include "signal/samples.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace gort {
namespace {

TEST(SampleQueue, FirstInFirstOut) {
  SampleQueue<int, 4> q;
  EXPECT_FALSE(q.pop([](int) { ADD_FAILURE() << "it is empty"; }));
  int next = 0;
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(q.push([i](int& v) { v = 2 * i; }));
    EXPECT_TRUE(q.push([i](int& v) { v = 2 * i + 1; }));
    EXPECT_TRUE(q.pop([&](int v) { EXPECT_EQ(v, next++); }));
    EXPECT_TRUE(q.pop([&](int v) { EXPECT_EQ(v, next++); }));
  }
}

// PF2.
TEST(SampleQueue, AFullOneRefuses) {
  SampleQueue<int, 4> q;
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(q.push([i](int& v) { v = i; }));
  EXPECT_FALSE(q.push([](int&) { ADD_FAILURE() << "it is full"; }));
  EXPECT_TRUE(q.pop([](int v) { EXPECT_EQ(v, 0); }));
  EXPECT_TRUE(q.push([](int& v) { v = 4; }));
  EXPECT_FALSE(q.push([](int&) { ADD_FAILURE() << "it is full"; }));
}

// PF2: a handler that interrupts one that fills its slot is not held up, and neither comes out unfinished.
TEST(SampleQueue, APushInsideAPush) {
  SampleQueue<int, 4> q;
  EXPECT_TRUE(q.push([&](int& v) {
    EXPECT_TRUE(q.push([](int& inner) { inner = 2; }));
    EXPECT_FALSE(q.pop([](int) { ADD_FAILURE() << "the first is not finished"; }));
    v = 1;
  }));
  EXPECT_TRUE(q.pop([](int v) { EXPECT_EQ(v, 1); }));
  EXPECT_TRUE(q.pop([](int v) { EXPECT_EQ(v, 2); }));
}

TEST(SampleQueue, ThreadsLoseNothingAndMixNothingUp) {
  constexpr int kThreads = 4;
  constexpr uint32_t kEach = 20'000;
  struct Value {
    uint32_t thread, number;
    std::array<uint64_t, 8> copies;
  };
  const auto q = std::make_unique<SampleQueue<Value, 16>>();
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&q, t] {
      for (uint32_t i = 0; i < kEach;) {
        const bool done = q->push([&](Value& v) {
          v.thread = t;
          v.number = i;
          v.copies.fill(uint64_t{t} << 32 | i);
        });
        if (done) {
          ++i;
        } else {
          std::this_thread::yield();
        }
      }
    });
  }
  std::array<uint32_t, kThreads> next{};
  for (uint32_t got = 0; got < kThreads * kEach;) {
    const bool any = q->pop([&](const Value& v) {
      ASSERT_EQ(v.number, next[v.thread]++);
      for (const uint64_t c : v.copies) ASSERT_EQ(c, uint64_t{v.thread} << 32 | v.number);
    });
    if (any) {
      ++got;
    } else {
      std::this_thread::yield();
    }
    if (testing::Test::HasFatalFailure()) break;
  }
  for (auto& t : threads) t.join();
}

}  // namespace
}  // namespace gort
