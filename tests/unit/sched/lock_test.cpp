// Lock, Note and Random.
#include "sched/lock.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "sched/note.hpp"
#include "sched/p.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;

TEST(Lock, TryLockFailsWhileHeld) {
  Lock l;
  EXPECT_TRUE(l.try_lock());
  EXPECT_FALSE(l.try_lock());
  l.unlock();
  EXPECT_TRUE(l.try_lock());
  l.unlock();
}

TEST(Lock, ExcludesOthers) {
  os::osinit();
  Lock l;
  int64_t n = 0;  // under l
  constexpr int kThreads = 4;
  constexpr int kTurns = 50'000;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kTurns; ++i) {
        const LockGuard guard(l);
        ++n;
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(n, int64_t{kThreads} * kTurns);
}

// L1: a holder that is descheduled for long sends the others to sleep; its release wakes them.
TEST(Lock, ALongHoldEndsTheSleepOfWaiters) {
  os::osinit();
  Lock l;
  std::atomic<int> got{0};
  for (int turn = 0; turn < 20; ++turn) {
    l.lock();
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&] {
        const LockGuard guard(l);
        got.fetch_add(1);
      });
    }
    // The subject: a hold that is longer than any spin.
    std::this_thread::sleep_for(2ms);
    EXPECT_EQ(got.load(), turn * 3);
    l.unlock();
    for (auto& t : threads) t.join();
    EXPECT_EQ(got.load(), turn * 3 + 3);
  }
}

// L2: the next owner may destroy the lock as soon as it has it.
TEST(Lock, MayBeDestroyedByTheNextOwner) {
  os::osinit();
  for (int i = 0; i < 500; ++i) {
    auto l = std::make_unique<Lock>();
    std::atomic<bool> held{false};
    std::thread other([&held, raw = l.get()] {
      raw->lock();
      held.store(true);
      raw->unlock();
    });
    while (!held.load()) std::this_thread::yield();
    l->lock();
    l.reset();
    other.join();
  }
}

TEST(Note, AWakeThatComesFirstIsKept) {
  Note n;
  n.wake();
  n.wake();  // still one
  n.sleep();
  EXPECT_FALSE(n.sleep_for(1));
}

TEST(Note, WakesASleeperOnceEach) {
  Note ping;
  Note pong;
  constexpr int kTurns = 20'000;
  std::thread other([&] {
    for (int i = 0; i < kTurns; ++i) {
      ping.sleep();
      pong.wake();
    }
  });
  for (int i = 0; i < kTurns; ++i) {
    ping.wake();
    pong.sleep();
  }
  other.join();
  EXPECT_FALSE(ping.sleep_for(1));
  EXPECT_FALSE(pong.sleep_for(1));
}

TEST(Note, ATimedSleepEnds) {
  Note n;
  const auto start = std::chrono::steady_clock::now();
  EXPECT_FALSE(n.sleep_for(2'000'000));
  EXPECT_GE(std::chrono::steady_clock::now() - start, 1900us);
  n.wake();
  EXPECT_TRUE(n.sleep_for(1'000'000'000));
}

TEST(Random, DiffersBySeedAndSpreads) {
  Random a;
  Random b;
  Random again;
  a.seed(1);
  b.seed(2);
  again.seed(1);
  std::set<uint64_t> seen;
  int counts[7] = {};
  for (int i = 0; i < 7000; ++i) {
    const uint64_t n = a.next();
    EXPECT_EQ(n, again.next());
    EXPECT_NE(n, b.next());
    seen.insert(n);
    ++counts[n % 7];
  }
  EXPECT_EQ(seen.size(), 7000U);
  for (const int c : counts) EXPECT_NEAR(c, 1000, 150);
}

}  // namespace
}  // namespace gort
