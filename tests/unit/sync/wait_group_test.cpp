// wait_group: counting, releasing, misuse, stopping, and destruction by the waiter.
#include "gort/wait_group.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <limits>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/chan.hpp"
#include "gort/errors.hpp"
#include "gort/fiber_local.hpp"
#include "sync_fixture.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using test::until;
using test::until_waiters;
using clock = std::chrono::steady_clock;

static_assert(sizeof(wait_group) == 8);
constinit wait_group static_group;

class WaitGroup : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(WaitGroup);

TEST_P(WaitGroup, WaitsForAll) {
  in_fibers([] {
    wait_group wg;
    wg.wait();  // nothing to wait for
    std::atomic<int> sum{0};
    for (int round = 0; round < 20; ++round) {
      sum = 0;
      for (int i = 1; i <= 20; ++i) {
        wg.go(
            [&sum](int n) {
              if (n % 3 == 0) yield();
              sum.fetch_add(n, std::memory_order_relaxed);
            },
            i);
      }
      wg.wait();
      EXPECT_EQ(sum.load(), 210);
    }
  });
}

TEST_P(WaitGroup, ReleasesFibersAndThreads) {
  in_fibers([] {
    int value = 0;
    static_group.add(2);
    std::atomic<int> seen{0};
    const auto wait = [&] {
      static_group.wait();
      seen += value;
    };
    std::vector<task<void>> tasks;
    for (int i = 0; i < 4; ++i) tasks.push_back(spawn(wait));
    std::thread foreign(wait);
    until_waiters(&static_group, 5);
    static_group.done();
    EXPECT_EQ(test::waiters(&static_group), 5U);
    std::thread last([&] {
      value = 1;
      static_group.done();
    });
    for (auto& t : tasks) t.join();
    blocking([&] {
      foreign.join();
      last.join();
    });
    EXPECT_EQ(seen.load(), 5);
  });
}

// CD1: with the mark and without.
TEST_P(WaitGroup, BelowZeroThrowsAndLeavesItUnchanged) {
  in_fibers([] {
    wait_group wg;
    EXPECT_THROW(wg.done(), std::logic_error);
    wg.add(2);
    EXPECT_THROW(wg.add(-3), std::logic_error);
    EXPECT_THROW(wg.add(std::numeric_limits<std::ptrdiff_t>::min()), std::logic_error);
    EXPECT_THROW(wg.add(std::numeric_limits<std::ptrdiff_t>::max()), std::logic_error);
    auto waiter = spawn([&] { wg.wait(); });
    until_waiters(&wg, 1);
    EXPECT_THROW(wg.add(-3), std::logic_error);
    EXPECT_EQ(test::waiters(&wg), 1U);
    wg.add(-2);
    waiter.join();
    EXPECT_THROW(wg.done(), std::logic_error);
  });
}

TEST_P(WaitGroup, AWaiterIsReleasedThoughTheCountRisesAgain) {
  in_fibers([] {
    wait_group wg;
    wg.add(1);
    auto waiter = spawn([&] { wg.wait(); });
    until_waiters(&wg, 1);
    wg.done();
    wg.add(1);
    waiter.join();
    wg.done();
  });
}

TEST_P(WaitGroup, TimeLimitsPass) {
  in_fibers([] {
    wait_group wg;
    EXPECT_TRUE(wg.wait_for(0ms));
    wg.add(1);
    const auto since = clock::now();
    EXPECT_FALSE(wg.wait_for(2ms));
    EXPECT_GE(clock::now() - since, 2ms);
    EXPECT_FALSE(wg.wait_until(clock::now() - 1s));
    EXPECT_EQ(test::waiters(&wg), 0U);
    std::thread foreign([&] { EXPECT_FALSE(wg.wait_for(1ms)); });
    blocking([&] { foreign.join(); });
    auto waiter = spawn([&] { EXPECT_TRUE(wg.wait_for(1h)); });
    until_waiters(&wg, 1);
    wg.done();
    waiter.join();
  });
}

// The function, and the fiber's own variables, have ended when wait() returns, though ending them takes a while.
struct TakesTime {
  std::shared_ptr<int> witness;
  ~TakesTime() { yield(); }
};
TEST_P(WaitGroup, WhatAFiberOwnsIsGoneBehindWait) {
  static const fiber_local<TakesTime> own;
  in_fibers([] {
    const auto witness = std::make_shared<int>(0);
    for (int i = 0; i < 100; ++i) {
      wait_group wg;
      for (int n = 0; n < 4; ++n) wg.go([witness] { own->witness = witness; });
      wg.wait();
      ASSERT_EQ(witness.use_count(), 1);
    }
  });
}

// done() comes after the function's captures are gone.
TEST_P(WaitGroup, GoDestroysTheFunctionBeforeDone) {
  in_fibers([] {
    for (int i = 0; i < 100; ++i) {
      wait_group wg;
      auto owned = std::make_shared<int>(i);
      const std::weak_ptr<int> watch = owned;
      wg.go([p = std::move(owned)] { yield(); });
      wg.wait();
      EXPECT_TRUE(watch.expired());
    }
  });
}

