// mutex: std::mutex's contract, on fibers and threads mixed; fairness; destruction by the next
// owner.
#include "gort/mutex.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <type_traits>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/spawn.hpp"
#include "sync_fixture.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using test::until;
using test::until_waiters;
using clock = std::chrono::steady_clock;

constexpr auto kPatience = 1ms;

static_assert(sizeof(mutex) == 4);
static_assert(std::is_nothrow_default_constructible_v<mutex>);
static_assert(std::is_trivially_destructible_v<mutex>);
static_assert(!std::is_copy_constructible_v<mutex> && !std::is_copy_assignable_v<mutex>);

constinit mutex static_mutex;

class Mutex : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(Mutex);

TEST_P(Mutex, WorksUnderTheNamesOfTheStandard) {
  in_fibers([] {
    mutex a;
    mutex b;
    {
      const std::lock_guard<mutex> guard(a);
      EXPECT_FALSE(a.try_lock());
    }
    {
      const std::scoped_lock both(a, b);
      EXPECT_FALSE(a.try_lock());
      EXPECT_FALSE(b.try_lock());
    }
    {
      std::unique_lock<mutex> lock(a, std::try_to_lock);
      EXPECT_TRUE(lock.owns_lock());
      const std::unique_lock<mutex> second(a, std::try_to_lock);
      EXPECT_FALSE(second.owns_lock());
      lock.unlock();
      EXPECT_TRUE(lock.try_lock());
    }
    std::unique_lock<mutex> first(a, std::defer_lock);
    std::unique_lock<mutex> second(b, std::defer_lock);
    std::lock(first, second);
    EXPECT_TRUE(first.owns_lock() && second.owns_lock());
    first.unlock();
    EXPECT_EQ(std::try_lock(first, second.mutex()[0]), 1);
  });
}

TEST_P(Mutex, UnlockOfAnUnlockedOneThrows) {
  in_fibers([] {
    mutex m;
    try {
      m.unlock();
      ADD_FAILURE() << "no exception";
    } catch (const std::system_error& e) {
      EXPECT_EQ(e.code(), std::errc::operation_not_permitted);
    }
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  });
}

TEST_P(Mutex, ScopedLocksInOppositeOrderDoNotDeadlock) {
  in_fibers([] {
    mutex a;
    mutex b;
    int count = 0;
    {
      std::vector<task<void>> tasks;
      for (int i = 0; i < 4; ++i) {
        tasks.push_back(spawn([&, i] {
          for (int k = 0; k < 500; ++k) {
            if (i % 2 == 0) {
              const std::scoped_lock both(a, b);
              ++count;
              yield();
            } else {
              const std::scoped_lock both(b, a);
              ++count;
            }
          }
        }));
      }
      for (auto& t : tasks) t.join();
    }
    EXPECT_EQ(count, 2000);
  });
}

// M1, M3: an unlock that misses a queued waiter would leave it there for ever.
TEST_P(Mutex, ExcludesFibersAndThreads) {
  constexpr int kRounds = 2000;
  int count = 0;
  static_mutex.lock();
  static_mutex.unlock();
  in_fibers([&] {
    const auto work = [&] {
      for (int i = 0; i < kRounds; ++i) {
        const std::lock_guard<mutex> guard(static_mutex);
        const int seen = count;
        if (i % 16 == 0) yield();
        count = seen + 1;
      }
    };
    std::vector<task<void>> tasks;
    for (int i = 0; i < 6; ++i) tasks.push_back(spawn(work));
    std::thread one(work);
    std::thread two(work);
    for (auto& t : tasks) t.join();
    blocking([&] {
      one.join();
      two.join();
    });
  });
  EXPECT_EQ(count, 8 * kRounds);
}

TEST_P(Mutex, WaitersQueueFirstInFirstOut) {
  in_fibers([] {
    mutex m;
    std::vector<size_t> order;
    std::vector<task<void>> tasks;
    m.lock();
    for (size_t i = 0; i < 8; ++i) {
      tasks.push_back(spawn([&, i] {
        const std::lock_guard<mutex> guard(m);
        order.push_back(i);
      }));
      until_waiters(&m, i + 1);
    }
    m.unlock();
    for (auto& t : tasks) t.join();
    EXPECT_EQ(order, (std::vector<size_t>{0, 1, 2, 3, 4, 5, 6, 7}));
  });
}

// M4: the waiter owns the mutex from the unlock on, whether or not it has run yet.
TEST_P(Mutex, IsHandedToOneWhoHasWaitedLong) {
  in_fibers([] {
    mutex m;
    std::atomic<bool> release{false};
    m.lock();
    auto waiter = spawn([&] {
      m.lock();
      until([&] { return release.load(); });
      m.unlock();
    });
    until_waiters(&m, 1);
    const auto since = clock::now();
    until([&] { return clock::now() - since > kPatience; });
    m.unlock();
    EXPECT_FALSE(m.try_lock());
    release = true;
    waiter.join();
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  });
}

