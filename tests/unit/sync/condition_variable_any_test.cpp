// condition_variable_any: stop requests, locks that throw or wait. The standard's contract is in conformance/.
#include "gort/condition_variable_any.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <shared_mutex>
#include <stdexcept>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/chan.hpp"
#include "gort/semaphore.hpp"
#include "gort/shared_mutex.hpp"
#include "gort/spawn.hpp"
#include "os/os.hpp"
#include "sync_fixture.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using test::until_waiters;
using lock_t = std::unique_lock<mutex>;

static_assert(sizeof(condition_variable_any) == 4);
constinit condition_variable_any static_any;

class ConditionVariableAny : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(ConditionVariableAny);

constexpr auto kNever = [] { return false; };

TEST_P(ConditionVariableAny, AStopRequestEndsAWaitWithATokenOnly) {
  in_fibers([] {
    mutex m;
    condition_variable_any c;
    bool go = false;
    int ended = 0;
    auto with_token = spawn([&] {
      lock_t lock(m);
      try {
        c.wait(lock, std::stop_token(), kNever);
      } catch (const stopped&) {
        EXPECT_TRUE(lock.owns_lock());
        ++ended;
      }
    });
    until_waiters(&c, 1);
    auto own = spawn([&](std::stop_token token) {
      lock_t lock(m);
      try {
        EXPECT_FALSE(c.wait_for(lock, token, 1h, kNever));
        // It was in line, and not asleep yet: the request came before the wait, and is there for the next.
        EXPECT_TRUE(token.stop_requested());
        sleep_for(1h);
      } catch (const stopped&) {
        EXPECT_TRUE(token.stop_requested() && lock.owns_lock());
        ++ended;
      }
    });
    until_waiters(&c, 2);
    auto without = spawn([&] {
      lock_t lock(m);
      c.wait(lock, [&] { return go; });
      ++ended;
    });
    until_waiters(&c, 3);
    without.request_stop();
    EXPECT_EQ(test::waiters(&c), 3U);
    with_token.request_stop();
    with_token.join();
    own.request_stop();
    own.join();
    EXPECT_EQ(ended, 2);
    EXPECT_EQ(test::waiters(&c), 1U);
    {
      const lock_t lock(m);
      go = true;
    }
    c.notify_all();
    without.join();
    EXPECT_EQ(ended, 3);
  });
}

// A request that came before it is delivered before anything is given up; and it is delivered once.
TEST_P(ConditionVariableAny, ARequestThatIsDueIsThrownWithTheLock) {
  in_fibers([] {
    mutex m;
    condition_variable_any c;
    binary_semaphore asked(0);
    auto t = spawn([&] {
      test::until([&] { return asked.try_acquire(); });
      lock_t lock(m);
      EXPECT_THROW(c.wait(lock, std::stop_token(), kNever), stopped);
      EXPECT_TRUE(lock.owns_lock());
      EXPECT_FALSE(c.wait_for(lock, std::stop_token(), 1ms, kNever));
    });
    t.request_stop();
    asked.release();
    t.join();
  });
}

// CA1: the lock may throw, and may wait itself, also for what a stop request ends.
TEST_P(ConditionVariableAny, TheLockIsTheCallers) {
  in_fibers([] {
    condition_variable_any c;
    struct throws {
      void lock() {}
      void unlock() { throw std::runtime_error("no"); }
    } bad;
    EXPECT_THROW(c.wait(bad), std::runtime_error);
    EXPECT_EQ(test::waiters(&c), 0U);

    struct by_semaphore {
      binary_semaphore s{1};
      void lock() { s.acquire(); }
      void unlock() {
        s.release();
        for (int i = 0; i < 3; ++i) yield();
        blocking([] {});
      }
    } slow;
    int turn = 0;
    const auto play = [&](int me) {
      for (int i = 0; i < 50; ++i) {
        slow.lock();
        c.wait(slow, [&] { return turn % 2 == me; });
        ++turn;
        c.notify_all();
        slow.unlock();
      }
    };
    auto other = spawn(play, 0);
    play(1);
    other.join();
    EXPECT_EQ(turn, 100);

    auto asked = spawn([&] {
      slow.lock();
      EXPECT_THROW(c.wait(slow, std::stop_token(), kNever), stopped);
      slow.unlock();
    });
    until_waiters(&c, 1);
    asked.request_stop();
    asked.join();
  });
}

