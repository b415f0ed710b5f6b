// The scheduler under random load: births, ends, sleeps, stop requests, foreign threads, shutdown.
// Every case runs about a second and prints its seed; GORT_TEST_SEED repeats one, TEST_MS sets the
// time.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/fiber.hpp"
#include "gort/run.hpp"
#include "gort/spawn.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using std::chrono::microseconds;
using Random = std::mt19937_64;

int64_t stress_ns() {
  const char* ms = std::getenv("TEST_MS");
  return (ms != nullptr ? std::atoll(ms) : 1000) * 1'000'000;
}

uint64_t below(Random& random, uint64_t n) {
  return random() % n;
}

class Clock {
 public:
  [[nodiscard]] bool running() const { return test::now_ns() < end_ns_; }

 private:
  int64_t end_ns_ = test::now_ns() + stress_ns();
};

class SchedStress : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(SchedStress);

// A tree of fibers, joined, stopped or let go at random; returns how many it held.
uint64_t grow(uint64_t seed, int depth, std::atomic<uint64_t>& loose) {
  Random random(seed);
  uint64_t n = 1;
  if (below(random, 4) == 0) yield();
  if (depth == 0) return n;
  std::vector<task<uint64_t>> children;
  for (uint64_t i = below(random, 4); i > 0; --i) {
    children.push_back(spawn(grow, random(), depth - 1, std::ref(loose)));
  }
  if (below(random, 3) == 0) {
    loose.fetch_add(1);
    go([&loose] {
      yield();
      loose.fetch_sub(1);
    });
  }
  if (below(random, 8) == 0) sleep_for(microseconds(below(random, 200)));
  for (auto& c : children) n += c.get();
  return n;
}

TEST_P(SchedStress, TreesOfFibers) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    Random random(seed);
    const Clock clock;
    std::atomic<uint64_t> loose{0};
    while (clock.running()) {
      std::vector<task<uint64_t>> roots;
      for (int i = 0; i < 4; ++i) roots.push_back(spawn(grow, random(), 5, std::ref(loose)));
      for (auto& r : roots) EXPECT_GE(r.get(), 1U);
    }
    test::until([&] { return loose.load() == 0; });
    test::until([] { return num_fibers() == 1; });
  });
}

TEST_P(SchedStress, RandomYieldsAndSleeps) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    const Clock clock;
    std::vector<task<void>> tasks;
    for (uint64_t i = 0; i < 100; ++i) {
      tasks.push_back(spawn([&clock, random = Random(seed + i)]() mutable {
        while (clock.running()) {
          switch (below(random, 4)) {
            case 0:
              yield();
              break;
            case 1:
              sleep_for(microseconds(below(random, 200)));
              break;
            case 2:
              spawn([] {}).join();
              break;
            default:
              spawn([us = below(random, 100)] { sleep_for(microseconds(us)); }).get();
              break;
          }
        }
      }));
    }
    for (auto& t : tasks) t.join();
  });
}

// A request that races with the end of the sleep it is to interrupt: one of them wakes the fiber,
// once, and a request that came too late is delivered by the next wait.
TEST_P(SchedStress, StopRacesWithTimers) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    Random random(seed);
    const Clock clock;
    while (clock.running()) {
      std::vector<task<int>> tasks;
      for (int i = 0; i < 20; ++i) {
        tasks.push_back(spawn([us = below(random, 200)] {
          int thrown = 0;
          try {
            sleep_for(microseconds(us));
            sleep_for(1h);
          } catch (const stopped&) {
            ++thrown;
          }
          sleep_for(1us);  // delivered once
          return thrown;
        }));
      }
      if (below(random, 2) == 0) sleep_for(microseconds(below(random, 200)));
      for (auto& t : tasks) t.request_stop();
      for (auto& t : tasks) EXPECT_EQ(t.get(), 1);
    }
  });
}

// B3 in spawn.cpp: the end, a joiner and a stop request meet in one word.
TEST_P(SchedStress, StopRacesWithJoins) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    Random random(seed);
    const Clock clock;
    while (clock.running()) {
      std::vector<task<void>> tasks;
      for (int i = 0; i < 10; ++i) {
        const uint64_t us = below(random, 100);
        const uint64_t yields = below(random, 4);
        tasks.push_back(spawn([us, yields] {
          task<void> inner = spawn([us] { sleep_for(microseconds(us)); });
          for (uint64_t y = 0; y < yields; ++y) yield();
          inner.join();  // throws if the request comes first; ~task joins
        }));
      }
      for (uint64_t y = below(random, 8); y > 0; --y) yield();
      for (auto& t : tasks) {
        if (below(random, 2) == 0) t.request_stop();
      }
      for (auto& t : tasks) {
        if (below(random, 4) == 0) {
          t.detach();
        } else {
          t.get();
        }
      }
    }
    test::until([] { return num_fibers() == 1; });
  });
}

