// recursive_mutex: who is the owner, and how deep. The standard's contract is in conformance/.
#include "gort/recursive_mutex.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <system_error>
#include <thread>

#include "gort/blocking.hpp"
#include "gort/condition_variable.hpp"
#include "gort/mutex.hpp"
#include "gort/spawn.hpp"
#include "sync_fixture.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;

static_assert(sizeof(recursive_mutex) == 16 && sizeof(recursive_timed_mutex) == 16);
constinit recursive_mutex static_recursive;

template <class F>
void expect_error(std::errc code, F&& f) {
  try {
    f();
    ADD_FAILURE() << "no exception";
  } catch (const std::system_error& e) {
    EXPECT_EQ(e.code(), code);
  }
}

class RecursiveMutex : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(RecursiveMutex);

// RM1: fibers that share a thread are not one owner, and a fiber is one on whatever thread it is.
TEST_P(RecursiveMutex, TheOwnerIsTheFiber) {
  in_fibers([] {
    recursive_mutex m;
    m.lock();
    auto other = spawn([&] {
      EXPECT_FALSE(m.try_lock());
      expect_error(std::errc::operation_not_permitted, [&] { m.unlock(); });
    });
    other.join();
    std::thread foreign([&] {
      EXPECT_FALSE(m.try_lock());
      expect_error(std::errc::operation_not_permitted, [&] { m.unlock(); });
    });
    blocking([&] {
      EXPECT_TRUE(m.try_lock());
      foreign.join();
    });
    for (int i = 0; i < 50; ++i) {
      yield();
      EXPECT_TRUE(m.try_lock());
    }
    for (int i = 0; i < 52; ++i) m.unlock();
    expect_error(std::errc::operation_not_permitted, [&] { m.unlock(); });
    auto next = spawn([&] {
      EXPECT_TRUE(m.try_lock());
      m.unlock();
    });
    next.join();
  });
}

TEST(RecursiveMutexDepth, HasALimitThatIsSaid) {
  recursive_timed_mutex m;
  constexpr int kMost = 1 << 20;
  for (int i = 0; i < kMost; ++i) m.lock();
  EXPECT_FALSE(m.try_lock());
  EXPECT_FALSE(m.try_lock_for(0ms));
  expect_error(std::errc::resource_unavailable_try_again, [&] { m.lock(); });
  for (int i = 0; i < kMost; ++i) m.unlock();
  expect_error(std::errc::operation_not_permitted, [&] { m.unlock(); });
  EXPECT_TRUE(m.try_lock());
  m.unlock();
}

TEST(RecursiveMutexForeign, NeedsNoRuntime) {
  int count = 0;
  const auto work = [&] {
    for (int i = 0; i < 5000; ++i) {
      const std::scoped_lock twice(static_recursive);
      const std::scoped_lock again(static_recursive);
      ++count;
    }
  };
  std::thread one(work);
  std::thread two(work);
  one.join();
  two.join();
  EXPECT_EQ(count, 10'000);
}

// Has waited, so it has whatever threads are given for that.
void wait_on_a_thread() {
  mutex own;
  condition_variable c;
  std::unique_lock lock(own);
  (void)c.wait_for(lock, 1us);
}

// A thread that ends is the owner up to its last destructor.
TEST(RecursiveMutexForeign, BelongsToAThreadThatIsEnding) {
  static recursive_mutex m;
  static bool refused = false;
  static bool unlocked = false;
  struct Last {
    ~Last() {
      std::thread([] {
        wait_on_a_thread();
        refused = !m.try_lock();
      }).join();
      m.unlock();
      unlocked = true;
    }
  };
  std::thread([] {
    thread_local const Last last;  // made before anything of gort's, so it ends behind that
    wait_on_a_thread();
    m.lock();
  }).join();
  EXPECT_TRUE(refused && unlocked);
}

}  // namespace
}  // namespace gort
