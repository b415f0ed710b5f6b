// counting_semaphore: order, stop requests, misuse, destruction by who acquires. The standard's contract is in
// conformance/.
#include "gort/semaphore.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/errors.hpp"
#include "gort/mutex.hpp"
#include "gort/spawn.hpp"
#include "sync_fixture.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using test::until_waiters;

static_assert(sizeof(counting_semaphore<>) == 8);
static_assert(std::is_trivially_destructible_v<binary_semaphore>);
static_assert(counting_semaphore<PTRDIFF_MAX>::max() == PTRDIFF_MAX);
constinit counting_semaphore<> static_semaphore{2};

class Semaphore : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(Semaphore);

// SM2: what is released goes to who waits, and nobody overtakes.
TEST(SemaphoreCount, ReachesAsFarAsTheStandards) {
  counting_semaphore<PTRDIFF_MAX> s(PTRDIFF_MAX - 1);
  s.release();
  EXPECT_THROW(s.release(), std::logic_error);
  EXPECT_TRUE(s.try_acquire());
  s.release();
}

TEST_P(Semaphore, GoesToTheOldestWaiter) {
  in_fibers([] {
    counting_semaphore<> s(0);
    mutex lock;  // those of one release may run at the same time
    std::vector<size_t> order;
    std::vector<task<void>> tasks;
    for (size_t i = 0; i < 6; ++i) {
      tasks.push_back(spawn([&, i] {
        s.acquire();
        const std::lock_guard guard(lock);
        order.push_back(i);
      }));
      until_waiters(&s, i + 1);
    }
    s.release();
    EXPECT_FALSE(s.try_acquire());
    tasks[0].join();
    s.release(2);
    EXPECT_EQ(test::waiters(&s), 3U);
    tasks[1].join();
    tasks[2].join();
    s.release(5);  // SM1: two are left for the count
    for (size_t i = 3; i < 6; ++i) tasks[i].join();
    EXPECT_TRUE(s.try_acquire());
    EXPECT_TRUE(s.try_acquire());
    EXPECT_FALSE(s.try_acquire());
    std::sort(order.begin() + 1, order.begin() + 3);  // those of one release run as they come
    std::sort(order.begin() + 3, order.end());
    EXPECT_EQ(order, (std::vector<size_t>{0, 1, 2, 3, 4, 5}));
  });
}

// SM3: the other one gets it.
TEST_P(Semaphore, AStopRequestEndsAWaitAndTakesNothing) {
  in_fibers([] {
    counting_semaphore<> s(0);
    int ended = 0;
    auto first = spawn([&] {
      try {
        s.acquire();
      } catch (const stopped&) {
        ++ended;
        throw;
      }
    });
    until_waiters(&s, 1);
    auto second = spawn([&] { s.acquire(); });
    until_waiters(&s, 2);
    first.request_stop();
    first.join();
    EXPECT_EQ(ended, 1);
    EXPECT_EQ(test::waiters(&s), 1U);
    s.release();
    second.join();
    auto timed = spawn([&] { (void)s.try_acquire_for(1h); });
    until_waiters(&s, 1);
    timed.request_stop();
    timed.join();
    EXPECT_FALSE(s.try_acquire());
    s.release();
    auto asked = spawn([&] { s.acquire(); });  // what needs no wait is not ended
    asked.request_stop();
    asked.join();
    EXPECT_FALSE(s.try_acquire());
  });
}

TEST_P(Semaphore, AWaitWhileTheStackIsUnwoundIsNotEnded) {
  in_fibers([] {
    counting_semaphore<> s(0);
    bool acquired = false;
    struct at_end {
      counting_semaphore<>& s;
      bool& acquired;
      ~at_end() {
        s.acquire();
        acquired = true;
      }
    };
    auto t = spawn([&] {
      const at_end guard{s, acquired};
      throw std::runtime_error("unwinds");
    });
    until_waiters(&s, 1);
    t.request_stop();
    EXPECT_EQ(test::waiters(&s), 1U);
    s.release();
    t.join();
    EXPECT_TRUE(acquired);
  });
}

TEST_P(Semaphore, MisuseThrowsAndChangesNothing) {
  in_fibers([] {
    EXPECT_THROW(counting_semaphore<3>(4), std::invalid_argument);
    EXPECT_THROW(counting_semaphore<3>(-1), std::invalid_argument);
    counting_semaphore<3> s(2);
    EXPECT_THROW(s.release(2), std::logic_error);
    EXPECT_THROW(s.release(-1), std::logic_error);
    EXPECT_THROW(s.release(std::numeric_limits<std::ptrdiff_t>::max()), std::logic_error);
    s.release(0);
    s.release();
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(s.try_acquire());
    EXPECT_FALSE(s.try_acquire());
    auto waiter = spawn([&] { s.acquire(); });
    until_waiters(&s, 1);
    EXPECT_THROW(s.release(4), std::logic_error);
    EXPECT_EQ(test::waiters(&s), 1U);
    s.release(3);
    waiter.join();
    EXPECT_TRUE(s.try_acquire() && s.try_acquire() && !s.try_acquire());
  });
}

// SM4.
TEST_P(Semaphore, MayBeDestroyedByWhoAcquires) {
  in_fibers([] {
    for (int round = 0; round < 300; ++round) {
      auto* s = new binary_semaphore(0);
      const auto take = [s] {
        s->acquire();
        delete s;
      };
      if (round % 3 == 0) {
        std::thread foreign(take);
        s->release();
        blocking([&] { foreign.join(); });
        continue;
      }
      auto t = spawn(take);
      if (round % 3 == 1) until_waiters(s, 1);
      s->release();
      t.join();
    }
  });
}

TEST_P(Semaphore, LimitsHowManyAreInside) {
  in_fibers([] {
    std::atomic<int> inside{0};
    std::atomic<int> most{0};
    const auto work = [&] {
      for (int i = 0; i < 200; ++i) {
        static_semaphore.acquire();
        const int n = inside.fetch_add(1) + 1;
        int seen = most.load();
        while (seen < n && !most.compare_exchange_weak(seen, n)) {
        }
        do {
          yield();
        } while (most.load() < 2);  // two of them do get in
        inside.fetch_sub(1);
        static_semaphore.release();
      }
    };
    std::vector<task<void>> tasks;
    for (int i = 0; i < 6; ++i) tasks.push_back(spawn(work));
    std::thread foreign(work);
    auto blocked = spawn([&] { blocking(work); });
    for (auto& t : tasks) t.join();
    blocked.join();
    blocking([&] { foreign.join(); });
    EXPECT_EQ(most.load(), 2);
  });
}

TEST(SemaphoreForeign, NeedsNoRuntime) {
  binary_semaphore ping(0);
  binary_semaphore pong(0);
  std::thread other([&] {
    for (int i = 0; i < 2000; ++i) {
      ping.acquire();
      pong.release();
    }
  });
  for (int i = 0; i < 2000; ++i) {
    ping.release();
    pong.acquire();
  }
  other.join();
  EXPECT_FALSE(ping.try_acquire_for(1ms));
}

}  // namespace
}  // namespace gort