TEST_P(SchedStress, StopTokensRaceWithRequests) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    Random random(seed);
    const Clock clock;
    while (clock.running()) {
      std::vector<task<bool>> tasks;
      for (int i = 0; i < 10; ++i) {
        tasks.push_back(spawn([](const std::stop_token& token) {
          std::atomic<bool> called{false};
          const std::stop_callback callback(token, [&called] { called.store(true); });
          return test::until([&] { return called.load(); });
        }));
      }
      for (uint64_t y = below(random, 4); y > 0; --y) yield();
      for (auto& t : tasks) t.request_stop();
      for (auto& t : tasks) EXPECT_TRUE(t.get());
    }
  });
}

TEST_P(SchedStress, ForeignThreadsSpawn) {
  const uint64_t seed = test::test_seed();
  const Clock clock;
  const test::Resources before;
  std::atomic<uint64_t> started{0};
  std::atomic<uint64_t> ended{0};
  {
    runtime rt(opts());
    std::vector<std::thread> threads;
    for (uint64_t i = 0; i < 3; ++i) {
      threads.emplace_back([&, random = Random(seed + i)]() mutable {
        while (clock.running()) {
          const uint64_t us = below(random, 50);
          started.fetch_add(1);
          auto t = rt.spawn([us, &ended] {
            if (us < 25) sleep_for(microseconds(us));
            ended.fetch_add(1);
            return us;
          });
          switch (below(random, 4)) {
            case 0:
              t.detach();
              break;
            case 1:
              t.request_stop();
              t.join();
              break;
            case 2:
              EXPECT_EQ(t.get(), us);
              break;
            default:
              EXPECT_EQ(rt.run([us] { return us + 1; }), us + 1);
              break;
          }
        }
      });
    }
    for (auto& t : threads) t.join();
  }
  EXPECT_LE(ended.load(), started.load());
  before.expect_unchanged();
}

// Fibers, foreign threads and fibers inside blocking() wake each other while Ps come and go.
TEST_P(SchedStress, BlockingAmongSleepers) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    const Clock clock;
    std::vector<task<void>> tasks;
    for (uint64_t i = 0; i < 12; ++i) {
      tasks.push_back(spawn([&clock, random = Random(seed + i)]() mutable {
        while (clock.running()) {
          const microseconds us(below(random, 200));
          switch (below(random, 4)) {
            case 0:
              blocking([us] { std::this_thread::sleep_for(us); });
              break;
            case 1:
              blocking([us] {
                auto t = spawn([us] { sleep_for(us); });
                t.join();  // gets a P for it
              });
              break;
            case 2:
              sleep_for(us);
              break;
            default:
              yield();
              break;
          }
        }
      }));
    }
    for (auto& t : tasks) t.join();
  });
}

// Many short runs that end in the middle of everything.
// I5 in idle.cpp: each idle M is told to exit once, or its join hangs.
TEST_P(SchedStress, ShutdownRacesWithEverything) {
  const uint64_t seed = test::test_seed();
  Random random(seed);
  const test::Resources before;
  const Clock clock;
  std::atomic<int64_t> alive{0};
  struct Counted {
    std::atomic<int64_t>& n;
    explicit Counted(std::atomic<int64_t>& c) : n(c) { n.fetch_add(1); }
    ~Counted() { n.fetch_sub(1); }
  };
  while (clock.running()) {
    run(opts(), [&] {
      for (uint64_t i = below(random, 40); i > 0; --i) {
        const uint64_t kind = below(random, 6);
        const microseconds us(below(random, 200));
        go([&alive, kind, us] {
          const Counted counted(alive);
          switch (kind) {
            case 0:
              sleep_for(1h);
              break;
            case 1:
              sleep_for(us);
              break;
            case 2:
              for (int n = 0; n < 20; ++n) go([] { yield(); });
              break;
            case 3:
              spawn([] { sleep_for(1h); }).join();
              break;
            case 4:
              blocking([us] { std::this_thread::sleep_for(us); });
              break;
            default: {
              const std::stop_token token = this_fiber::stop_token();
              while (!token.stop_requested()) yield();
            }
          }
        });
      }
      if (below(random, 2) == 0) sleep_for(microseconds(below(random, 300)));
    });
    EXPECT_EQ(alive.load(), 0);
    EXPECT_EQ(num_fibers(), 0U);
  }
  before.expect_unchanged();
}

// Bursts from one fiber, so that the other Ps live on what they steal.
TEST_P(SchedStress, StealStorm) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    Random random(seed);
    const Clock clock;
    std::atomic<int64_t> left{0};
    while (clock.running()) {
      const uint64_t n = 1 + below(random, 1000);
      left.store(static_cast<int64_t>(n));
      for (uint64_t i = 0; i < n; ++i) {
        go([&left, spins = below(random, 200)] {
          for (uint64_t s = 0; s < spins; ++s) asm volatile("" ::: "memory");
          left.fetch_sub(1);
        });
      }
      test::until([&left] { return left.load() == 0; });
    }
  });
}

// All asleep, woken, asleep: each round needs a wake-up that must not get lost.
// I1, I2 in idle.cpp.
TEST_P(SchedStress, FallingAsleepAgainAndAgain) {
  in_fibers([] {
    const Clock clock;
    while (clock.running()) {
      auto t = spawn([] { sleep_for(20us); });
      auto u = spawn([] { sleep_for(30us); });
      t.join();
      u.join();
      blocking([] {});
    }
  });
}

}  // namespace
}  // namespace gort
