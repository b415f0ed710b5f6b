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

// A group whose things say how far they have come: all of them have done what they do before it is zero, and it is zero once they
// have all said so.
class Progress {
 public:
  explicit Progress(int things) : things_(things) {}
  void worked() { ++worked_; }
  // The group knows.
  void said() { ++said_; }
  void wait(wait_group& wg) {
    wg.wait();
    EXPECT_EQ(worked_.load(), things_);
  }
  bool wait_for(wait_group& wg, std::chrono::microseconds limit) {
    const bool was_zero = said_ == things_;
    const auto end = clock::now() + limit;
    const bool zero = wg.wait_for(limit);
    if (zero) {
      EXPECT_EQ(worked_.load(), things_);
    } else {
      EXPECT_FALSE(was_zero);
      EXPECT_GE(clock::now(), end);
    }
    return zero;
  }

 private:
  const int things_;
  std::atomic<int> worked_{0};
  std::atomic<int> said_{0};
};

// Random lockers, some of which are asked to stop in a wait_group meanwhile.
TEST_P(SyncStress, LocksGroupsAndStops) {
  Seeds seeds;
  in_fibers([&] {
    mutex m;
    int64_t guarded = 0;
    std::atomic<int64_t> expected{0};
    std::atomic<int> zeros{0};
    std::atomic<int> timeouts{0};
    auto random = seeds.next();
    const auto work = [&](std::mt19937_64 r, wait_group* wg, Progress* progress) {
      for (int i = 0; i < 50; ++i) {
        {
          const std::lock_guard<mutex> guard(m);
          const int64_t seen = guarded;
          if (below(r, 8) == 0) give_way(r);
          guarded = seen + 1;
        }
        expected.fetch_add(1, std::memory_order_relaxed);
      }
      progress->worked();
      wg->done();
      progress->said();
    };
    const auto end = clock::now() + test::stress_time();
    const auto patience = clock::now() + test::kPatience;
    while (clock::now() < end || ((zeros == 0 || timeouts == 0) && clock::now() < patience)) {
      auto wg = std::make_unique<wait_group>();
      auto seed = random();
      const bool with_thread = below(random, 4) == 0;
      const int things = with_thread ? 5 : 4;
      Progress progress(things);
      wg->add(things);
      std::vector<task<void>> workers;
      std::vector<task<void>> waiters;
      for (int i = 0; i < 4; ++i) {
        workers.push_back(
            spawn(work, std::mt19937_64(seed + static_cast<unsigned>(i)), wg.get(), &progress));
      }
      for (int i = 0; i < 4; ++i) {
        waiters.push_back(spawn([&, us = below(random, 4 * kTimeLimitMaxUs), i] {
          if (i % 2 == 0) return progress.wait(*wg);
          ++(progress.wait_for(*wg, std::chrono::microseconds(us)) ? zeros : timeouts);
        }));
      }
      std::thread foreign;
      if (with_thread) {
        foreign = std::thread(work, std::mt19937_64(seed), wg.get(), &progress);
      }
      for (auto& t : waiters) {
        if (below(random, 2) == 0) t.request_stop();
        if (below(random, 2) == 0) yield();
      }
      for (auto& t : waiters) t.join();
      progress.wait(*wg);
      wg.reset();
      for (auto& t : workers) t.join();
      if (foreign.joinable()) blocking([&] { foreign.join(); });
    }
    EXPECT_EQ(guarded, expected.load());
    EXPECT_GT(zeros.load(), 0);
    EXPECT_GT(timeouts.load(), 0);
  });
}

}  // namespace
}  // namespace gort
