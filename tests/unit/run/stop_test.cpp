// Stop requests: which waits they end, how often, and what destructors see of them.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stop_token>
#include <thread>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/fiber.hpp"
#include "gort/spawn.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;

class Stop : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(Stop);

// True if f() ends by gort::stopped.
template <class F>
bool throws_stopped(F&& f) {
  try {
    f();
  } catch (const stopped&) {
    return true;
  }
  return false;
}

TEST_P(Stop, EndsASleep) {
  in_fibers([] {
    std::atomic<bool> there{false};
    auto t = spawn([&there] {
      there.store(true);
      return throws_stopped([] { sleep_for(1h); });
    });
    test::until([&] { return there.load(); });
    t.request_stop();
    EXPECT_TRUE(t.get());
  });
}

TEST_P(Stop, EndsAJoin) {
  in_fibers([] {
    auto target = spawn([] { sleep_for(1h); });
    std::atomic<bool> there{false};
    auto t = spawn([&] {
      there.store(true);
      return throws_stopped([&] { target.join(); });
    });
    test::until([&] { return there.load(); });
    t.request_stop();
    EXPECT_TRUE(t.get());
    EXPECT_FALSE(target.done());
    target.request_stop();
    target.join();
  });
}

TEST_P(Stop, IsThrownOnceAndTheTokenStays) {
  in_fibers([] {
    std::atomic<bool> requested{false};
    auto t = spawn([&](const std::stop_token& token) {
      test::until([&] { return requested.load(); });
      int n = 0;
      for (int i = 0; i < 5; ++i) n += throws_stopped([] { sleep_for(200us); }) ? 1 : 0;
      EXPECT_TRUE(token.stop_requested());
      EXPECT_TRUE(this_fiber::stop_token().stop_requested());
      return n;
    });
    t.request_stop();
    t.request_stop();
    requested = true;
    EXPECT_EQ(t.get(), 1);
  });
}

TEST_P(Stop, ARequestThatCameEarlierIsThrownByTheFirstWait) {
  in_fibers([] {
    std::atomic<bool> requested{false};
    auto t = spawn([&requested] {
      test::until([&] { return requested.load(); });
      yield();  // never throws
      return throws_stopped([] { sleep_for(1h); });
    });
    t.request_stop();
    requested.store(true);
    EXPECT_TRUE(t.get());
  });
}

TEST_P(Stop, WhatDoesNotParkDoesNotThrow) {
  in_fibers([] {
    auto ended = spawn([] {});
    ended.join();
    std::atomic<bool> requested{false};
    auto t = spawn([&] {
      test::until([&] { return requested.load(); });
      ended.join();                                        // has ended
      sleep_until(std::chrono::steady_clock::now() - 1s);  // is over
      sleep_for(0s);
      yield();
      return throws_stopped([] { sleep_for(1h); });
    });
    t.request_stop();
    requested.store(true);
    EXPECT_TRUE(t.get());
  });
}

TEST_P(Stop, ATaskThatEndsByItIsFinished) {
  in_fibers([] {
    auto nothing = spawn([] { sleep_for(1h); });
    nothing.request_stop();
    nothing.get();
    auto value = spawn([] {
      sleep_for(1h);
      return 1;
    });
    value.request_stop();
    EXPECT_THROW(value.get(), stopped);
    go([] { throw stopped(); });  // no error
  });
}

TEST_P(Stop, RunsCallbacksOfTheToken) {
  in_fibers([] {
    std::atomic<int> calls{0};
    auto t = spawn([&calls](const std::stop_token& token) {
      const std::stop_callback callback(token, [&calls] { calls.fetch_add(1); });
      test::until([&] { return calls.load() != 0; });
    });
    yield();
    EXPECT_EQ(calls.load(), 0);
    t.request_stop();
    t.join();
    EXPECT_EQ(calls.load(), 1);
  });
}

