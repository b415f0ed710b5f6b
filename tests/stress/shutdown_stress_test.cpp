// The end of a runtime, again and again, in the middle of everything: stragglers in every kind of wait,
// foreign threads that spawn, wake and close, stop requests on their way. Nothing may be left: no
// fiber, no object, no thread, no descriptor, no stack.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/chan.hpp"
#include "gort/fiber.hpp"
#include "gort/mutex.hpp"
#include "gort/net.hpp"
#include "gort/run.hpp"
#include "gort/spawn.hpp"
#include "gort/wait_group.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using std::chrono::microseconds;
using test::below;
using test::Random;

class ShutdownStress : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(ShutdownStress);

// One of these stands on the stack of each straggler.
struct Counted {
  std::atomic<int64_t>& n;
  explicit Counted(std::atomic<int64_t>& c) : n(c) { n.fetch_add(1); }
  ~Counted() { n.fetch_sub(1); }
  Counted(const Counted&) = delete;
};

void wait_for_a_connection() {
  auto listener = net::tcp_listener::listen("127.0.0.1", 0);
  net::tcp_stream none = listener.accept();
}

// What a fiber may be doing when the runtime ends.
void straggle(uint64_t kind, microseconds us) {
  switch (kind) {
    case 0:
      return sleep_for(1h);
    case 1:
      return sleep_for(us);
    case 2:
      for (int n = 0; n < 20; ++n) go([] { yield(); });
      return;
    case 3:
      return spawn([] { sleep_for(1h); }).join();
    case 4:
      return blocking([us] { std::this_thread::sleep_for(us); });
    case 5: {
      const chan<int> c;
      (void)c.recv();
      return;
    }
    case 6: {
      wait_group g;
      g.add(1);
      const struct Done {  // the fiber's own, whatever ends the wait
        wait_group& group;
        ~Done() { group.done(); }
      } done{g};
      return g.wait();
    }
    case 7:
      return wait_for_a_connection();
    default: {
      const std::stop_token token = this_fiber::stop_token();
      while (!token.stop_requested()) yield();
    }
  }
}
constexpr uint64_t kKinds = 9;

void start_stragglers(Random& random, std::atomic<int64_t>& alive) {
  for (uint64_t i = below(random, 40); i > 0; --i) {
    go([&alive, kind = below(random, kKinds), us = microseconds(below(random, 200))] {
      const Counted counted(alive);
      straggle(kind, us);
    });
  }
}

// I5 in idle.cpp: each idle M is told to exit once, or its join hangs.
TEST_P(ShutdownStress, StragglersOfEveryKind) {
  const uint64_t seed = test::test_seed();
  Random random(seed);
  const test::Resources before;
  const test::StressClock clock;
  std::atomic<int64_t> alive{0};
  while (clock.running()) {
    run(opts(), [&] {
      start_stragglers(random, alive);
      if (below(random, 2) == 0) sleep_for(microseconds(below(random, 300)));
    });
    ASSERT_EQ(alive.load(), 0);
    ASSERT_EQ(num_fibers(), 0U);
  }
  before.expect_unchanged();
}

// Foreign threads that do not know when the end will come. What they are told must be true.
TEST_P(ShutdownStress, ForeignThreadsOverManyRuns) {
  const uint64_t seed = test::test_seed();
  const test::Resources before;
  std::atomic<bool> over{false};
  std::atomic<int64_t> started{0};
  std::atomic<int64_t> ran{0};
  std::atomic<int64_t> alive{0};
  const chan<int> shared(1);  // outlives every runtime
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < 2; ++i) {
    threads.emplace_back([&, random = Random(seed + 1 + i)]() mutable {
      while (!over) {
        switch (below(random, 4)) {
          case 0:
            try {
              go([&ran] { ++ran; });
              ++started;
            } catch (const std::logic_error&) {
              std::this_thread::yield();
            }
            break;
          case 1:
            (void)shared.send_for(1, microseconds(below(random, 100)));
            break;
          case 2: {
            int value = 0;
            (void)shared.recv_for(value, microseconds(below(random, 100)));
            break;
          }
          default:
            (void)num_fibers();
            (void)procs();
        }
      }
    });
  }
  Random random(seed);
  const test::StressClock clock;
  while (clock.running()) {
    run(opts(), [&] {
      start_stragglers(random, alive);
      for (uint64_t i = below(random, 4); i > 0; --i) {
        go([&] {
          const Counted counted(alive);
          for (;;) shared.send(*shared.recv());  // until it is asked to stop
        });
      }
      if (below(random, 2) == 0) sleep_for(microseconds(below(random, 300)));
    });
    ASSERT_EQ(alive.load(), 0);
  }
  over = true;
  for (auto& t : threads) t.join();
  EXPECT_EQ(started, ran);
  before.expect_unchanged();
}

// Handles whose requests, joins and letting go meet the end's own request to everybody.
TEST_P(ShutdownStress, StopsInFlight) {
  const uint64_t seed = test::test_seed();
  Random random(seed);
  const test::Resources before;
  const test::StressClock clock;
  std::atomic<int64_t> alive{0};
  while (clock.running()) {
    run(opts(), [&] {
      for (int i = 0; i < 8; ++i) {
        go([&alive, r = Random(random())]() mutable {
          const Counted counted(alive);
          std::vector<task<void>> tasks;
          for (uint64_t n = below(r, 6); n > 0; --n) {
            tasks.push_back(
                spawn([&alive, kind = below(r, kKinds), us = microseconds(below(r, 200))] {
                  const Counted own(alive);
                  straggle(kind, us);
                }));
          }
          for (auto& t : tasks) {
            if (below(r, 4) == 0) yield();
            t.request_stop();
            if (below(r, 3) == 0) t.detach();
          }
        });
      }
      for (uint64_t y = below(random, 6); y > 0; --y) yield();
    });
    ASSERT_EQ(alive.load(), 0);
    ASSERT_EQ(num_fibers(), 0U);
  }
  before.expect_unchanged();
}

// A socket goes from a runtime, where it has been given a time limit, to a thread that closes it when
// the runtime may be taken apart (U1 in sched.hpp): its timer stands in there.
TEST_P(ShutdownStress, SocketsAreClosedByThreadsAtTheEnd) {
  const uint64_t seed = test::test_seed();
  Random random(seed);
  const test::Resources before;
  const test::StressClock clock;
  while (clock.running()) {
    constexpr size_t kSockets = 4;
    std::vector<net::tcp_listener> sockets(kSockets);
    std::atomic<bool> ending{false};
    std::thread closer([&ending, &sockets, spins = below(random, 20'000)] {
      while (!ending) std::this_thread::yield();
      for (uint64_t s = 0; s < spins; ++s) asm volatile("" ::: "memory");
      for (net::tcp_listener& l : sockets) l.close();
    });
    run(opts(), [&] {
      for (net::tcp_listener& l : sockets) {
        l = net::tcp_listener::listen("127.0.0.1", 0);
        l.set_deadline(std::chrono::steady_clock::now() + 1h);
      }
      ending = true;
    });
    closer.join();
  }
  before.expect_unchanged();
}

}  // namespace
}  // namespace gort
