// limits stress: time limits of 0 to 200 us that race with what they limit, for every primitive that has them: fibers and
// threads, counted so that a wake-up that is lost, or goes to one whose time has come, shows. Each case runs for a
// second and prints its seed; GORT_TEST_SEED repeats one, GORT_TEST_MS sets the time.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <stop_token>
#include <system_error>
#include <thread>
#include <vector>

#include "gort/gort.hpp"
#include "support/outcomes.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using test::below;
using test::Outcomes;
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
  in_fibers([&] {
    counting_semaphore<> s(0);
    Outcomes outcomes;
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
      while (outcomes.wanted()) {
        (void)outcomes.add(s.try_acquire_for(some_limit(r)));
        if (below(r, 8) == 0) acquired += s.try_acquire() ? 1 : 0;
      }
      --working;
    });
    while (s.try_acquire()) ++acquired;
    acquired += outcomes.in_time();
    outcomes.expect_both();
  });
  EXPECT_EQ(acquired.load(), released.load());
}

// SM2: nobody sleeps beside a count. Those without a limit get exactly as much as they want, whatever those with one have
// taken of it or left to others; one that is not woken for his part sleeps for ever.
TEST_P(LimitsStress, SemaphoreOwesNobody) {
  in_fibers([&] {
    Random r = random();
    Outcomes outcomes;
    while (outcomes.wanted()) {
      counting_semaphore<> s(0);
      std::atomic<std::ptrdiff_t> taken{0};
      const auto last = [&s] {
        for (int i = 0; i < 2; ++i) s.acquire();
      };
      const auto give_up = [&](Random mine) {
        for (int i = 0; i < 2; ++i) {
          taken += outcomes.add(s.try_acquire_for(some_limit(mine))) ? 1 : 0;
        }
      };
      const auto release = [&](std::ptrdiff_t left) {
        while (left > 0) {
          const auto most = static_cast<uint64_t>(std::min<std::ptrdiff_t>(left, 3));
          const auto n = static_cast<std::ptrdiff_t>(1 + below(r, most));
          s.release(n);
          left -= n;
          give_way(r);
        }
      };
      std::vector<task<void>> lasting;
      std::vector<task<void>> limited;
      for (int i = 0; i < 3; ++i) {
        lasting.push_back(spawn(last));
        limited.push_back(spawn(give_up, Random(r())));
      }
      std::ptrdiff_t wanted = 6;
      std::optional<std::thread> foreign;
      if (below(r, 8) == 0) {
        foreign.emplace(last);
        wanted += 2;
      }
      if (below(r, 2) == 0) yield();
      release(wanted);
      for (auto& t : limited) t.join();
      release(taken);
      for (auto& t : lasting) t.join();
      if (foreign) blocking([&] { foreign->join(); });
      EXPECT_FALSE(s.try_acquire());
    }
    outcomes.expect_both();
  });
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

// Now and then a turn is longer than the limits.
void hold(Random& r) {
  if (below(r, 4) == 0) give_way(r);
  if (below(r, 64) != 0) return;
  const auto end = std::chrono::steady_clock::now() + 2 * some_limit(r);
  while (std::chrono::steady_clock::now() < end) give_way(r);
}

// M1, M3: turns exclude each other, and in the end nobody has it and nobody is left.
TEST_P(LimitsStress, TimedMutex) {
  int64_t guarded = 0;
  std::atomic<int64_t> expected{0};
  in_fibers([&] {
    timed_mutex m;
    Outcomes outcomes;
    crowd(6, 3, [&](Random r, int) {
      while (outcomes.wanted()) {
        if (below(r, 4) == 0) {
          m.lock();
        } else if (!outcomes.add(m.try_lock_for(some_limit(r)))) {
          continue;
        }
        const int64_t seen = guarded;
        hold(r);
        guarded = seen + 1;
        m.unlock();
        ++expected;
      }
    });
    EXPECT_TRUE(m.try_lock());
    m.unlock();
    outcomes.expect_both();
  });
  EXPECT_EQ(guarded, expected.load());
}

// Whose turn it is and how deep it is, by those who have it.
struct Turn {
  int owner = -1;
  int depth = 0;
  int64_t turns = 0;
};

// RM1: an owner gets deeper at once, whatever its limit; nobody else owns it meanwhile, nor takes itself for the owner.
template <class Mutex>
void nested_turns(Outcomes& outcomes, Mutex& m, Turn& turn, int me, Random r) {
  constexpr bool kTimed = requires {
    m.try_lock_for(some_limit(r));
  };
  const auto try_it = [&] {
    if constexpr (kTimed) {
      if (below(r, 4) != 0) return m.try_lock_for(some_limit(r));
    }
    return m.try_lock();
  };
  while (outcomes.wanted()) {
    if (below(r, 4) == 0) {
      m.lock();
    } else if (!outcomes.add(try_it())) {
      EXPECT_THROW(m.unlock(), std::system_error);
      if (!kTimed) give_way(r);
      continue;
    }
    EXPECT_EQ(turn.depth, 0);
    turn.owner = me;
    turn.depth = 1;
    const int deepest = 1 + static_cast<int>(below(r, 3));
    while (turn.depth < deepest) {
      hold(r);
      if (below(r, 2) == 0) {
        m.lock();
      } else {
        EXPECT_TRUE(try_it());
      }
      ++turn.depth;
    }
    ++turn.turns;
    for (int depth = deepest; depth > 0; --depth) {
      hold(r);
      EXPECT_EQ(turn.owner, me);
      EXPECT_EQ(turn.depth, depth);
      --turn.depth;
      m.unlock();
    }
  }
}
template <class Mutex, class Crowd>
void all_nested_turns(Crowd&& crowd) {
  Mutex m;
  Turn turn;
  Outcomes outcomes;
  crowd([&](Random r, int me) { nested_turns(outcomes, m, turn, me, std::move(r)); });
  EXPECT_TRUE(m.try_lock());
  EXPECT_EQ(turn.depth, 0);
  EXPECT_GE(turn.turns, outcomes.in_time());
  m.unlock();
  EXPECT_THROW(m.unlock(), std::system_error);
  outcomes.expect_both();
}
TEST_P(LimitsStress, RecursiveMutex) {
  in_fibers([&] { all_nested_turns<recursive_mutex>([&](auto&& f) { crowd(6, 3, f); }); });
}
TEST_P(LimitsStress, RecursiveTimedMutex) {
  in_fibers([&] { all_nested_turns<recursive_timed_mutex>([&](auto&& f) { crowd(6, 3, f); }); });
}

// SH3: readers see whole writes, and nobody is left in line, whoever gives up.
TEST_P(LimitsStress, SharedTimedMutex) {
  int64_t writes = 0;
  std::atomic<int64_t> expected{0};
  std::atomic<int64_t> reads{0};
  in_fibers([&] {
    shared_timed_mutex m;
    int64_t twice = 0;
    Outcomes writers;
    Outcomes readers;
    crowd(8, 4, [&](Random r, int k) {
      while (writers.wanted() || readers.wanted()) {
        const bool waits = below(r, 4) == 0;
        if (k % 4 == 0) {
          if (waits) {
            m.lock();
          } else if (!writers.add(m.try_lock_for(some_limit(r)))) {
            continue;
          }
          ++writes;
          hold(r);
          twice += 2;
          m.unlock();
          ++expected;
        } else {
          if (waits) {
            m.lock_shared();
          } else if (!readers.add(m.try_lock_shared_for(some_limit(r)))) {
            continue;
          }
          EXPECT_EQ(twice, 2 * writes);
          hold(r);
          m.unlock_shared();
          ++reads;
        }
      }
    });
    EXPECT_TRUE(m.try_lock());
    m.unlock();
    EXPECT_TRUE(m.try_lock_shared());
    m.unlock_shared();
    writers.expect_both();
    readers.expect_both();
  });
  EXPECT_EQ(writes, expected.load());
  EXPECT_GT(reads.load(), 0);
}

// Items for which fibers and threads wait with and without a limit.
struct Items {
  mutex m;
  condition_variable_any c;
  std::stop_source source;
  int lasting =
      0;  // those without a limit that have come; they have queued themselves once m is free
  int there = 0;
  int taken = 0;  // by those with a limit

  void take_lasting() {
    std::unique_lock lock(m);
    ++lasting;
    c.wait(lock, [this] { return there > 0; });
    --there;
  }
  bool take_limited(Random r) {
    std::unique_lock lock(m);
    const auto some = [this] { return there > 0; };
    bool got = false;
    switch (below(r, 4)) {
      case 0:
        got = c.wait(lock, source.get_token(), some);
        break;
      case 1:
        got = c.wait_for(lock, source.get_token(), some_limit(r), some);
        break;
      case 2:
        got = c.wait_for(lock, some_limit(r), some);
        break;
      default:  // leaves to others what comes as its time passes
        got = c.wait_for(lock, some_limit(r)) == std::cv_status::no_timeout && some();
        break;
    }
    if (!got) return false;
    --there;
    ++taken;
    return true;
  }
  void put(int n, Random& r) {
    for (; n > 0; --n) {
      const std::lock_guard guard(m);
      ++there;
      c.notify_one();
      give_way(r);
    }
  }
  bool all_there(int n) {
    const std::lock_guard guard(m);
    return lasting == n;
  }
};

// CA1, CA2: limits, notifications and requests of tokens. As many items come as those without a limit want, and those with one
// have taken: each notification must find its waiter, or one of them sleeps for ever.
TEST_P(LimitsStress, ConditionVariableAny) {
  in_fibers([&] {
    Random r = random();
    Outcomes outcomes;
    while (outcomes.wanted()) {
      constexpr int kLasting = 3;
      Items items;
      const auto last = [&] { items.take_lasting(); };
      const auto limited = [&](Random mine) { outcomes.add(items.take_limited(std::move(mine))); };
      std::vector<task<void>> with_limit;
      std::vector<task<void>> without;
      for (int i = 0; i < 5; ++i) with_limit.push_back(spawn(limited, Random(r())));
      for (int i = 0; i < kLasting - 1; ++i) without.push_back(spawn(last));
      std::optional<std::thread> foreign;
      std::optional<std::thread> foreign_last;
      if (below(r, 8) == 0) foreign.emplace(limited, Random(r()));
      if (below(r, 8) == 0) {
        foreign_last.emplace(last);
      } else {
        without.push_back(spawn(last));
      }
      if (below(r, 2) == 0) test::until([&] { return items.all_there(kLasting); });
      items.put(kLasting, r);
      items.source.request_stop();
      for (auto& t : with_limit) t.join();
      if (foreign) blocking([&] { foreign->join(); });
      test::until([&] { return items.all_there(kLasting); });
      items.put(items.taken, r);
      for (auto& t : without) t.join();
      if (foreign_last) blocking([&] { foreign_last->join(); });
      EXPECT_EQ(items.there, 0);
    }
    outcomes.expect_both();
  });
}

// The ways to wait for a value.
template <class T>
void await(const shared_future<T>& f, Random& r) {
  switch (below(r, 3)) {
    case 0:
      while (f.wait_for(some_limit(r)) == std::future_status::timeout) give_way(r);
      break;
    case 1:
      f.wait();
      break;
    default:
      break;  // get() waits
  }
}

// FU1, FU2: limits, fibers that are asked to stop, values, promises that break, and states that end with whoever comes last. One
// who waits without a limit and is not woken sleeps for ever.
TEST_P(LimitsStress, Future) {
  std::atomic<int64_t> kept{0};
  std::atomic<int64_t> broken{0};
  std::atomic<int64_t> stops{0};
  in_fibers([&] {
    Random r = random();
    const test::StressClock clock;
    const auto patience = std::chrono::steady_clock::now() + test::kPatience;
    const auto one_is_missing = [&] { return kept == 0 || broken == 0 || stops == 0; };
    while (clock.running() || (one_is_missing() && std::chrono::steady_clock::now() < patience)) {
      auto* p = new promise<std::vector<int>>;
      shared_future<std::vector<int>> f = p->get_future();
      const auto take = [&](Random mine, shared_future<std::vector<int>> own) {
        for (bool again = true; again;) {
          again = false;
          try {
            await(own, mine);
            EXPECT_EQ(own.get().size(), 10U);
            ++kept;
          } catch (const std::future_error& e) {
            EXPECT_EQ(e.code(), std::future_errc::broken_promise);
            ++broken;
          } catch (const stopped&) {
            // A request ends one wait, and leaves the future as it is.
            EXPECT_TRUE(this_fiber::stop_token().stop_requested());
            EXPECT_TRUE(own.valid());
            ++stops;
            again = true;
          }
        }
      };
      std::vector<task<void>> tasks;
      for (int i = 0; i < 4; ++i) tasks.push_back(spawn(take, Random(r()), f));
      std::optional<std::thread> foreign;
      if (below(r, 8) == 0) foreign.emplace(take, Random(r()), f);
      f = {};
      const auto end = std::chrono::steady_clock::now() + some_limit(r);
      const bool asks = below(r, 4) == 0;
      while (std::chrono::steady_clock::now() < end) {
        give_way(r);
        if (asks) tasks[below(r, tasks.size())].request_stop();
      }
      if (below(r, 4) != 0) p->set_value(std::vector<int>(10));
      delete p;
      for (auto& t : tasks) t.join();
      if (foreign) blocking([&] { foreign->join(); });
    }
  });
  EXPECT_GT(kept.load(), 0);
  EXPECT_GT(broken.load(), 0);
  EXPECT_GT(stops.load(), 0);
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
