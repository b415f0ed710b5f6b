// The scheduler under random load: births, ends, sleeps, stop requests, foreign threads, shutdown.
// Every case runs about a second and prints its seed; GORT_TEST_SEED repeats one, GORT_TEST_MS
// sets the time.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/fiber.hpp"
#include "gort/run.hpp"
#include "gort/spawn.hpp"
#include "support/outcomes.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using std::chrono::microseconds;
using test::below;
using test::Random;
using Clock = test::StressClock;

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

// B6: limits of 0 to 200 us against ends that come as late, and against requests to stop; from fibers and from a thread.
void join_with_limits(uint64_t seed, test::Outcomes& outcomes) {
  Random random(seed);
  while (outcomes.wanted()) {
    std::atomic<bool> over{false};
    const uint64_t takes = below(random, 200);
    task<void> t = spawn([takes, &over] {
      sleep_for(microseconds(takes));
      over = true;
    });
    while (!outcomes.add(t.join_for(microseconds(below(random, 200)))) && below(random, 8) != 0) {
    }
    t.join();
    ASSERT_TRUE(over && t.done());
  }
}

TEST_P(SchedStress, JoinsWithLimitsAgainstEnds) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    Random random(seed);
    test::Outcomes outcomes;
    std::vector<task<void>> joiners;
    for (int i = 0; i < 4; ++i)
      joiners.push_back(spawn(join_with_limits, random(), std::ref(outcomes)));
    blocking([&] { std::thread(join_with_limits, random(), std::ref(outcomes)).join(); });
    for (auto& t : joiners) t.get();
    outcomes.expect_both();
  });
}

TEST_P(SchedStress, JoinsWithLimitsAgainstRequests) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    Random random(seed);
    test::Outcomes outcomes;
    std::atomic<uint64_t> stops{0};
    while (outcomes.wanted() || stops == 0) {
      std::vector<task<void>> tasks;
      for (int i = 0; i < 10; ++i) {
        const uint64_t takes = below(random, 200);
        const uint64_t limit = below(random, 200);
        tasks.push_back(spawn([takes, limit, &stops, &outcomes] {
          task<void> inner = spawn([takes] { sleep_for(microseconds(takes)); });
          try {
            (void)outcomes.add(inner.join_for(microseconds(limit)));
          } catch (const stopped&) {
            ++stops;
          }
        }));
      }
      for (auto& t : tasks) {
        if (below(random, 2) == 0) t.request_stop();
        if (below(random, 4) == 0) yield();
      }
      for (auto& t : tasks) t.join();
    }
    outcomes.expect_both();
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
