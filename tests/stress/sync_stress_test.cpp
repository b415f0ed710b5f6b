// sync stress: mutex, condition_variable and wait_group under many fibers and threads with random
// waits and time limits. Each case runs for a second and prints its seed; GORT_TEST_SEED
// repeats one, GORT_TEST_MS sets the time.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "gort/blocking.hpp"
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
using clock = std::chrono::steady_clock;
using lock_t = std::unique_lock<mutex>;

constexpr int kTimeLimitMaxUs = 200;

class Seeds {
 public:
  std::mt19937_64 next() { return std::mt19937_64(base_ + count_++); }

 private:
  uint64_t base_ = test::test_seed();
  uint64_t count_ = 0;
};

int below(std::mt19937_64& random, int n) {
  return static_cast<int>(random() % static_cast<unsigned>(n));
}

void give_way(std::mt19937_64& random) {
  switch (below(random, 4)) {
    case 0:
      yield();
      break;
    case 1:
      std::this_thread::yield();
      break;
    default:
      break;
  }
}

class SyncStress : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(SyncStress);

// Every notify_one that finds a waiter wakes exactly one: a wake-up that goes to one whose time
// limit has just passed must reach another. Counted under the mutex: `lasting` waiters without a
// limit; a notify is sent only if one of them is queued for certain, and at the end each was
// received once.
// CV3, PL4: also one that comes before the waiter sleeps.
TEST_P(SyncStress, TimedWaitsAgainstNotifies) {
  Seeds seeds;
  mutex m;
  condition_variable c;
  int64_t sent = 0;
  int64_t received = 0;
  int64_t timeouts = 0;
  int64_t lasting = 0;
  bool over = false;
  int timed_left = 0;

  const auto wait_timed = [&](std::mt19937_64 random) {
    lock_t lock(m);
    while (!over) {
      const std::chrono::microseconds limit(below(random, kTimeLimitMaxUs));
      if (c.wait_for(lock, limit) == std::cv_status::timeout) {
        ++timeouts;
      } else {
        ++received;
      }
    }
    --timed_left;
  };
  const auto wait_lasting = [&] {
    lock_t lock(m);
    while (!over) {
      ++lasting;
      c.wait(lock);
      --lasting;
      ++received;
    }
  };
  const auto notify = [&](std::mt19937_64 random) {
    const auto end = clock::now() + test::stress_time();
    while (clock::now() < end) {
      {
        const std::lock_guard<mutex> guard(m);
        if (lasting > sent - received) {
          ++sent;
          c.notify_one();
        }
      }
      give_way(random);
    }
  };
  in_fibers([&] {
    std::vector<task<void>> waiters;
    std::vector<task<void>> notifiers;
    timed_left = 9;
    for (int i = 0; i < 8; ++i) waiters.push_back(spawn(wait_timed, seeds.next()));
    for (int i = 0; i < 4; ++i) waiters.push_back(spawn(wait_lasting));
    for (int i = 0; i < 2; ++i) notifiers.push_back(spawn(notify, seeds.next()));
    std::thread timed(wait_timed, seeds.next());
    std::thread last(wait_lasting);
    std::thread notifier(notify, seeds.next());
    for (auto& t : notifiers) t.join();
    blocking([&] { notifier.join(); });
    const auto with_lock = [&](auto&& f) {
      const std::lock_guard<mutex> guard(m);
      return f();
    };
    with_lock([&] { over = true; });
    while (with_lock([&] { return timed_left; }) != 0) yield();
    // Only lasting waiters are left; each needs a notification of its own.
    while (with_lock([&] {
             if (lasting > sent - received) {
               ++sent;
               c.notify_one();
             }
             return lasting;
           }) != 0) {
      yield();
    }
    for (auto& t : waiters) t.join();
    blocking([&] {
      timed.join();
      last.join();
    });
  });
  EXPECT_EQ(received, sent);
  EXPECT_GT(received, 0);
  EXPECT_GT(timeouts, 0);
}

// notify_all against time limits, with the condition_variable destroyed right after it.
// PL2: whoever was taken out in vain has been left alone before it goes on.
TEST_P(SyncStress, DestroyedUnderTimedWaits) {
  Seeds seeds;
  auto random = seeds.next();
  in_fibers([&] {
    const auto end = clock::now() + test::stress_time();
    while (clock::now() < end) {
      mutex m;
      auto* c = new condition_variable;
      int waiting = 0;
      wait_group wg;
      for (int i = 0; i < 6; ++i) {
        wg.go([&m, &waiting, c, us = below(random, kTimeLimitMaxUs)] {
          lock_t lock(m);
          ++waiting;
          static_cast<void>(c->wait_for(lock, std::chrono::microseconds(us)));
        });
      }
      // All have queued themselves once; then the object goes, whoever has been woken by what.
      for (;;) {
        const std::lock_guard<mutex> guard(m);
        if (waiting == 6) {
          c->notify_all();
          delete c;
          break;
        }
        yield();
      }
      wg.wait();
    }
  });
}

// Random lockers, some of which are asked to stop in a wait_group meanwhile.
TEST_P(SyncStress, LocksGroupsAndStops) {
  Seeds seeds;
  in_fibers([&] {
    mutex m;
    int64_t guarded = 0;
    std::atomic<int64_t> expected{0};
    const auto end = clock::now() + test::stress_time();
    auto random = seeds.next();
    const auto work = [&](std::mt19937_64 r) {
      for (int i = 0; i < 50; ++i) {
        {
          const std::lock_guard<mutex> guard(m);
          const int64_t seen = guarded;
          if (below(r, 8) == 0) give_way(r);
          guarded = seen + 1;
        }
        expected.fetch_add(1, std::memory_order_relaxed);
      }
    };
    while (clock::now() < end) {
      auto wg = std::make_unique<wait_group>();
      auto seed = random();
      std::vector<task<void>> waiters;
      for (int i = 0; i < 4; ++i) wg->go(work, std::mt19937_64(seed + static_cast<unsigned>(i)));
      for (int i = 0; i < 4; ++i) {
        waiters.push_back(spawn([&wg, us = below(random, kTimeLimitMaxUs), i] {
          if (i % 2 == 0) {
            wg->wait();
          } else {
            static_cast<void>(wg->wait_for(std::chrono::microseconds(us)));
          }
        }));
      }
      std::thread foreign;
      if (below(random, 4) == 0) {
        wg->add(1);
        foreign = std::thread([&work, seed, p = wg.get()] {
          work(std::mt19937_64(seed));
          p->done();
        });
      }
      for (auto& t : waiters) {
        if (below(random, 2) == 0) t.request_stop();
        if (below(random, 2) == 0) yield();
      }
      for (auto& t : waiters) t.join();
      wg->wait();
      wg.reset();
      if (foreign.joinable()) blocking([&] { foreign.join(); });
    }
    EXPECT_EQ(guarded, expected.load());
  });
}

}  // namespace
}  // namespace gort
