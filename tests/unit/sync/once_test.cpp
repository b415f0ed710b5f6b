// once_flag: waiting, stop requests, destruction. The standard's contract is in conformance/.
#include "gort/once.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/errors.hpp"
#include "gort/semaphore.hpp"
#include "gort/spawn.hpp"
#include "sync_fixture.hpp"

namespace gort {
namespace {

using test::until_waiters;

static_assert(sizeof(once_flag) == 4);
constinit once_flag static_flag;

class Once : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(Once);

// ON1: those who wait make the next call, one after the other.
TEST_P(Once, TheNextOneWhoWaitsIsCalledWhenACallThrows) {
  in_fibers([] {
    once_flag flag;
    binary_semaphore go(0);
    std::vector<size_t> calls;
    std::atomic<int> threw{0};
    std::vector<task<void>> tasks;
    for (size_t i = 0; i < 5; ++i) {
      tasks.push_back(spawn([&, i] {
        try {
          call_once(flag, [&] {
            if (i == 0) go.acquire();
            calls.push_back(i);
            if (i < 2) throw std::runtime_error("not yet");
          });
        } catch (const std::runtime_error&) {
          ++threw;
        }
      }));
      if (i == 0) {
        until_waiters(&go, 1);
      } else {
        until_waiters(&flag, i);
      }
    }
    go.release();
    for (auto& t : tasks) t.join();
    EXPECT_EQ(calls, (std::vector<size_t>{0, 1, 2}));
    EXPECT_EQ(threw.load(), 2);
  });
}

TEST_P(Once, AWaitIsNotCancellableAndACallThatIsStoppedHasThrown) {
  in_fibers([] {
    once_flag flag;
    counting_semaphore<> never(0);
    int calls = 0;
    auto first = spawn([&] { call_once(flag, [&] { never.acquire(); }); });
    until_waiters(&never, 1);
    auto second = spawn([&] { call_once(flag, [&] { ++calls; }); });
    until_waiters(&flag, 1);
    second.request_stop();
    EXPECT_EQ(test::waiters(&flag), 1U);
    first.request_stop();
    first.join();
    second.join();
    EXPECT_EQ(calls, 1);
  });
}

// ON2.
TEST_P(Once, MayBeDestroyedByTheFirstOneOut) {
  in_fibers([] {
    for (int round = 0; round < 300; ++round) {
      auto* flag = new once_flag;
      std::atomic<int> out{0};
      std::atomic<bool> come{false};
      const auto call = [&, flag] {
        call_once(*flag, [&] { test::until([&] { return come.load(); }); });
        if (out.fetch_add(1) == 1) delete flag;
      };
      auto first = spawn(call);
      auto second = spawn([&] {
        come = true;
        call();
      });
      first.join();
      second.join();
    }
  });
}

TEST(OnceForeign, NeedsNoRuntime) {
  int calls = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      call_once(static_flag, [&] { ++calls; });
      EXPECT_EQ(calls, 1);
    });
  }
  for (auto& t : threads) t.join();
}

}  // namespace
}  // namespace gort
