// Task groups: the contract of gort/task_group.hpp.
#include "gort/task_group.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "gort/chan.hpp"
#include "gort/fiber_local.hpp"
#include "gort/run.hpp"
#include "gort/spawn.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;

class TaskGroup : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(TaskGroup);

// A wait that a stop request alone ends.
void wait_for_stop() {
  (void)chan<int>::nil().recv();
}

TEST_P(TaskGroup, JoinsAll) {
  in_fibers([] {
    int sum = 0;
    mutex m;
    task_group g;
    for (int i = 1; i <= 100; ++i) {
      g.spawn(
          [&](int n) {
            yield();
            const std::lock_guard guard(m);
            sum += n;
          },
          i);
    }
    g.spawn(attrs{.name = "named"}, [&] { EXPECT_EQ(this_fiber::name(), "named"); });
    g.join();
    EXPECT_EQ(sum, 5050);
    EXPECT_FALSE(g.stop_token().stop_requested());
    g.join();
    g.spawn([&] { ++sum; });
    g.join();
    EXPECT_EQ(sum, 5051) << "it may be used again";
  });
}

TEST_P(TaskGroup, TheFirstFailureStopsTheOthersAndIsThrown) {
  in_fibers([] {
    std::atomic<int> stopped_ones{0};
    task_group g;
    for (int i = 0; i < 10; ++i) {
      g.spawn([&](std::stop_token token) {
        try {
          wait_for_stop();
        } catch (const stopped&) {
          EXPECT_TRUE(token.stop_requested());
          ++stopped_ones;
          throw;
        }
      });
    }
    g.spawn([] { throw std::runtime_error("first"); });
    try {
      g.join();
      FAIL() << "the failure is thrown";
    } catch (const std::runtime_error& e) {
      EXPECT_STREQ(e.what(), "first");
    }
    EXPECT_EQ(stopped_ones, 10);
    EXPECT_TRUE(g.stop_token().stop_requested());
    g.join();
    // TG2: one that comes later begins with the request.
    bool asked = false;
    g.spawn([&] {
      try {
        wait_for_stop();
      } catch (const stopped&) {
        asked = true;
      }
    });
    g.join();
    EXPECT_TRUE(asked);
  });
}

TEST_P(TaskGroup, StoppedAfterARequestIsNoFailureAndBeforeIsOne) {
  in_fibers([] {
    task_group g;
    for (int i = 0; i < 5; ++i) g.spawn([] { wait_for_stop(); });
    g.request_stop();
    g.join();
    task_group other;
    other.spawn([] { throw stopped(); });
    EXPECT_THROW(other.join(), stopped);
  });
}

TEST_P(TaskGroup, ItsEndJoinsAndStopsOnlyWhileUnwinding) {
  in_fibers([] {
    bool ran = false;
    {
      task_group g;
      g.spawn([&] {
        sleep_for(2ms);
        ran = !g.stop_token().stop_requested();
      });
    }
    EXPECT_TRUE(ran);
    bool asked = false;
    try {
      task_group g;
      g.spawn([&] {
        try {
          wait_for_stop();
        } catch (const stopped&) {
          asked = true;
        }
      });
      throw std::runtime_error("out");
    } catch (const std::runtime_error&) {
    }
    EXPECT_TRUE(asked);
    task_group failed;
    failed.spawn([] { throw std::runtime_error("nobody joins"); });
  });
}

// TG3.
TEST_P(TaskGroup, ARequestToWhoJoinsIsHandedOn) {
  in_fibers([] {
    std::atomic<int> asked{0};
    const auto task_of_group = [&] {
      try {
        wait_for_stop();
      } catch (const stopped&) {
        ++asked;
        throw;
      }
    };
    bool thrown = false;
    auto joiner = spawn([&] {
      task_group g;
      g.spawn(task_of_group);
      try {
        g.join();
      } catch (const stopped&) {
        thrown = true;
        // Delivered: what comes now works normally.
        task_group after;
        int done = 0;
        after.spawn([&] {
          sleep_for(1ms);
          ++done;
        });
        after.join();
        EXPECT_EQ(done, 1);
      }
    });
    joiner.request_stop();
    joiner.get();
    EXPECT_TRUE(thrown);
    EXPECT_EQ(asked, 1);
    auto ender = spawn([&] {
      {
        task_group g;
        g.spawn(task_of_group);
      }
      EXPECT_EQ(asked, 2);
      EXPECT_THROW(wait_for_stop(), stopped) << "the destructor has left it open";
    });
    ender.request_stop();
    ender.get();
  });
}

TEST_P(TaskGroup, TasksSpawnIntoTheirOwnButDoNotJoinIt) {
  in_fibers([] {
    std::atomic<int> n{0};
    task_group g;
    g.spawn([&] {
      for (int i = 0; i < 10; ++i) g.spawn([&] { ++n; });
      EXPECT_THROW(g.join(), std::system_error);
    });
    g.join();
    EXPECT_EQ(n, 10);
  });
}

// TG1: the function, and the fiber's own variables, have ended when join() returns.
TEST_P(TaskGroup, WhatATaskOwnsIsGoneBehindJoin) {
  static const fiber_local<std::shared_ptr<int>> own;
  in_fibers([] {
    const auto witness = std::make_shared<int>(0);
    for (int i = 0; i < 100; ++i) {
      task_group g;
      for (int k = 0; k < 4; ++k) g.spawn([witness] { *own = witness; });
      g.join();
      ASSERT_EQ(witness.use_count(), 1);
    }
  });
}

