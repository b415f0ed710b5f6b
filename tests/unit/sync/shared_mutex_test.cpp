// shared_mutex: its line, hand-over, who gives up, misuse, destruction. The standard's contract is in conformance/.
#include "gort/shared_mutex.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <system_error>
#include <thread>
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

static_assert(sizeof(shared_mutex) == 4 && sizeof(shared_timed_mutex) == 4);
static_assert(std::is_trivially_destructible_v<shared_mutex>);
constinit shared_mutex static_shared;

class SharedMutex : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(SharedMutex);

// SH2, SH4: in their order; readers who stand together come in together, and none passes the writer before him.
TEST_P(SharedMutex, WaitersComeInTheirOrder) {
  in_fibers([] {
    shared_mutex m;
    std::vector<std::string> order;
    std::mutex order_guard;
    std::vector<task<void>> tasks;
    const auto note = [&](const char* what) {
      const std::lock_guard guard(order_guard);
      order.emplace_back(what);
    };
    m.lock();
    size_t n = 0;
    for (const char* who : {"r1", "r1", "w2", "r3", "r3", "r3", "w4"}) {
      tasks.push_back(spawn([&, who] {
        if (who[0] == 'w') {
          const std::unique_lock lock(m);
          note(who);
        } else {
          const std::shared_lock lock(m);
          note(who);
        }
      }));
      until_waiters(&m, ++n);
    }
    m.unlock();
    for (auto& t : tasks) t.join();
    EXPECT_TRUE(std::is_sorted(order.begin(), order.end(),
                               [](const auto& a, const auto& b) { return a[1] < b[1]; }));
    EXPECT_EQ(order.size(), 7U);
  });
}

TEST_P(SharedMutex, AReaderDoesNotPassAWriterInLine) {
  in_fibers([] {
    shared_mutex m;
    m.lock_shared();
    ASSERT_TRUE(m.try_lock_shared());
    m.unlock_shared();
    auto writer = spawn([&] { const std::unique_lock lock(m); });
    until_waiters(&m, 1);
    EXPECT_FALSE(m.try_lock_shared());
    auto reader = spawn([&] { const std::shared_lock lock(m); });
    until_waiters(&m, 2);
    m.unlock_shared();
    writer.join();
    reader.join();
    EXPECT_TRUE(m.try_lock_shared());
    m.unlock_shared();
  });
}

// SH4: he owns it from the unlock on, whether or not he has run yet.
TEST_P(SharedMutex, IsHandedToAWriterWhoHasWaitedLong) {
  in_fibers([] {
    shared_mutex m;
    for (int by_reader = 0; by_reader < 2; ++by_reader) {
      std::atomic<bool> release{false};
      if (by_reader == 1) {
        m.lock_shared();
      } else {
        m.lock();
      }
      auto waiter = spawn([&] {
        m.lock();
        until([&] { return release.load(); });
        m.unlock();
      });
      until_waiters(&m, 1);
      const auto since = clock::now();
      until([&] { return clock::now() - since > 1ms; });
      if (by_reader == 1) {
        m.unlock_shared();
      } else {
        m.unlock();
      }
      EXPECT_FALSE(m.try_lock());
      EXPECT_FALSE(m.try_lock_shared());
      release = true;
      waiter.join();
    }
  });
}

// SH3: the readers behind a writer who gives up come in, though the one before him stays.
TEST_P(SharedMutex, AWriterWhoGivesUpLetsInThoseBehindHim) {
  in_fibers([] {
    shared_timed_mutex m;
    m.lock_shared();
    auto writer = spawn([&] { EXPECT_FALSE(m.try_lock_for(20ms)); });
    until([&] { return test::waiters(&m) == 1 || writer.done(); });
    std::vector<task<void>> readers;
    for (size_t i = 0; i < 3; ++i) {
      readers.push_back(spawn([&] { const std::shared_lock lock(m); }));
      until([&, i] { return test::waiters(&m) == i + 2 || (writer.done() && readers[i].done()); });
    }
    auto last = spawn([&] { const std::unique_lock lock(m); });
    for (auto& t : readers) t.join();
    writer.join();
    until_waiters(&m, 1);
    m.unlock_shared();
    last.join();
  });
}