TEST_P(WaitGroup, GoTakesMoveOnlyArgumentsAndATokenOfItsOwn) {
  in_fibers([] {
    wait_group wg;
    int got = 0;
    bool possible = false;
    wg.go(
        [&](const std::stop_token& token, std::unique_ptr<int> n) {
          possible = token.stop_possible();
          got = *n;
        },
        std::make_unique<int>(7));
    wg.wait();
    EXPECT_EQ(got, 7);
    EXPECT_TRUE(possible);
  });
}

TEST(WaitGroupEnd, AStoppedFiberIsDone) {
  wait_group wg;
  gort::run({.procs = 2}, [&] {
    wg.go([] { sleep_for(1h); });
    yield();
  });
  wg.wait();
}

TEST_P(WaitGroup, AStopRequestEndsTheWait) {
  in_fibers([] {
    wait_group wg;
    wg.add(1);
    for (const bool timed : {false, true}) {
      bool was_stopped = false;
      auto waiter = spawn([&] {
        try {
          if (timed) {
            static_cast<void>(wg.wait_for(1h));
          } else {
            wg.wait();
          }
        } catch (const stopped&) {
          was_stopped = true;
        }
        EXPECT_FALSE(wg.wait_for(1ms));  // once only
      });
      until_waiters(&wg, 1);
      waiter.request_stop();
      waiter.join();
      EXPECT_TRUE(was_stopped);
      EXPECT_EQ(test::waiters(&wg), 0U);
    }
    wg.done();
    wg.wait();
  });
}

TEST_P(WaitGroup, AnEarlierRequestIsThrownWhereItHasToPark) {
  in_fibers([] {
    wait_group empty;
    wait_group busy;
    busy.add(1);
    std::atomic<bool> requested{false};
    bool was_stopped = false;
    auto waiter = spawn([&] {
      until([&] { return requested.load(); });
      empty.wait();  // does not park
      try {
        busy.wait();
      } catch (const stopped&) {
        was_stopped = true;
      }
    });
    waiter.request_stop();
    requested = true;
    waiter.join();
    EXPECT_TRUE(was_stopped);
    busy.done();
  });
}

TEST_P(WaitGroup, AWaitWhileUnwindingDoesNotThrow) {
  struct WaitsAtItsEnd {
    wait_group& wg;
    ~WaitsAtItsEnd() { wg.wait(); }
  };
  in_fibers([] {
    wait_group wg;
    wg.add(1);
    int caught = 0;
    bool stopped_later = false;
    auto waiter = spawn([&] {
      try {
        const WaitsAtItsEnd at_end{wg};
        throw 1;
      } catch (int n) {
        caught = n;
      }
      try {
        sleep_for(1h);
      } catch (const stopped&) {
        stopped_later = true;
      }
    });
    until_waiters(&wg, 1);
    waiter.request_stop();
    EXPECT_EQ(test::waiters(&wg), 1U);
    wg.done();
    waiter.join();
    EXPECT_EQ(caught, 1);
    EXPECT_TRUE(stopped_later);
  });
}

// CD2: the waiter destroys it while the last done() may not have returned.
TEST_P(WaitGroup, MayBeDestroyedByTheWaiter) {
  in_fibers([] {
    for (int round = 0; round < 300; ++round) {
      auto wg = std::make_unique<wait_group>();
      wait_group* p = wg.get();
      p->add(3);
      auto one = spawn([p] { p->done(); });
      auto two = spawn([p, round] {
        if (round % 2 == 0) yield();
        p->done();
      });
      if (round % 3 == 0) {
        std::thread foreign([p] { p->done(); });
        wg->wait();
        wg.reset();
        blocking([&] { foreign.join(); });
      } else {
        p->done();
        wg->wait();
        wg.reset();
      }
      one.join();
      two.join();
    }
  });
}

// What is counted may use what the owner had, also if its wait has thrown.
TEST_P(WaitGroup, ItsEndWaits) {
  in_fibers([] {
    chan<int> go_on;
    std::atomic<bool> left{false};
    std::atomic<int> seen{0};
    auto owner = spawn([&] {
      int used = 7;
      wait_group wg;
      wg.go([&] {
        for (int i = 0; i < 3; ++i) (void)go_on.recv();
        seen = used;
      });
      try {
        wg.wait();
      } catch (const stopped&) {
        left = true;
        throw;
      }
    });
    owner.request_stop();
    while (!left) yield();  // else all may be done before it waits
    for (int i = 0; i < 3; ++i) {
      EXPECT_FALSE(owner.done());
      go_on.send(i);
    }
    owner.join();
    EXPECT_TRUE(left);
    EXPECT_EQ(seen, 7);
  });
}

TEST(WaitGroupEnd, DoesNotWaitWhereNobodyWouldCome) {
  wait_group wg;
  wg.add(1);
}

}  // namespace
}  // namespace gort
