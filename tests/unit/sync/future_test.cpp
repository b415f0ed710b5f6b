// future: stop requests, and promises that go while they are kept. The standard's contract is in conformance/.
#include "gort/future.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/errors.hpp"
#include "gort/spawn.hpp"
#include "sync_fixture.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;

class Future : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(Future);

TEST_P(Future, AStopRequestEndsAWaitAndLeavesTheFuture) {
  in_fibers([] {
    promise<int> p;
    future<int> f = p.get_future();
    std::atomic<int> ended{0};
    std::atomic<bool> about_to{false};
    auto waits = spawn([&] {
      about_to = true;
      try {
        (void)f.get();
      } catch (const stopped&) {
        ++ended;
        throw;
      }
    });
    test::until([&] { return about_to.load(); });
    waits.request_stop();
    waits.join();
    EXPECT_EQ(ended.load(), 1);
    EXPECT_TRUE(f.valid());
    auto timed = spawn([&] { (void)f.wait_for(1h); });
    timed.request_stop();
    timed.join();
    p.set_value(4);
    auto asked = spawn([&] { EXPECT_EQ(f.get(), 4); });  // needs no wait, so it is not ended
    asked.request_stop();
    asked.join();
  });
}

// FU1, FU2: whoever has the value ends all there is, while set_value() may be on its way out.
TEST_P(Future, MayGoWhileThePromiseIsBeingKept) {
  in_fibers([] {
    for (int round = 0; round < 300; ++round) {
      auto* p = new promise<std::unique_ptr<int>>;
      auto f = p->get_future();
      const auto keep = [p, round] { p->set_value(std::make_unique<int>(round)); };
      std::thread foreign;
      task<void> t;
      if (round % 4 == 0) {
        foreign = std::thread(keep);
      } else {
        t = spawn(keep);
      }
      EXPECT_EQ(*f.get(), round);
      delete p;
      if (t.joinable()) t.join();
      if (foreign.joinable()) blocking([&] { foreign.join(); });
    }
  });
}

TEST_P(Future, OfManyWhoKeepItOneDoes) {
  in_fibers([] {
    for (int round = 0; round < 100; ++round) {
      promise<int> p;
      auto f = p.get_future();
      std::atomic<int> kept{0};
      std::vector<task<void>> tasks;
      for (int i = 1; i <= 4; ++i) {
        tasks.push_back(spawn([&, i] {
          try {
            p.set_value(i);
            kept += i;
          } catch (const std::future_error& e) {
            EXPECT_EQ(e.code(), std::future_errc::promise_already_satisfied);
          }
        }));
      }
      const int got = f.get();
      for (auto& t : tasks) t.join();
      EXPECT_EQ(got, kept.load());
    }
  });
}

TEST(FutureMisuse, NoExceptionIsNone) {
  promise<void> p;
  EXPECT_THROW(p.set_exception(nullptr), std::invalid_argument);
  p.set_value();
}

TEST(FutureForeign, AWaitMayOutliveTheRuntime) {
  promise<int> p;
  auto f = p.get_future();
  std::thread waiter;
  std::atomic<bool> about_to{false};
  gort::run({.procs = 2}, [&] {
    waiter = std::thread([&] {
      about_to = true;
      EXPECT_EQ(f.get(), 3);
    });
    test::until([&] { return about_to.load(); });
  });
  p.set_value(3);
  waiter.join();
}

}  // namespace
}  // namespace gort
