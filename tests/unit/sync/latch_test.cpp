// latch: misuse, no stop requests, destruction by who is first out. The standard's contract is in conformance/.
#include "gort/latch.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <stdexcept>
#include <thread>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/spawn.hpp"
#include "sync_fixture.hpp"

namespace gort {
namespace {

using test::until_waiters;

static_assert(sizeof(latch) == 8);
constinit latch static_latch{3};

class Latch : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(Latch);

TEST_P(Latch, MisuseThrowsAndChangesNothing) {
  in_fibers([] {
    EXPECT_THROW(latch(-1), std::invalid_argument);
    EXPECT_THROW(latch(latch::max() + 1), std::invalid_argument);
    latch l(2);
    EXPECT_THROW(l.count_down(3), std::logic_error);
    EXPECT_THROW(l.count_down(-1), std::logic_error);
    EXPECT_THROW(l.count_down(std::numeric_limits<std::ptrdiff_t>::min()), std::logic_error);
    EXPECT_THROW(l.arrive_and_wait(3), std::logic_error);
    EXPECT_THROW(l.arrive_and_wait(-1), std::logic_error);
    EXPECT_FALSE(l.try_wait());
    l.count_down(0);
    l.arrive_and_wait(2);
    EXPECT_TRUE(l.try_wait());
    EXPECT_THROW(l.count_down(), std::logic_error);
    l.arrive_and_wait(0);
  });
}

TEST_P(Latch, IsNotCancellable) {
  in_fibers([] {
    latch l(2);
    std::atomic<int> out{0};
    auto waits = spawn([&] {
      l.wait();
      ++out;
    });
    until_waiters(&l, 1);
    auto arrives = spawn([&] {
      l.arrive_and_wait();
      ++out;
    });
    until_waiters(&l, 2);
    waits.request_stop();
    arrives.request_stop();
    EXPECT_EQ(test::waiters(&l), 2U);
    l.count_down();
    waits.join();
    arrives.join();
    EXPECT_EQ(out, 2);
  });
}

// CD2: also beside one who has arrived and is not out yet.
TEST_P(Latch, MayBeDestroyedByTheFirstOneOut) {
  in_fibers([] {
    for (int round = 0; round < 300; ++round) {
      auto* l = new latch(3);
      std::atomic<int> out{0};
      const auto arrive = [&, l] {
        l->arrive_and_wait();
        if (out.fetch_add(1) == 0) delete l;
      };
      auto t = spawn(arrive);
      std::thread foreign;
      task<void> u;
      if (round % 4 == 0) {
        foreign = std::thread(arrive);
      } else {
        u = spawn(arrive);
      }
      arrive();
      t.join();
      if (u.joinable()) u.join();
      if (foreign.joinable()) blocking([&] { foreign.join(); });
    }
  });
}

TEST(LatchForeign, NeedsNoRuntime) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) threads.emplace_back([] { static_latch.arrive_and_wait(); });
  static_latch.wait();
  for (auto& t : threads) t.join();
}

}  // namespace
}  // namespace gort