// A running fiber may overtake one that has only just begun to wait.
TEST(MutexBarging, TheRunningFiberMayOvertake) {
  gort::run({.procs = 1}, [] {
    for (int attempt = 0; attempt < 100; ++attempt) {
      mutex m;
      m.lock();
      const auto since = clock::now();
      auto waiter = spawn([&] { const std::lock_guard<mutex> guard(m); });
      until_waiters(&m, 1);
      m.unlock();
      const bool overtook = m.try_lock();
      const bool was_quick = clock::now() - since < kPatience;
      if (overtook) m.unlock();
      waiter.join();
      if (!was_quick) continue;  // the machine was busy elsewhere
      EXPECT_TRUE(overtook);
      return;
    }
  });
}

// Four fibers hold the mutex nearly always; one that comes now and then gets it in bounded time.
TEST_P(Mutex, NobodyStarves) {
  in_fibers([] {
    mutex m;
    std::atomic<bool> over{false};
    std::vector<task<void>> hogs;
    for (int i = 0; i < 4; ++i) {
      hogs.push_back(spawn([&] {
        while (!over.load(std::memory_order_relaxed)) {
          const std::lock_guard<mutex> guard(m);
          yield();
        }
      }));
    }
    clock::duration longest{};
    for (int i = 0; i < 20; ++i) {
      const auto since = clock::now();
      m.lock();
      longest = std::max(longest, clock::now() - since);
      m.unlock();
      yield();
    }
    over = true;
    for (auto& t : hogs) t.join();
    EXPECT_LT(longest, 1s);
  });
}

// The same beside a thread that locks in a loop without ever giving way.
TEST_P(Mutex, AFiberDoesNotStarveBesideAThread) {
  in_fibers([] {
    mutex m;
    std::atomic<bool> over{false};
    std::atomic<bool> started{false};
    std::thread hog([&] {
      while (!over.load(std::memory_order_relaxed)) {
        const std::lock_guard<mutex> guard(m);
        started.store(true, std::memory_order_relaxed);
      }
    });
    until([&] { return started.load(); });
    for (int i = 0; i < 50; ++i) {
      const std::lock_guard<mutex> guard(m);
    }
    over = true;
    blocking([&] { hog.join(); });
  });
}

// M5. The classical test: whoever drops the last reference under the mutex destroys it.
// PL3: the waker touches the table only from there on.
TEST_P(Mutex, MayBeDestroyedByItsLastOwner) {
  struct Shared {
    mutex m;
    int refs;
  };
  const auto drop = [](Shared* s) {
    s->m.lock();
    const bool last = --s->refs == 0;
    s->m.unlock();
    if (last) delete s;
  };
  in_fibers([&] {
    constexpr int kRounds = 300;
    constexpr int kFibers = 4;
    std::vector<Shared*> all;
    for (int i = 0; i < kRounds; ++i) all.push_back(new Shared{{}, kFibers + 1});
    const auto work = [&] {
      for (Shared* s : all) drop(s);
    };
    std::vector<task<void>> tasks;
    for (int i = 0; i < kFibers; ++i) tasks.push_back(spawn(work));
    std::thread foreign(work);
    for (auto& t : tasks) t.join();
    blocking([&] { foreign.join(); });
  });
}

TEST_P(Mutex, IsNotCancellable) {
  in_fibers([] {
    mutex m;
    m.lock();
    bool got = false;
    auto waiter = spawn([&] {
      const std::lock_guard<mutex> guard(m);
      got = true;
    });
    until_waiters(&m, 1);
    waiter.request_stop();
    EXPECT_EQ(test::waiters(&m), 1U);
    m.unlock();
    waiter.join();
    EXPECT_TRUE(got);
  });
}

// A fiber inside blocking() has no P; it must not hold the queue's lock while it waits for one.
TEST_P(Mutex, MayBeLockedInsideBlocking) {
  in_fibers([] {
    mutex m;
    int count = 0;
    const auto work = [&] {
      for (int i = 0; i < 200; ++i) {
        blocking([&] {
          const std::lock_guard<mutex> guard(m);
          ++count;
        });
        const std::lock_guard<mutex> guard(m);
        yield();
        ++count;
      }
    };
    std::vector<task<void>> tasks;
    for (int i = 0; i < 3; ++i) tasks.push_back(spawn(work));
    for (auto& t : tasks) t.join();
    EXPECT_EQ(count, 1200);
  });
}

TEST(MutexForeign, NeedsNoRuntime) {
  constexpr int kRounds = 20'000;
  mutex m;
  int count = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < kRounds; ++k) {
        const std::lock_guard<mutex> guard(m);
        ++count;
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(count, 4 * kRounds);
}

// A thread that began to wait beside a runtime may be woken when that is gone.
TEST(MutexForeign, AWaitMayOutliveTheRuntime) {
  mutex m;
  m.lock();
  std::thread waiter;
  gort::run({.procs = 2}, [&] {
    waiter = std::thread([&] { const std::lock_guard<mutex> guard(m); });
    until_waiters(&m, 1);
  });
  m.unlock();
  waiter.join();
}

}  // namespace
}  // namespace gort
