// Timers that are set, stopped and met at random: none fires early, and none later than anything that works
// may take. More about their order cannot be said: how late each is, is up to the machine.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/chan.hpp"
#include "gort/condition_variable.hpp"
#include "gort/errors.hpp"
#include "gort/fiber.hpp"
#include "gort/mutex.hpp"
#include "gort/spawn.hpp"
#include "gort/wait_group.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using std::chrono::microseconds;
using std::chrono::steady_clock;
using test::below;
using test::Random;
using TimePoint = steady_clock::time_point;

class TimerStress : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(TimerStress);

// A time near now, seldom in the past, now and then far away.
TimePoint some_time(Random& random) {
  const TimePoint now = steady_clock::now();
  switch (below(random, 8)) {
    case 0:
      return now - microseconds(below(random, 1000));
    case 1:
      return now + microseconds(below(random, 5000));
    default:
      return now + microseconds(below(random, 300));
  }
}

// One timed wait that nothing but its timer or a stop request ends.
void wait_until(TimePoint when, Random& random) {
  switch (below(random, 4)) {
    case 0:
      return sleep_until(when);
    case 1: {
      const chan<int> c;
      int none = 0;
      EXPECT_EQ(c.recv_until(none, when), op_status::timeout);
      return;
    }
    case 2: {
      mutex m;
      condition_variable c;
      std::unique_lock lock(m);
      while (c.wait_until(lock, when) != std::cv_status::timeout) {
      }
      return;
    }
    default: {
      wait_group g;
      g.add(1);
      EXPECT_FALSE(g.wait_until(when));
      g.done();
    }
  }
}

TEST_P(TimerStress, NoneFiresEarlyAndNoneIsLost) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    const test::StressClock clock;
    std::atomic<int64_t> latest_ns{0};
    std::vector<task<void>> tasks;
    for (uint64_t i = 0; i < 50; ++i) {
      tasks.push_back(spawn([&, random = Random(seed + i)]() mutable {
        while (clock.running()) {
          const TimePoint when = some_time(random);
          wait_until(when, random);
          const int64_t late = (steady_clock::now() - when).count();
          EXPECT_GE(late, 0);
          int64_t latest = latest_ns.load();
          while (late > latest && !latest_ns.compare_exchange_weak(latest, late)) {
          }
          if (below(random, 64) == 0) blocking([] {});  // timers stay behind with the P
        }
      }));
    }
    for (auto& t : tasks) t.get();
    EXPECT_LT(latest_ns.load(), std::chrono::nanoseconds(test::kPatience).count());
  });
}

// Stop requests at the moment at which the timer fires: the wait ends by one of them, and the next one is
// as good as new.
TEST_P(TimerStress, StoppedWhileTheyFire) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    Random random(seed);
    const test::StressClock clock;
    while (clock.running()) {
      std::vector<task<int>> tasks;
      for (int i = 0; i < 16; ++i) {
        tasks.push_back(spawn([r = Random(random())]() mutable {
          int stops = 0;
          for (int turn = 0; turn < 4; ++turn) {
            const TimePoint when = some_time(r);
            try {
              sleep_until(when);
              EXPECT_GE(steady_clock::now(), when);
            } catch (const stopped&) {
              ++stops;
            }
          }
          return stops;
        }));
      }
      if (below(random, 2) == 0) sleep_for(microseconds(below(random, 300)));
      for (auto& t : tasks) t.request_stop();
      for (auto& t : tasks) ASSERT_LE(t.get(), 1);
    }
  });
}

}  // namespace
}  // namespace gort