TEST_P(Stop, ALeadingTokenIsTheFibersOwn) {
  in_fibers([] {
    auto t = spawn(
        [](const std::stop_token& token, int n) {
          EXPECT_EQ(token, this_fiber::stop_token());
          EXPECT_FALSE(token.stop_requested());
          return n;
        },
        4);
    EXPECT_EQ(t.get(), 4);
    std::atomic<bool> ran{false};
    go([&ran](const std::stop_token& token) { ran.store(token.stop_possible()); });
    test::until([&] { return ran.load(); });
  });
}

TEST_P(Stop, ComesFromForeignThreadsToo) {
  in_fibers([] {
    for (int i = 0; i < 20; ++i) {
      auto t = spawn([] { return throws_stopped([] { sleep_for(1h); }); });
      if (i % 2 == 0) yield();
      blocking([&t] { std::thread([&t] { t.request_stop(); }).join(); });
      EXPECT_TRUE(t.get());
    }
  });
}

TEST_P(Stop, AfterTheEndChangesNothing) {
  in_fibers([] {
    auto t = spawn([] { return 1; });
    t.join();
    t.request_stop();
    EXPECT_EQ(t.get(), 1);
    spawn([] { EXPECT_FALSE(this_fiber::stop_token().stop_requested()); }).get();
    spawn([] { sleep_for(10us); }).get();  // a reborn fiber is not asked
  });
}

// Waits in destructors during unwinding do not throw; the request is thrown by the next ordinary
// wait.
TEST_P(Stop, DoesNotThrowOutOfUnwinding) {
  in_fibers([] {
    struct SleepsAtTheEnd {
      std::atomic<bool>& sleeping;
      ~SleepsAtTheEnd() {
        sleeping.store(true);
        sleep_for(5ms);
        spawn([] { sleep_for(1ms); }).join();
      }
    };
    for (int i = 0; i < 5; ++i) {
      std::atomic<bool> sleeping{false};
      auto t = spawn([&sleeping] {
        try {
          const SleepsAtTheEnd s{sleeping};
          throw 1;
        } catch (int) {
        }
        return throws_stopped([] { sleep_for(1h); });
      });
      test::until([&] { return sleeping.load(); });
      t.request_stop();
      EXPECT_TRUE(t.get());
    }
  });
}

TEST_P(Stop, ADestructorThatJoinsDoesNotThrowWhileStopping) {
  in_fibers([] {
    auto t = spawn([] {
      auto inner = spawn([] {
        const std::stop_token token = this_fiber::stop_token();
        while (!token.stop_requested()) yield();
        for (int i = 0; i < 10; ++i) yield();
      });
      sleep_for(1h);
    });
    yield();
    t.request_stop();
    t.get();
  });
}

// The window between a fiber's decision to wait and its being in the queue it waits in.
TEST_P(Stop, IsNotLostWhileAFiberFallsAsleep) {
  in_fibers([] {
    for (int i = 0; i < (test::kSanitizers ? 300 : 3000); ++i) {
      std::atomic<bool> there{false};
      auto t = spawn([&there, i] {
        there.store(true);
        return throws_stopped([i] {
          if (i % 2 == 0) {
            sleep_for(1h);
          } else {
            spawn([] { sleep_for(1h); }).join();
          }
        });
      });
      if (i % 3 == 0) {
        test::spin_until([&] { return there.load(); }, 1ms);  // on another P, if there is one
      }
      t.request_stop();
      EXPECT_TRUE(t.get());
    }
  });
}

TEST(StopOutsideFibers, ThereIsNothingToStop) {
  EXPECT_FALSE(this_fiber::in_fiber());
  EXPECT_EQ(this_fiber::id(), 0U);
  EXPECT_EQ(this_fiber::name(), "");
  this_fiber::name("x");
  EXPECT_EQ(this_fiber::name(), "");
  EXPECT_FALSE(this_fiber::stop_token().stop_possible());
  yield();
  const auto start = std::chrono::steady_clock::now();
  sleep_for(2ms);
  EXPECT_GE(std::chrono::steady_clock::now() - start, 2ms);
  EXPECT_EQ(blocking([] { return 4; }), 4);
}

}  // namespace
}  // namespace gort
