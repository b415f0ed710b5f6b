// limits stress: time limits of 0 to 200 us that race with what they limit, for every primitive that has them: fibers and
// threads, counted so that a wake-up that is lost, or goes to one whose time has come, shows. Each case runs for a
// second and prints its seed; GORT_TEST_SEED repeats one, GORT_TEST_MS sets the time.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <stop_token>
#include <thread>
#include <vector>

#include "gort/gort.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using test::below;
using test::Random;

constexpr uint64_t kLimitMaxUs = 200;

std::chrono::microseconds some_limit(Random& random) {
  return std::chrono::microseconds(below(random, kLimitMaxUs + 1));
}

void give_way(Random& random) {
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

class LimitsStress : public test::SchedulerTest {
 protected:
  // Runs work(random, k) as so many fibers and threads, k counting all of them, until they return.
  template <class Work>
  void crowd(int fibers, int threads, Work&& work) {
    std::vector<task<void>> tasks;
    std::vector<std::thread> foreign;
    for (int k = 0; k < fibers; ++k) {
      tasks.push_back(spawn([&work, k, seed = seed_ + count_++] { work(Random(seed), k); }));
    }
    for (int k = fibers; k < fibers + threads; ++k) {
      foreign.emplace_back([&work, k, seed = seed_ + count_++] { work(Random(seed), k); });
    }
    for (auto& t : tasks) t.join();
    blocking([&] {
      for (auto& t : foreign) t.join();
    });
  }
  Random random() { return Random(seed_ + count_++); }

 private:
  uint64_t seed_ = test::test_seed();
  uint64_t count_ = 0;
};
GORT_ON_EVERY_PROCS(LimitsStress);

// SM3: what was released was acquired, or is there.
TEST_P(LimitsStress, Semaphore) {
  std::atomic<int64_t> released{0};
  std::atomic<int64_t> acquired{0};
  std::atomic<int64_t> too_late{0};
  in_fibers([&] {
    counting_semaphore<> s(0);
    const test::StressClock clock;
    std::atomic<int> working{10};
    crowd(10, 4, [&](Random r, int k) {
      if (k % 7 < 2) {
        while (working.load() > 0) {
          const auto n = static_cast<std::ptrdiff_t>(below(r, 3));
          released += n;
          s.release(n);
          give_way(r);
        }
        return;
      }
      while (clock.running()) {
        ++(s.try_acquire_for(some_limit(r)) ? acquired : too_late);
        if (below(r, 8) == 0) acquired += s.try_acquire() ? 1 : 0;
      }
      --working;
    });
    while (s.try_acquire()) ++acquired;
  });
  EXPECT_EQ(acquired.load(), released.load());
  EXPECT_GT(acquired.load(), 0);
}

// The same with a bounded count that goes round, and waiters that are asked to stop.
TEST_P(LimitsStress, SemaphoreAndStops) {
  in_fibers([&] {
    Random r = random();
    const test::StressClock clock;
    while (clock.running()) {
      counting_semaphore<> s(0);
      std::atomic<int64_t> acquired{0};
      std::vector<task<void>> tasks;
      for (int i = 0; i < 6; ++i) {
        tasks.push_back(spawn([&s, &acquired, seed = r()] {
          Random mine(seed);
          for (int k = 0; k < 3; ++k) {
            if (below(mine, 2) == 0) {
              s.acquire();
              ++acquired;
            } else {
              acquired += s.try_acquire_for(some_limit(mine)) ? 1 : 0;
            }
          }
        }));
      }
      int64_t released = 0;
      for (auto& t : tasks) {
        if (below(r, 2) == 0) t.request_stop();
        const auto n = static_cast<std::ptrdiff_t>(below(r, 3));
        s.release(n);
        released += n;
        give_way(r);
      }
      for (auto& t : tasks) t.request_stop();
      for (auto& t : tasks) t.join();
      while (s.try_acquire()) ++acquired;
      EXPECT_EQ(acquired.load(), released);
    }
  });
}

// M1, M3: turns exclude each other, and in the end nobody has it and nobody is left.
template <class Mutex>
void turns(test::StressClock clock, Mutex& m, int64_t& guarded, std::atomic<int64_t>& expected,
           Random r) {
  while (clock.running()) {
    if (below(r, 4) == 0) {
      m.lock();
    } else if (!m.try_lock_for(some_limit(r))) {
      continue;
    }
    const int64_t seen = guarded;
    if (below(r, 4) == 0) give_way(r);
    if (below(r, 64) == 0) {
      const auto end = std::chrono::steady_clock::now() + 2 * some_limit(r);
      while (std::chrono::steady_clock::now() < end) give_way(r);
    }
    guarded = seen + 1;
    m.unlock();
    ++expected;
  }
}
template <class Mutex, class InFibers, class Crowd>
void all_turns(InFibers&& in_fibers, Crowd&& crowd) {
  int64_t guarded = 0;
  std::atomic<int64_t> expected{0};
  in_fibers([&] {
    Mutex m;
    const test::StressClock clock;
    crowd([&](Random r, int) { turns(clock, m, guarded, expected, std::move(r)); });
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  });
  EXPECT_EQ(guarded, expected.load());
}
TEST_P(LimitsStress, TimedMutex) {
  all_turns<timed_mutex>([&](auto&& f) { in_fibers(f); }, [&](auto&& f) { crowd(6, 3, f); });
}
TEST_P(LimitsStress, RecursiveTimedMutex) {
  all_turns<recursive_timed_mutex>([&](auto&& f) { in_fibers(f); },
                                   [&](auto&& f) { crowd(6, 3, f); });
}

// SH3: readers see whole writes, and nobody is left in line, whoever gives up.
TEST_P(LimitsStress, SharedTimedMutex) {
  int64_t writes = 0;
  std::atomic<int64_t> expected{0};
  std::atomic<int64_t> reads{0};
  in_fibers([&] {
    shared_timed_mutex m;
    int64_t twice = 0;
    const test::StressClock clock;
    crowd(8, 4, [&](Random r, int k) {
      while (clock.running()) {
        const bool waits = below(r, 4) == 0;
        if (k % 4 == 0) {
          if (waits) {
            m.lock();
          } else if (!m.try_lock_for(some_limit(r))) {
            continue;
          }
          ++writes;
          if (below(r, 4) == 0) give_way(r);
          twice += 2;
          m.unlock();
          ++expected;
        } else {
          if (waits) {
            m.lock_shared();
          } else if (!m.try_lock_shared_for(some_limit(r))) {
            continue;
          }
          EXPECT_EQ(twice, 2 * writes);
          if (below(r, 4) == 0) give_way(r);
          m.unlock_shared();
          ++reads;
        }
      }
    });
    EXPECT_TRUE(m.try_lock());
    m.unlock();
    EXPECT_TRUE(m.try_lock_shared());
    m.unlock_shared();
  });
  EXPECT_EQ(writes, expected.load());
  EXPECT_GT(reads.load(), 0);
}

// CA1, CA2: limits, notifications and requests of tokens, by which every waiter's wait ends once more at least.
TEST_P(LimitsStress, ConditionVariableAny) {
  std::atomic<int64_t> rounds{0};
  in_fibers([&] {
    Random r = random();
    const test::StressClock clock;
    while (clock.running()) {
      mutex m;
      auto c = std::make_unique<condition_variable_any>();
      std::stop_source source;
      int waiting = 0;
      int items = 0;
      int taken = 0;
      const auto wait = [&, c = c.get()](Random mine) {
        std::unique_lock lock(m);
        ++waiting;
        const auto some = [&] { return items > 0; };
        const bool got = below(mine, 2) == 0
                             ? c->wait(lock, source.get_token(), some)
                             : c->wait_for(lock, source.get_token(), some_limit(mine), some);
        if (!got) return;
        --items;
        ++taken;
      };
      std::vector<task<void>> tasks;
      for (int i = 0; i < 5; ++i) tasks.push_back(spawn(wait, Random(r())));
      std::optional<std::thread> foreign;
      if (below(r, 8) == 0) foreign.emplace(wait, Random(r()));
      int put = 0;
      for (int i = 0; i < 3; ++i) {
        const std::lock_guard guard(m);
        ++items;
        ++put;
        c->notify_one();
        give_way(r);
      }
      source.request_stop();
      for (auto& t : tasks) t.join();
      if (foreign) blocking([&] { foreign->join(); });
      EXPECT_EQ(taken + items, put);
      ++rounds;
    }
  });
  EXPECT_GT(rounds.load(), 0);
}

// FU1, FU2: limits, values, promises that break, and states that end with whoever comes last.
TEST_P(LimitsStress, Future) {
  std::atomic<int64_t> kept{0};
  std::atomic<int64_t> broken{0};
  in_fibers([&] {
    Random r = random();
    const test::StressClock clock;
    while (clock.running()) {
      auto* p = new promise<std::vector<int>>;
      shared_future<std::vector<int>> f = p->get_future();
      const auto take = [&](Random mine, shared_future<std::vector<int>> own) {
        while (own.wait_for(some_limit(mine)) == std::future_status::timeout) give_way(mine);
        try {
          EXPECT_EQ(own.get().size(), 10U);
          ++kept;
        } catch (const std::future_error&) {
          ++broken;
        }
      };
      std::vector<task<void>> tasks;
      for (int i = 0; i < 4; ++i) tasks.push_back(spawn(take, Random(r()), f));
      std::optional<std::thread> foreign;
      if (below(r, 8) == 0) foreign.emplace(take, Random(r()), f);
      f = {};
      const auto end = std::chrono::steady_clock::now() + some_limit(r);
      while (std::chrono::steady_clock::now() < end) give_way(r);
      if (below(r, 4) != 0) p->set_value(std::vector<int>(10));
      delete p;
      for (auto& t : tasks) t.join();
      if (foreign) blocking([&] { foreign->join(); });
    }
  });
  EXPECT_GT(kept.load(), 0);
  EXPECT_GT(broken.load(), 0);
}

// CD2, BA1, BA3, ON1, ON2: those without limits, as many rounds as there is time, each with objects of its own, which end with
// whoever is first out.
TEST_P(LimitsStress, WhatHasNone) {
  in_fibers([&] {
    Random r = random();
    const test::StressClock clock;
    while (clock.running()) {
      constexpr int kCrew = 4;
      auto* l = new latch(kCrew);
      auto* b = new barrier(kCrew);
      auto* flag = new once_flag;
      std::atomic<int> out_of_latch{0};
      std::atomic<int> out_of_barrier{0};
      std::atomic<int> out_of_once{0};
      std::atomic<int> calls{0};
      int64_t sum = 0;
      const auto work = [&](Random mine) {
        give_way(mine);
        try {
          call_once(*flag, [&] {
            give_way(mine);
            ++sum;
            if (calls.fetch_add(1) < 2) throw std::runtime_error("again");
          });
        } catch (const std::runtime_error&) {
        }
        if (out_of_once.fetch_add(1) == kCrew - 1) delete flag;
        l->arrive_and_wait();
        if (out_of_latch.fetch_add(1) == 0) delete l;
        b->arrive_and_wait();
        give_way(mine);
        if (below(mine, 2) == 0) {
          b->wait(b->arrive());
        } else {
          b->arrive_and_wait();
        }
        if (out_of_barrier.fetch_add(1) == kCrew - 1) delete b;
      };
      std::vector<task<void>> tasks;
      const bool with_thread = below(r, 8) == 0;
      for (int i = 0; i < kCrew - (with_thread ? 1 : 0); ++i) {
        tasks.push_back(spawn(work, Random(r())));
      }
      if (with_thread) {
        std::thread foreign(work, Random(r()));
        blocking([&] { foreign.join(); });
      }
      for (auto& t : tasks) t.join();
      EXPECT_EQ(sum, 3);
    }
  });
}

}  // namespace
}  // namespace gort