TEST_P(TaskGroup, ThreadsMayOwnOne) {
  const runtime rt(opts());
  std::atomic<int> n{0};
  task_group g;
  for (int i = 0; i < 10; ++i) g.spawn([&] { ++n; });
  g.join();
  EXPECT_EQ(n, 10);
  EXPECT_THROW(
      {
        task_group h;
        h.spawn([] { wait_for_stop(); });
        throw std::runtime_error("out");
      },
      std::runtime_error);
}

TEST(TaskGroupAnywhere, NothingIsCountedWithoutARuntime) {
  task_group g;
  EXPECT_THROW(g.spawn([] {}), std::logic_error);
  g.join();
}

TEST_P(TaskGroup, EndsWithTheRun) {
  in_fibers([] {
    spawn([] {
      task_group g;
      for (int i = 0; i < 10; ++i) g.spawn([] { wait_for_stop(); });
      g.join();
    }).detach();
    yield();
  });
}

TEST_P(TaskGroup, JoinsUpToALimit) {
  in_fibers([] {
    using std::chrono::steady_clock;
    task_group g;
    EXPECT_TRUE(g.join_for(0s)) << "nothing is left";
    chan<int> go_on;
    g.spawn([&] { (void)go_on.recv(); });
    EXPECT_FALSE(g.join_for(0s));
    EXPECT_FALSE(g.join_for(-1h));
    EXPECT_FALSE(g.join_until(steady_clock::now() - 1s));
    const auto begin = steady_clock::now();
    EXPECT_FALSE(g.join_for(5ms));
    EXPECT_GE(steady_clock::now() - begin, 5ms);
    EXPECT_FALSE(g.join_until(std::chrono::system_clock::now() + 1ms));
    EXPECT_FALSE(g.stop_token().stop_requested()) << "the tasks go on";
    go_on.send(1);
    EXPECT_TRUE(g.join_for(1h));
    EXPECT_TRUE(g.join_until(steady_clock::time_point::max()));
  });
}

TEST_P(TaskGroup, AFailureIsThrownWhenAllHaveEnded) {
  in_fibers([] {
    task_group g;
    chan<int> go_on;
    std::atomic<bool> has_failed{false};
    g.spawn([&] {
      try {
        wait_for_stop();
      } catch (const stopped&) {
        has_failed = true;
      }
      (void)go_on.recv();
    });
    g.spawn([] { throw std::runtime_error("one fails"); });
    while (!has_failed) EXPECT_FALSE(g.join_for(1ms));
    EXPECT_FALSE(g.join_for(1ms));
    go_on.send(1);
    EXPECT_THROW((void)g.join_for(1h), std::runtime_error);
    EXPECT_TRUE(g.join_for(0s));
  });
}

TEST_P(TaskGroup, ALimitedJoinHandsARequestOnAndThrowsIt) {
  in_fibers([] {
    chan<int> go_on;
    std::atomic<bool> requested{false};
    task<void> joiner = spawn([&] {
      task_group g;
      std::atomic<bool> asked{false};
      g.spawn([&] {
        try {
          wait_for_stop();
        } catch (const stopped&) {
          asked = true;
        }
        (void)go_on.recv();
      });
      test::until([&] { return requested.load(); });
      EXPECT_FALSE(g.join_for(0s)) << "a request does not matter to who only asks";
      EXPECT_FALSE(asked);
      EXPECT_THROW((void)g.join_for(10ms), stopped);
      test::until([&] { return asked.load(); });
      go_on.close();
      EXPECT_TRUE(g.join_for(1h)) << "once";
    });
    joiner.request_stop();
    requested = true;
    joiner.get();
  });
}

TEST_P(TaskGroup, ALimitedJoinOfOnesOwnGroupIsAMistake) {
  in_fibers([] {
    task_group g;
    g.spawn([&] { EXPECT_THROW((void)g.join_for(0s), std::system_error); });
    g.join();
  });
}

TEST_P(TaskGroup, MayBeJoinedByTwo) {
  in_fibers([] {
    for (int i = 0; i < 20; ++i) {
      chan<int> go_on;
      std::atomic<int> ran{0};
      task_group g;
      for (int k = 0; k < 3; ++k) {
        g.spawn([&] {
          (void)go_on.recv();
          ++ran;
        });
      }
      const auto joins = [&] {
        g.join();
        EXPECT_EQ(ran, 3);
      };
      auto one = spawn(joins);
      auto two = spawn(joins);
      yield();
      go_on.close();
      one.get();
      two.get();
    }
  });
}

TEST(TaskGroupOnThread, JoinsUpToALimit) {
  run(options{.procs = 1}, [] {
    std::atomic<bool> go_on{false};
    std::thread([&] {
      task_group g;
      g.spawn([&] {
        while (!go_on) yield();
      });
      EXPECT_FALSE(g.join_for(2ms));
      go_on = true;
      EXPECT_TRUE(g.join_for(1h));
    }).join();
  });
}

}  // namespace
}  // namespace gort
