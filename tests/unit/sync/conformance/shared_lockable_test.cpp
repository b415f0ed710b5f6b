// What the standard says of shared_mutex and shared_timed_mutex.
#include <atomic>
#include <memory>

#include "sync/conformance/crew.hpp"

namespace gort::conformance {
namespace {

using namespace std::chrono_literals;

template <class C>
class SharedLockable : public Suite<C> {};
using SharedLockableTypes =
    Types<Case<gort::shared_mutex, Way::fibers>, Case<gort::shared_mutex, Way::threads>,
          Case<gort::shared_mutex, Way::mixed>, Case<gort::shared_timed_mutex, Way::fibers>,
          Case<gort::shared_timed_mutex, Way::threads>, Case<gort::shared_timed_mutex, Way::mixed>,
          Standard<std::shared_mutex>, Standard<std::shared_timed_mutex>>;
TYPED_TEST_SUITE(SharedLockable, SharedLockableTypes);

TYPED_TEST(SharedLockable, ReadersShareItAndKeepWritersOut) {
  TestFixture::in_crew([] {
    typename TestFixture::T m;
    m.lock_shared();
    typename TestFixture::crew crew;
    crew.start([&] {
      EXPECT_TRUE(m.try_lock_shared());
      EXPECT_FALSE(m.try_lock());
      m.unlock_shared();
      EXPECT_FALSE(m.try_lock());
      m.lock_shared();
      m.unlock_shared();
    });
    crew.join();
    m.unlock_shared();
    ASSERT_TRUE(m.try_lock());
    crew.start([&] {
      EXPECT_FALSE(m.try_lock_shared());
      EXPECT_FALSE(m.try_lock());
    });
    crew.join();
    m.unlock();
  });
}

// All of them are inside at the same time.
TYPED_TEST(SharedLockable, ReadersMeetInside) {
  TestFixture::in_crew([] {
    constexpr int kReaders = 5;
    typename TestFixture::T m;
    std::atomic<int> inside{0};
    m.lock();
    typename TestFixture::crew crew;
    for (int i = 0; i < kReaders; ++i) {
      crew.start([&] {
        const std::shared_lock lock(m);
        ++inside;
        until([&] { return inside.load() == kReaders; });
      });
    }
    for (int i = 0; i < 10; ++i) yield();
    EXPECT_EQ(inside.load(), 0);
    m.unlock();
    crew.join();
  });
}

TYPED_TEST(SharedLockable, NobodyReadsWhatIsHalfWritten) {
  int64_t writes = 0;
  constexpr int kTurns = 200;
  TestFixture::in_crew([&] {
    typename TestFixture::T m;
    int64_t twice = 0;
    typename TestFixture::crew crew;
    for (int i = 0; i < 6; ++i) {
      crew.start([&, i] {
        for (int k = 0; k < kTurns; ++k) {
          if (i < 2) {
            const std::unique_lock lock(m);
            ++writes;
            if (k % 8 == i) yield();
            twice += 2;
          } else {
            const std::shared_lock lock(m);
            EXPECT_EQ(twice, 2 * writes);
            if (k % 8 == i) yield();
          }
        }
      });
    }
  });
  EXPECT_EQ(writes, 2 * kTurns);
}

TYPED_TEST(SharedLockable, WorksWithSharedLock) {
  TestFixture::in_crew([] {
    using T = typename TestFixture::T;
    T m;
    T n;
    {
      std::shared_lock lock(m, std::defer_lock);
      EXPECT_FALSE(lock.owns_lock());
      lock.lock();
      EXPECT_THROW(lock.lock(), std::system_error);
      const std::shared_lock second(m, std::try_to_lock);
      EXPECT_TRUE(second.owns_lock());
      std::shared_lock moved(std::move(lock));
      moved.unlock();
      EXPECT_TRUE(moved.try_lock());
      EXPECT_FALSE(m.try_lock());
    }
    std::shared_lock a(m, std::defer_lock);
    std::shared_lock b(n, std::defer_lock);
    std::lock(a, b);
    EXPECT_TRUE(a.owns_lock() && b.owns_lock());
    a.unlock();
    b.unlock();
    ASSERT_TRUE(m.try_lock());
    m.unlock();
  });
}

// Neither kind keeps the other one out for ever. Of the standard's own, glibc's prefers readers, so it is not asked.
TYPED_TEST(SharedLockable, BothKindsGetTheirTurn) {
  using T = typename TestFixture::T;
  if constexpr (std::is_same_v<T, std::shared_mutex> ||
                std::is_same_v<T, std::shared_timed_mutex>) {
    GTEST_SKIP() << "the standard does not promise it";
  } else {
    TestFixture::in_crew([] {
      T m;
      for (const bool write : {true, false}) {
        std::atomic<bool> over{false};
        typename TestFixture::crew crew;
        for (int i = 0; i < 4; ++i) {
          crew.start([&] {
            while (!over.load()) {
              if (write) {
                const std::shared_lock lock(m);
                yield();
              } else {
                const std::unique_lock lock(m);
                yield();
              }
            }
          });
        }
        for (int i = 0; i < 20; ++i) {
          if (write) {
            const std::unique_lock lock(m);
          } else {
            const std::shared_lock lock(m);
          }
          yield();
        }
        over = true;
      }
    });
  }
}

// A reader and a writer, of whom the last one is alone with it.
TYPED_TEST(SharedLockable, MayBeDestroyedBehindTheLastUnlock) {
  struct Shared {
    typename TestFixture::T m;
    std::atomic<int> refs{2};
  };
  TestFixture::in_crew([] {
    for (int round = 0; round < 100; ++round) {
      auto* s = new Shared;
      typename TestFixture::crew crew;
      crew.start([s] {
        s->m.lock_shared();
        const bool last = s->refs.fetch_sub(1) == 1;
        s->m.unlock_shared();
        if (last) delete s;
      });
      s->m.lock();
      const bool last = s->refs.fetch_sub(1) == 1;
      s->m.unlock();
      if (last) delete s;
    }
  });
}

template <class C>
class SharedTimedLockable : public Suite<C> {};
using SharedTimedTypes =
    Types<Case<gort::shared_timed_mutex, Way::fibers>, Case<gort::shared_timed_mutex, Way::threads>,
          Case<gort::shared_timed_mutex, Way::mixed>, Standard<std::shared_timed_mutex>>;
TYPED_TEST_SUITE(SharedTimedLockable, SharedTimedTypes);

TYPED_TEST(SharedTimedLockable, LimitsPassWhileAnotherWrites) {
  TestFixture::in_crew([] {
    typename TestFixture::T m;
    m.lock();
    typename TestFixture::crew crew;
    for (int i = 0; i < 2; ++i) {
      crew.start([&] {
        expect_limits_pass([&](const auto& when) { return m.try_lock_shared_until(when); });
        expect_durations_pass([&](const auto& limit) { return m.try_lock_shared_for(limit); });
      });
    }
    crew.join();
    m.unlock();
    EXPECT_TRUE(m.try_lock_shared_for(0ms));
    EXPECT_TRUE(m.try_lock_shared_until(std::chrono::system_clock::now() - 1h));
    crew.start([&] {
      expect_limits_pass([&](const auto& when) { return m.try_lock_until(when); });
      const std::shared_lock beside(m, 1h);
      EXPECT_TRUE(beside.owns_lock());
    });
    crew.join();
    m.unlock_shared();
    m.unlock_shared();
  });
}

TYPED_TEST(SharedTimedLockable, WhoIsInTimeGetsIt) {
  TestFixture::in_crew([] {
    typename TestFixture::T m;
    for (int round = 0; round < 20; ++round) {
      std::atomic<int> about_to{0};
      std::atomic<int> got{0};
      m.lock();
      typename TestFixture::crew crew;
      for (int i = 0; i < 4; ++i) {
        crew.start([&, i] {
          ++about_to;
          if (i % 2 == 0) {
            const std::shared_lock lock(m, 1h);
            got += lock.owns_lock() ? 1 : 0;
          } else {
            const std::unique_lock lock(m, 1h);
            got += lock.owns_lock() ? 1 : 0;
          }
        });
      }
      until([&] { return about_to.load() == 4; });
      m.unlock();
      crew.join();
      EXPECT_EQ(got.load(), 4);
    }
  });
}

// A writer who gives up does not keep out the readers behind him.
TYPED_TEST(SharedTimedLockable, AWriterWhoGivesUpLetsReadersIn) {
  TestFixture::in_crew([] {
    typename TestFixture::T m;
    for (int round = 0; round < 10; ++round) {
      m.lock_shared();
      std::atomic<bool> about_to{false};
      typename TestFixture::crew crew;
      crew.start([&] {
        about_to = true;
        EXPECT_FALSE(m.try_lock_for(1ms));
      });
      until([&] { return about_to.load(); });
      crew.start([&] { const std::shared_lock lock(m); });
      crew.start([&] { const std::shared_lock lock(m); });
      crew.join();  // while this reader stays
      m.unlock_shared();
    }
  });
}

}  // namespace
}  // namespace gort::conformance
