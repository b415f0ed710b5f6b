// timed_mutex: what a waiter who gives up leaves behind. The standard's contract is in conformance/.
#include "gort/timed_mutex.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <system_error>
#include <thread>

#include "gort/blocking.hpp"
#include "gort/spawn.hpp"
#include "sync_fixture.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using test::until_waiters;

static_assert(sizeof(timed_mutex) == 4);
static_assert(std::is_trivially_destructible_v<timed_mutex>);
constinit timed_mutex static_timed_mutex;

class TimedMutex : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(TimedMutex);

// M1: the mark that he leaves keeps nobody out, and nobody asleep.
TEST_P(TimedMutex, WhoGivesUpLeavesItAsItWas) {
  in_fibers([] {
    timed_mutex m;
    m.lock();
    EXPECT_FALSE(m.try_lock_for(1ms));
    EXPECT_EQ(test::waiters(&m), 0U);
    m.unlock();
    EXPECT_TRUE(m.try_lock());
    auto gives_up = spawn([&] { EXPECT_FALSE(m.try_lock_for(1ms)); });
    gives_up.join();
    auto waits = spawn([&] {
      EXPECT_TRUE(m.try_lock_for(1h));
      m.unlock();
    });
    until_waiters(&m, 1);
    m.unlock();
    waits.join();
    EXPECT_THROW(m.unlock(), std::system_error);
    m.lock();
    m.unlock();
  });
}

TEST_P(TimedMutex, IsNotCancellable) {
  in_fibers([] {
    timed_mutex m;
    m.lock();
    bool got = false;
    auto waiter = spawn([&] {
      got = m.try_lock_for(1h);
      m.unlock();
    });
    until_waiters(&m, 1);
    waiter.request_stop();
    EXPECT_EQ(test::waiters(&m), 1U);
    m.unlock();
    waiter.join();
    EXPECT_TRUE(got);
  });
}

TEST(TimedMutexForeign, NeedsNoRuntime) {
  static_timed_mutex.lock();
  std::thread other([] { EXPECT_FALSE(static_timed_mutex.try_lock_for(2ms)); });
  other.join();
  static_timed_mutex.unlock();
  EXPECT_TRUE(static_timed_mutex.try_lock_for(0ms));
  static_timed_mutex.unlock();
}

}  // namespace
}  // namespace gort
