// Races at the edges of the runtime: objects used inside blocking(), foreign threads that come
// while it ends, sleeps of a fiber that unwinds.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/chan.hpp"
#include "gort/wait_group.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;

class EdgesStress : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(EdgesStress);

// R3 in park.hpp: with the channel's lock held, no P may be waited for.
TEST_P(EdgesStress, ChannelsInsideBlocking) {
  in_fibers([] {
    const chan<int> c;
    constexpr int kSenders = 4;
    constexpr int kEach = 300;
    wait_group senders;
    for (int i = 0; i < kSenders; ++i) {
      senders.go([c] {
        for (int k = 0; k < kEach; ++k) blocking([&] { c.send(k); });
      });
    }
    std::atomic<int> got{0};
    wait_group receivers;
    for (int i = 0; i < 3; ++i) {
      receivers.go([c, &got] {
        for (const int v : c) {
          (void)v;
          ++got;
        }
      });
    }
    senders.wait();
    c.close();
    receivers.wait();
    EXPECT_EQ(got, kSenders * kEach);
  });
}

// A wait that nothing can cancel, ended by a timer at once, perhaps before the far side is done
// with it.
TEST_P(EdgesStress, SleepsWhileUnwinding) {
  struct Sleeper {
    ~Sleeper() { sleep_for(1us); }
  };
  in_fibers([] {
    wait_group all;
    for (int i = 0; i < 8; ++i) {
      all.go([] {
        for (int k = 0; k < 200; ++k) {
          try {
            const Sleeper s;
            throw std::runtime_error("on the way");
          } catch (const std::runtime_error&) {
            yield();
          }
        }
      });
    }
    all.wait();
  });
}

// The last wake-up comes from a foreign thread, which may still be on its way out when run() ends.
// U1 in sched.hpp: it is a visitor, and Sched waits for it.
TEST_P(EdgesStress, AForeignCloseMayEndTheRun) {
  for (int i = 0; i < (test::kTsan ? 80 : 300); ++i) {
    const chan<int> c;
    std::thread foreign;
    run(opts(), [&] {
      foreign = std::thread([c] { c.close(); });
      wait_group waiters;
      for (int k = 0; k < 3; ++k) waiters.go([c] { EXPECT_FALSE(c.recv().has_value()); });
      waiters.wait();
    });
    foreign.join();
  }
}

// A spawn from a foreign thread either comes in time, and its fiber runs, or says that it does not.
// B4 in census.hpp: no fiber that was counted is missed by the end.
TEST_P(EdgesStress, ForeignSpawnsRaceWithTheEnd) {
  for (int i = 0; i < 300; ++i) {
    std::atomic<int> started{0};
    std::atomic<int> refused{0};
    std::atomic<int> ran{0};
    std::atomic<bool> begun{false};
    std::thread foreign;
    run(opts(), [&] {
      foreign = std::thread([&] {
        begun = true;
        while (refused == 0) {
          try {
            go([&ran] { ++ran; });
            ++started;
          } catch (const std::logic_error&) {
            ++refused;
          }
        }
      });
      test::until([&] { return begun.load(); });
    });
    foreign.join();
    EXPECT_EQ(started, ran);
  }
}

TEST_P(EdgesStress, ExtremeTimes) {
  using clock = std::chrono::steady_clock;
  const auto body = [] {
    const chan<int> c(1);
    int out;
    EXPECT_EQ(c.recv_until(out, clock::time_point::min()), op_status::timeout);
    sleep_until(clock::time_point::min());
    sleep_until(std::chrono::time_point<clock, std::chrono::hours>::min());
    sleep_until(std::chrono::system_clock::time_point::min());
    c.send(1);
    EXPECT_EQ(c.recv_until(out, clock::time_point::max()), op_status::ok);
    c.send(2);
    EXPECT_EQ(c.recv_for(out, std::chrono::hours::max()), op_status::ok);
    EXPECT_EQ(detail::steady_ns(std::chrono::time_point<clock, std::chrono::hours>::max()),
              INT64_MAX);
    EXPECT_EQ(detail::steady_ns(
                  std::chrono::time_point<std::chrono::system_clock, std::chrono::hours>::max()),
              INT64_MAX);
  };
  in_fibers(body);
  std::thread(body).join();
}

}  // namespace
}  // namespace gort
