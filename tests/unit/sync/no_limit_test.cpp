// Time limits of zero, and such that have passed: who only asks does not park, and hears of no request to stop.
#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <stop_token>
#include <thread>

#include "gort/gort.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;

class NoLimit : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(NoLimit);

// Each asks for what is not there, with both kinds of limits that are over.
void ask_all(task<void>& never) {
  const auto past = std::chrono::steady_clock::now() - 1s;
  chan<int> empty;
  chan<int> full(1);
  full.send(1);
  int out = 0;
  EXPECT_EQ(empty.recv_for(out, 0s), op_status::timeout);
  EXPECT_EQ(empty.recv_until(out, past), op_status::timeout);
  EXPECT_EQ(full.send_for(2, -1s), op_status::timeout);
  EXPECT_EQ(full.send_until(2, past), op_status::timeout);
  EXPECT_EQ(chan<int>::nil().recv_for(out, 0s), op_status::timeout);
  counting_semaphore<> none(0);
  EXPECT_FALSE(none.try_acquire_for(0s));
  EXPECT_FALSE(none.try_acquire_until(past));
  wait_group group;
  group.add(1);
  EXPECT_FALSE(group.wait_for(0s));
  EXPECT_FALSE(group.wait_until(past));
  group.done();
  EXPECT_TRUE(group.wait_for(0s));
  promise<int> p;
  auto f = p.get_future();
  EXPECT_EQ(f.wait_for(0s), std::future_status::timeout);
  EXPECT_EQ(f.wait_until(past), std::future_status::timeout);
  p.set_value(1);
  EXPECT_EQ(f.wait_for(0s), std::future_status::ready);
  EXPECT_FALSE(never.join_for(0s));
  EXPECT_FALSE(never.join_until(past));
  timed_mutex m;
  m.lock();
  EXPECT_FALSE(m.try_lock_for(0s));
  EXPECT_FALSE(m.try_lock_until(past));
  m.unlock();
  shared_timed_mutex shared;
  shared.lock();
  EXPECT_FALSE(shared.try_lock_shared_for(0s));
  shared.unlock();
  EXPECT_EQ(select(on_recv(empty, [] {}), on_timeout(0s, [] {})), 1U);
  sleep_until(past);
}

TEST_P(NoLimit, IsNoWait) {
  in_fibers([] {
    // The fiber that is asked to stop has a request that is due, all the time.
    bool to_its_end = false;
    auto never = spawn([] { (void)chan<int>::nil().recv(); });
    auto asked = spawn([&](const std::stop_token& token) {
      while (!token.stop_requested()) yield();
      ask_all(never);
      EXPECT_THROW(sleep_for(1h), stopped);  // the request is still there, for the first wait
      ask_all(never);
      to_its_end = true;
    });
    yield();
    asked.request_stop();
    asked.join();
    EXPECT_TRUE(to_its_end);
  });
}

// With one P, nobody else has a turn in between: it is not given up.
TEST_P(NoLimit, DoesNotPark) {
  in_fibers([] {
    const uint64_t at_first = stats().parks;
    auto never = spawn([] { (void)chan<int>::nil().recv(); });
    while (stats().parks == at_first) yield();  // chaos may let this fiber go on alone for a while
    const uint64_t before = stats().parks;
    ask_all(never);
    if (GetParam() == 1) {
      EXPECT_EQ(stats().parks, before);
    }
  });
}

TEST_P(NoLimit, OnAThread) {
  in_fibers([] {
    auto never = spawn([] { (void)chan<int>::nil().recv(); });
    blocking([&] { std::thread([&] { ask_all(never); }).join(); });
  });
}

}  // namespace
}  // namespace gort
