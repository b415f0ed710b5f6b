// The number of Ps changes all the time (RP1 to RP7 in src/sched/procs.cpp) under fibers of every kind: no fiber is lost, no
// deadlock is reported, and the run ends.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/chan.hpp"
#include "gort/mutex.hpp"
#include "gort/net.hpp"
#include "gort/run.hpp"
#include "gort/spawn.hpp"
#include "gort/stats.hpp"
#include "support/burn.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;

constexpr int kMost = 6;

// Each goes round once at least, however late its turn comes.

void pairs(const test::StressClock& clock, std::atomic<uint64_t>& done) {
  chan<uint64_t> there;
  chan<uint64_t> back(1);
  auto other = spawn([there, back]() mutable {
    for (const uint64_t n : there) back.send(n + 1);
    back.close();
  });
  uint64_t n = 0;
  do {
    there.send(n);
    EXPECT_EQ(back.recv(), n + 1);
    done.fetch_add(1, std::memory_order_relaxed);
    ++n;
  } while (clock.running());
  there.close();
  other.join();
}

void hog(const test::StressClock& clock, std::atomic<uint64_t>& done) {
  do {
    test::burn_here(15);
    done.fetch_add(1, std::memory_order_relaxed);
    yield();
  } while (clock.running());
}

void sleeper(const test::StressClock& clock, std::atomic<uint64_t>& done) {
  do {
    const auto due = std::chrono::steady_clock::now() + 700us;
    sleep_until(due);
    EXPECT_GE(std::chrono::steady_clock::now(), due);
    done.fetch_add(1, std::memory_order_relaxed);
  } while (clock.running());
}

void socket_pair(const test::StressClock& clock, std::atomic<uint64_t>& done) {
  auto listener = net::tcp_listener::listen("127.0.0.1", 0);
  auto server = spawn([&listener] {
    auto stream = listener.accept();
    std::array<std::byte, 8> bytes;
    while (const size_t n = stream.read_some(std::span(bytes))) {
      stream.write(std::span<const std::byte>(bytes.data(), n));
    }
  });
  {
    auto stream = net::tcp_stream::connect("127.0.0.1", listener.local_endpoint().port());
    const std::array<std::byte, 1> one{};
    std::array<std::byte, 1> answer{};
    do {
      stream.write(std::span<const std::byte>(one));
      EXPECT_EQ(stream.read_some(std::span(answer)), 1U);
      done.fetch_add(1, std::memory_order_relaxed);
    } while (clock.running());
  }
  server.join();
}

void blocker(const test::StressClock& clock, std::atomic<uint64_t>& done) {
  do {
    blocking([] { std::this_thread::yield(); });
    done.fetch_add(1, std::memory_order_relaxed);
  } while (clock.running());
}

void breeder(const test::StressClock& clock, std::atomic<uint64_t>& done) {
  do {
    std::atomic<int> children{0};
    std::vector<task<void>> tasks;
    for (int i = 0; i < 50; ++i) {
      tasks.push_back(spawn([&children] { children.fetch_add(1, std::memory_order_relaxed); }));
    }
    for (auto& t : tasks) t.join();
    EXPECT_EQ(children.load(std::memory_order_relaxed), 50);
    done.fetch_add(1, std::memory_order_relaxed);
  } while (clock.running());
}

// Two fibers take turns to add, under a mutex that was made when there may have been one P, or several (H1).
void sharers(const test::StressClock& clock, std::atomic<uint64_t>& done) {
  do {
    mutex m;
    int sum = 0;  // protected by m
    chan<int> order(2);
    const auto add = [&] {
      for (int i = 0; i < 100; ++i) {
        const std::lock_guard guard(m);
        ++sum;
      }
      order.send(1);
    };
    auto a = spawn(add);
    auto b = spawn(add);
    EXPECT_TRUE(order.recv() && order.recv());
    a.join();
    b.join();
    EXPECT_EQ(sum, 200);
    done.fetch_add(1, std::memory_order_relaxed);
  } while (clock.running());
}

class ProcsStress : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(ProcsStress);

// RP1 to RP5, RP7.
TEST_P(ProcsStress, TheNumberChangesUnderLoad) {
  test::Random random(test::test_seed());
  in_fibers([&] {
    const test::StressClock clock;
    using Kind = void (*)(const test::StressClock&, std::atomic<uint64_t>&);
    constexpr std::array<Kind, 7> kKinds{pairs,   hog,     sleeper, socket_pair,
                                         blocker, breeder, sharers};
    std::array<std::atomic<uint64_t>, kKinds.size()> done{};
    std::vector<task<void>> fibers;
    for (size_t i = 0; i < 2 * kKinds.size(); ++i) {
      const size_t kind = i % kKinds.size();
      fibers.push_back(
          spawn([&clock, &done, run = kKinds[kind], kind] { run(clock, done[kind]); }));
    }
    // From a thread, and from a fiber.
    std::thread outside([&clock, seed = random()] {
      test::Random mine(seed);
      while (clock.running()) {
        set_procs(1 + static_cast<int>(test::below(mine, kMost)));
        std::this_thread::yield();
      }
    });
    while (clock.running()) {
      const int n = 1 + static_cast<int>(test::below(random, kMost));
      const int before = set_procs(n);
      EXPECT_TRUE(before >= 1 && before <= 8) << before;
      if (test::below(random, 2) == 0) yield();
    }
    for (auto& f : fibers) f.join();
    outside.join();
    for (const auto& n : done) EXPECT_GT(n.load(std::memory_order_relaxed), 0U);
  });
}

// D1, RP2: fibers that all wait for a moment, again and again, while the number changes, are no deadlock; and all Ps but
// one rest in the end.
TEST_P(ProcsStress, NoDeadlockIsSeen) {
  in_fibers([] {
    const test::StressClock clock;
    chan<int> baton;
    auto other = spawn([baton]() mutable {
      for (const int n : baton) set_procs(n);
    });
    for (int n = 0; clock.running(); ++n) baton.send(1 + n % kMost);
    baton.close();
    other.join();
    set_procs(1);
    EXPECT_EQ(procs(), 1);
    EXPECT_EQ(stats().procs.size(), 1U);
  });
}

// X4: a thread that is none of the runtime's changes the number while runs begin and end.
TEST(ProcsStressEnd, TheNumberChangesWhileRunsEnd) {
  const test::StressClock clock;
  std::thread changes([&clock] {
    for (int n = 1; clock.running(); n = 3 - n) {
      try {
        (void)set_procs(n);
      } catch (const std::logic_error&) {  // no runtime is alive just now
      }
    }
  });
  while (clock.running()) {
    run(options{.procs = 4}, [] {
      std::vector<task<void>> tasks;
      for (int i = 0; i < 8; ++i) tasks.push_back(spawn([] { yield(); }));
    });
  }
  changes.join();
}

}  // namespace
}  // namespace gort