// SH1: the mark that nobody stands for any more keeps nobody out.
TEST_P(SharedMutex, TheMarkOfOneWhoGaveUpKeepsNobodyOut) {
  in_fibers([] {
    shared_timed_mutex m;
    m.lock_shared();
    EXPECT_FALSE(m.try_lock_for(1ms));
    EXPECT_TRUE(m.try_lock_shared());
    EXPECT_FALSE(m.try_lock_for(1ms));
    m.lock_shared();
    EXPECT_FALSE(m.try_lock_for(1ms));
    EXPECT_TRUE(m.try_lock_shared_for(0ms));
    EXPECT_FALSE(m.try_lock_for(1ms));
    for (int i = 0; i < 4; ++i) m.unlock_shared();
    m.lock();
    EXPECT_FALSE(m.try_lock_shared_for(1ms));
    m.unlock();
    m.lock_shared();
    m.unlock_shared();
  });
}

TEST_P(SharedMutex, UnlockOfWhatIsNotLockedSoThrows) {
  in_fibers([] {
    shared_mutex m;
    const auto refused = [](auto&& f) {
      try {
        f();
        ADD_FAILURE() << "no exception";
      } catch (const std::system_error& e) {
        EXPECT_EQ(e.code(), std::errc::operation_not_permitted);
      }
    };
    refused([&] { m.unlock(); });
    refused([&] { m.unlock_shared(); });
    m.lock();
    refused([&] { m.unlock_shared(); });
    m.unlock();
    m.lock_shared();
    refused([&] { m.unlock(); });
    auto writer = spawn([&] { const std::unique_lock lock(m); });
    until_waiters(&m, 1);
    refused([&] { m.unlock(); });
    m.unlock_shared();
    writer.join();
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  });
}

TEST_P(SharedMutex, IsNotCancellable) {
  in_fibers([] {
    shared_timed_mutex m;
    m.lock();
    int got = 0;
    auto writer = spawn([&] {
      const std::unique_lock lock(m);
      ++got;
    });
    until_waiters(&m, 1);
    auto reader = spawn([&] {
      const std::shared_lock lock(m, 1h);
      got += lock.owns_lock() ? 1 : 0;
    });
    until_waiters(&m, 2);
    writer.request_stop();
    reader.request_stop();
    EXPECT_EQ(test::waiters(&m), 2U);
    m.unlock();
    writer.join();
    reader.join();
    EXPECT_EQ(got, 2);
  });
}

// SH5: who unlocks last and finds somebody in line may not look at it behind that.
TEST_P(SharedMutex, MayBeDestroyedByItsLastOwner) {
  struct Shared {
    shared_mutex m;
    std::atomic<int> refs{2};
  };
  in_fibers([] {
    for (int round = 0; round < 300; ++round) {
      auto* s = new Shared;
      const auto write = [s] {
        s->m.lock();
        const bool last = s->refs.fetch_sub(1) == 1;
        s->m.unlock();
        if (last) delete s;
      };
      const auto read = [s] {
        s->m.lock_shared();
        const bool last = s->refs.fetch_sub(1) == 1;
        s->m.unlock_shared();
        if (last) delete s;
      };
      auto t = round % 2 == 0 ? spawn(read) : task<void>();
      std::thread foreign;
      if (round % 2 == 1) foreign = std::thread(read);
      write();
      if (t.joinable()) t.join();
      if (foreign.joinable()) blocking([&] { foreign.join(); });
    }
  });
}

TEST_P(SharedMutex, MayBeLockedInsideBlocking) {
  in_fibers([] {
    shared_mutex m;
    int count = 0;
    const auto work = [&] {
      for (int i = 0; i < 100; ++i) {
        blocking([&] {
          const std::unique_lock lock(m);
          ++count;
        });
        blocking([&] { const std::shared_lock lock(m); });
        const std::unique_lock lock(m);
        yield();
        ++count;
      }
    };
    std::vector<task<void>> tasks;
    for (int i = 0; i < 3; ++i) tasks.push_back(spawn(work));
    for (auto& t : tasks) t.join();
    EXPECT_EQ(count, 600);
  });
}

TEST(SharedMutexForeign, NeedsNoRuntime) {
  int count = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int k = 0; k < 5000; ++k) {
        if (i % 2 == 0) {
          const std::unique_lock lock(static_shared);
          ++count;
        } else {
          const std::shared_lock lock(static_shared);
          EXPECT_LE(count, 10'000);
        }
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(count, 10'000);
}

}  // namespace
}  // namespace gort