// Those who only look wait together, without a limit, each with its own share of the lock.
TEST_P(ConditionVariableAny, WaitersShareTheLock) {
  in_fibers([] {
    constexpr int kReaders = 6;
    shared_mutex m;
    condition_variable_any c;
    int written = 0;
    std::atomic<int> seen{0};
    const auto read = [&] {
      for (int n = 1; n <= 20; ++n) {
        std::shared_lock lock(m);
        c.wait(lock, [&] { return written >= n; });
        EXPECT_TRUE(lock.owns_lock());
        EXPECT_FALSE(m.try_lock()) << "it has its share again";
        EXPECT_EQ(written, n);
        ++seen;
      }
    };
    std::vector<task<void>> readers;
    for (int i = 0; i < kReaders; ++i) readers.push_back(spawn(read));
    for (int n = 1; n <= 20; ++n) {
      until_waiters(&c, kReaders);
      EXPECT_TRUE(m.try_lock_shared()) << "nobody who waits has it alone";
      m.unlock_shared();
      {
        const std::lock_guard lock(m);
        written = n;
        c.notify_all();
      }
      test::until([&] { return seen == n * kReaders; });
    }
    for (auto& t : readers) t.join();
  });
}

// CA2: a token ends its own waiter's wait, and leaves the others, and the object, alone.
TEST_P(ConditionVariableAny, ATokenWakesItsOwnWaiter) {
  in_fibers([] {
    for (int round = 0; round < 100; ++round) {
      mutex m;
      auto* c = new condition_variable_any;
      std::stop_source source;
      auto mine = spawn([&, c] {
        lock_t lock(m);
        EXPECT_FALSE(c->wait(lock, source.get_token(), kNever));
      });
      auto other = spawn([&, c] {
        lock_t lock(m);
        c->wait(lock);
      });
      until_waiters(c, 2);
      if (round % 2 == 0) {
        source.request_stop();
      } else {
        std::thread foreign([&] { source.request_stop(); });
        blocking([&] { foreign.join(); });
      }
      until_waiters(c, 1);
      const lock_t lock(m);
      c->notify_all();
      delete c;
    }
  });
}

TEST(ConditionVariableAnyForeign, NeedsNoRuntime) {
  std::mutex m;
  int turn = 0;
  const auto play = [&](int me) {
    for (int i = 0; i < 1000; ++i) {
      std::unique_lock lock(m);
      static_any.wait(lock, [&] { return turn % 2 == me; });
      ++turn;
      static_any.notify_one();
    }
  };
  std::thread one(play, 0);
  std::thread two(play, 1);
  one.join();
  two.join();
  EXPECT_EQ(turn, 2000);
}

// CA3: a lock that belongs to a thread is given up by the one that has it.
TEST_P(ConditionVariableAny, ALockOfAThreadIsGivenUpWhereItIsHeld) {
  in_fibers([] {
    struct of_a_thread {
      pid_t owner = 0;
      void lock() { owner = os::gettid(); }
      void unlock() { EXPECT_EQ(std::exchange(owner, 0), os::gettid()); }
    };
    std::atomic<bool> over{false};
    std::atomic<int> turns{0};
    std::vector<task<void>> others;  // who want the P, and take it
    for (int i = 0; i < 2 * procs(); ++i) {
      others.push_back(spawn([&] {
        for (; !over; yield()) ++turns;
      }));
    }
    for (int i = 0; i < 50; ++i) {
      blocking([&] {
        const int before = turns;
        EXPECT_TRUE(test::spin_until([&] { return turns > before + 2 * procs(); }));
        of_a_thread lock;
        condition_variable_any c;
        lock.lock();
        EXPECT_EQ(c.wait_for(lock, 10us), std::cv_status::timeout);
        lock.unlock();
      });
    }
    over = true;
  });
}

// A lock made of what a request ends is taken back all the same; the request is for the next wait behind it.
TEST_P(ConditionVariableAny, ARequestDoesNotEndTheWayBackToTheLock) {
  in_fibers([] {
    struct by_semaphore {
      binary_semaphore s{1};
      void lock() { s.acquire(); }
      void unlock() { s.release(); }
    } l;
    condition_variable_any c;
    bool go = false;
    bool has_lock = false;
    for (const bool with_token : {false, true}) {
      go = has_lock = false;
      auto waits = spawn([&] {
        l.lock();
        if (with_token) {
          EXPECT_TRUE(c.wait(l, std::stop_token(), [&] { return go; }));
        } else {
          c.wait(l, [&] { return go; });
        }
        has_lock = true;
        l.unlock();
        EXPECT_THROW((void)chan<int>::nil().recv(), stopped);
      });
      until_waiters(&c, 1);
      l.lock();
      go = true;
      c.notify_all();
      until_waiters(&l.s, 1);
      waits.request_stop();
      EXPECT_FALSE(has_lock);
      l.unlock();
      waits.get();
      EXPECT_TRUE(has_lock);
    }
  });
}

}  // namespace
}  // namespace gort
