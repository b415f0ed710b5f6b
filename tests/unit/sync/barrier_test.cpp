// barrier: misuse, no stop requests, completions that wait, destruction by who is out. The standard's contract is in
// conformance/.
#include "gort/barrier.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/chan.hpp"
#include "gort/fiber.hpp"
#include "gort/latch.hpp"
#include "gort/select.hpp"
#include "gort/semaphore.hpp"
#include "gort/spawn.hpp"
#include "sync_fixture.hpp"

namespace gort {
namespace {

using test::until_waiters;

static_assert(sizeof(barrier<>) == 16);
constinit barrier<> static_barrier{3};

class Barrier : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(Barrier);

TEST_P(Barrier, MisuseThrowsAndChangesNothing) {
  in_fibers([] {
    EXPECT_THROW(barrier(-1), std::invalid_argument);
    EXPECT_THROW(barrier(barrier<>::max() + 1), std::invalid_argument);
    barrier b(2);
    EXPECT_THROW((void)b.arrive(3), std::logic_error);
    EXPECT_THROW((void)b.arrive(0), std::logic_error);
    EXPECT_THROW((void)b.arrive(-1), std::logic_error);
    b.wait(b.arrive(2));
    barrier none(0);
    EXPECT_THROW(none.arrive_and_wait(), std::logic_error);
    EXPECT_THROW(none.arrive_and_drop(), std::logic_error);
    // BA2: a drop that was refused has not changed what the next phase expects.
    struct refused {
      barrier<refused>** self;
      void operator()() noexcept { EXPECT_THROW((*self)->arrive_and_drop(), std::logic_error); }
    };
    barrier<refused>* self = nullptr;
    barrier<refused> c(2, refused{&self});
    self = &c;
    (void)c.arrive();
    (void)c.arrive();
    (void)c.arrive(2);
  });
}

TEST_P(Barrier, IsNotCancellable) {
  in_fibers([] {
    barrier b(3);
    std::atomic<int> out{0};
    auto waits = spawn([&] {
      b.wait(b.arrive());
      ++out;
    });
    until_waiters(&b, 1);
    auto arrives = spawn([&] {
      b.arrive_and_wait();
      ++out;
    });
    until_waiters(&b, 2);
    waits.request_stop();
    arrives.request_stop();
    EXPECT_EQ(test::waiters(&b), 2U);
    b.arrive_and_drop();
    waits.join();
    arrives.join();
    EXPECT_EQ(out, 2);
  });
}

// It runs with no lock held.
TEST_P(Barrier, ACompletionMayWait) {
  in_fibers([] {
    struct gives_way {
      int* phases;
      void operator()() noexcept {
        for (int i = 0; i < 3; ++i) yield();
        ++*phases;
      }
    };
    int phases = 0;
    barrier<gives_way> b(4, gives_way{&phases});
    const auto work = [&] {
      for (int i = 1; i <= 50; ++i) {
        b.arrive_and_wait();
        EXPECT_EQ(phases, i);
        b.arrive_and_wait();
        EXPECT_EQ(phases, ++i);
      }
    };
    std::vector<task<void>> tasks;
    for (int i = 0; i < 3; ++i) tasks.push_back(spawn(work));
    std::thread foreign(work);
    for (auto& t : tasks) t.join();
    blocking([&] { foreign.join(); });
  });
}

// BA1, BA3.
TEST_P(Barrier, MayBeDestroyedByTheFirstOneOut) {
  in_fibers([] {
    for (int round = 0; round < 300; ++round) {
      auto* b = new barrier(3);
      std::atomic<int> out{0};
      const auto meet = [&, b] {
        b->arrive_and_wait();
        if (out.fetch_add(1) == 0) delete b;
      };
      auto t = spawn(meet);
      auto u = spawn([&, b] { (void)b->arrive(); });
      if (round % 4 == 0) {
        std::thread foreign(meet);
        blocking([&] { foreign.join(); });
      } else {
        meet();
      }
      t.join();
      u.join();
    }
  });
}

TEST(BarrierForeign, NeedsNoRuntime) {
  std::vector<std::thread> threads;
  std::atomic<int> sum{0};
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      for (int round = 1; round <= 500; ++round) {
        sum.fetch_add(1);
        static_barrier.arrive_and_wait();
        EXPECT_EQ(sum.load(), 3 * round);
        static_barrier.wait(static_barrier.arrive());
      }
    });
  }
  for (auto& t : threads) t.join();
}

// Nor does one end a wait inside of the completion, which must not throw.
TEST_P(Barrier, ARequestDoesNotReachTheCompletion) {
  in_fibers([] {
    latch go(1);
    counting_semaphore<1> in_completion(0);
    binary_semaphore wait_here(0);
    auto meets = spawn([&] {
      const auto completion = [&]() noexcept {
        in_completion.release();
        wait_here.acquire();
      };
      barrier b(1, completion);
      b.arrive_and_wait();
      EXPECT_THROW((void)chan<int>::nil().recv(), stopped);
    });
    in_completion.acquire();
    meets.request_stop();
    wait_here.release();
    meets.get();
  });
}

// But one that a select in there has had has been delivered, and comes no more.
TEST_P(Barrier, ACompletionThatTakesARequestHasTakenIt) {
  in_fibers([] {
    binary_semaphore in_completion(0);
    bool taken = false;
    bool went_on = false;
    auto t = spawn([&] {
      const auto completion = [&]() noexcept {
        in_completion.release();
        select(on_recv(chan<int>::nil(), [](auto) noexcept {}),
               on_stop(this_fiber::stop_token(), [&]() noexcept { taken = true; }));
      };
      barrier b(1, completion);
      b.arrive_and_wait();
      sleep_for(std::chrono::milliseconds(1));
      went_on = true;
    });
    in_completion.acquire();
    t.request_stop();
    t.get();
    EXPECT_TRUE(taken);
    EXPECT_TRUE(went_on);
  });
}

TEST_P(Barrier, TheCompletionMayBeMoveOnly) {
  in_fibers([] {
    int n = 0;
    barrier b(1, [&n, by = std::make_unique<int>(3)]() noexcept { n += *by; });
    b.arrive_and_wait();
    b.arrive_and_drop();
    EXPECT_EQ(n, 6);
    EXPECT_THROW(b.arrive_and_drop(), std::logic_error);
    barrier most(decltype(b)::max());
    EXPECT_NO_THROW((void)most.arrive(decltype(b)::max()));
  });
}

}  // namespace
}  // namespace gort
