// ParkLock: threads end its bias in the middle of what the P's fibers do under it (H1 to H5 in
// park_lock.hpp). Whatever is done under the lock must be done alone, and seen by the next.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "gort/chan.hpp"
#include "gort/fiber.hpp"
#include "gort/run.hpp"
#include "gort/spawn.hpp"
#include "sched/park_lock.hpp"
#include "sched/region.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;

struct alignas(64) Guarded {
  ParkLock lock;
  std::array<int64_t, 4> plain = {};  // under lock, all the same whenever it is free
  std::atomic<int> wrong{0};

  void turn(std::chrono::microseconds in_the_middle = 0us) {
    const Region in;
    const LockGuard guard(lock);
    for (const int64_t v : plain) wrong += v != plain[0] ? 1 : 0;
    ++plain[0];
    if (in_the_middle != 0us) std::this_thread::sleep_for(in_the_middle);
    for (size_t i = 1; i < plain.size(); ++i) ++plain[i];
  }
};

// Threads that come upon a lock at an arbitrary moment: each waits for a round's number, for a
// few more cycles, takes turns, and reports.
class Intruders {
 public:
  Intruders(int threads, int turns) {
    for (int t = 0; t < threads; ++t) {
      threads_.emplace_back([this, t, turns] {
        uint64_t pauses = static_cast<uint64_t>(t) + 1;
        for (int round = 1;; ++round) {
          while (round_.load(std::memory_order_acquire) < round) {
            if (end_.load(std::memory_order_relaxed)) return;
          }
          pauses = pauses * 6364136223846793005U + 1442695040888963407U;
          for (uint64_t i = pauses >> 55; i != 0; --i) asm volatile("");
          for (int i = 0; i < turns; ++i) target_->turn();
          done_.fetch_add(1, std::memory_order_release);
        }
      });
    }
  }
  ~Intruders() {
    end_ = true;
    for (std::thread& t : threads_) t.join();
  }
  void let_in(Guarded& g) {
    target_ = &g;
    done_.store(0, std::memory_order_relaxed);
    round_.fetch_add(1, std::memory_order_release);
  }
  bool all_done() {
    return done_.load(std::memory_order_acquire) == static_cast<int>(threads_.size());
  }

 private:
  Guarded* target_ = nullptr;
  std::atomic<int> round_{0};
  std::atomic<int> done_{0};
  std::atomic<bool> end_{false};
  std::vector<std::thread> threads_;
};

class ParkLockStress : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Threads, ParkLockStress, testing::Values(1, 3));

TEST_P(ParkLockStress, BiasEndsUnderFire) {
  constexpr int kTurns = 3;
  int rounds = 0;
  run(options{.procs = 1}, [&] {
    Intruders intruders(GetParam(), kTurns);
    const test::StressClock clock;
    while (clock.running()) {
      const auto g = std::make_unique<Guarded>();
      {
        const Region in;
        g->lock.bias();
      }
      intruders.let_in(*g);
      int64_t own = 0;
      do {
        // Now and then for so long that all intruders arrive meanwhile.
        g->turn(rounds % 64 == 0 && own < 2 ? 200us : 0us);
        ++own;
      } while (!intruders.all_done());
      ASSERT_EQ(g->wrong, 0);
      for (const int64_t v : g->plain) ASSERT_EQ(v, own + int64_t{kTurns} * GetParam());
      ++rounds;
    }
  });
  EXPECT_GT(rounds, 0);
}

// Channels made by fibers of a runtime with one P, used by its fibers and by threads.
TEST(ParkLockStress, ChannelsOfOnePMeetThreads) {
  run(options{.procs = 1}, [&] {
    const test::StressClock clock;
    int64_t sum = 0;
    int64_t expected = 0;
    while (clock.running()) {
      for (const size_t capacity : {0U, 3U}) {
        constexpr int kValues = 50;
        const chan<int> c(capacity);
        const chan<int> echo(capacity);
        go([c, echo] {
          for (const int v : c) echo.send(v);
          echo.close();
        });
        std::thread thread([c] {
          for (int i = 0; i < kValues; ++i) c.send(i);
        });
        go([c] {
          for (int i = 0; i < kValues; ++i) c.send(1000 + i);
        });
        for (int i = 0; i < kValues; ++i) expected += 1000 + i + i;
        for (int i = 0; i < 2 * kValues; ++i) sum += echo.recv().value_or(0);
        thread.join();
        c.close();
        EXPECT_EQ(echo.recv(), std::nullopt);
      }
    }
    EXPECT_EQ(sum, expected);
  });
}

// A bias outlives the runtime it was given in: the next one's only P has it, too; several Ps end it.
// H1: who holds the only P changes, even its runtime; it is one at a time.
TEST(ParkLockStress, ChannelsGoFromRuntimeToRuntime) {
  for (int turn = 0; turn < test::many(200); ++turn) {
    chan<int> c = chan<int>::nil();
    run(options{.procs = 1}, [&] {
      c = chan<int>(1);
      c.send(1);
    });
    run(options{.procs = 1}, [&] {
      EXPECT_EQ(c.recv(), 1);
      go([&] { c.send(2); });
      EXPECT_EQ(c.recv(), 2);
    });
    run(options{.procs = 4}, [&] {
      std::vector<task<int>> receivers;
      for (int i = 0; i < 8; ++i) receivers.push_back(spawn([&] { return c.recv().value_or(0); }));
      for (int i = 0; i < 8; ++i) go([&, i] { c.send(1 << i); });
      int sum = 0;
      for (auto& r : receivers) sum += r.get();
      EXPECT_EQ(sum, 255);
    });
  }
}

}  // namespace
}  // namespace gort
