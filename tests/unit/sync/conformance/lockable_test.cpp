// What the standard says of everything that can be locked: mutex, timed_mutex, recursive_mutex and so on, by lock_guard,
// unique_lock, scoped_lock and std::lock.
#include <atomic>
#include <system_error>

#include "sync/conformance/crew.hpp"

namespace gort::conformance {
namespace {

using namespace std::chrono_literals;

template <class C>
class Lockable : public Suite<C> {};
using LockableTypes = Types<
    Case<gort::mutex, Way::fibers>, Case<gort::mutex, Way::threads>, Case<gort::mutex, Way::mixed>,
    Case<gort::timed_mutex, Way::fibers>, Case<gort::timed_mutex, Way::threads>,
    Case<gort::timed_mutex, Way::mixed>, Case<gort::recursive_mutex, Way::fibers>,
    Case<gort::recursive_mutex, Way::threads>, Case<gort::recursive_mutex, Way::mixed>,
    Case<gort::recursive_timed_mutex, Way::fibers>, Case<gort::recursive_timed_mutex, Way::threads>,
    Case<gort::recursive_timed_mutex, Way::mixed>, Case<gort::shared_mutex, Way::fibers>,
    Case<gort::shared_mutex, Way::threads>, Case<gort::shared_mutex, Way::mixed>,
    Case<gort::shared_timed_mutex, Way::fibers>, Case<gort::shared_timed_mutex, Way::threads>,
    Case<gort::shared_timed_mutex, Way::mixed>, Standard<std::mutex>, Standard<std::timed_mutex>,
    Standard<std::recursive_mutex>, Standard<std::recursive_timed_mutex>,
    Standard<std::shared_mutex>, Standard<std::shared_timed_mutex>>;
TYPED_TEST_SUITE(Lockable, LockableTypes);

template <class T>
inline constexpr bool kRecursive =
    std::is_same_v<T, gort::recursive_mutex> || std::is_same_v<T, gort::recursive_timed_mutex> ||
    std::is_same_v<T, std::recursive_mutex> || std::is_same_v<T, std::recursive_timed_mutex>;

// Whether somebody else gets it just now.
template <class Crew, class T>
bool another_gets(T& m) {
  bool got = false;
  Crew crew;
  crew.start([&] {
    got = m.try_lock();
    if (got) m.unlock();
  });
  return crew.join(), got;
}

TYPED_TEST(Lockable, HasTheStandardsForm) {
  using T = typename TestFixture::T;
  static_assert(std::is_default_constructible_v<T>);
  static_assert(!std::is_copy_constructible_v<T> && !std::is_move_constructible_v<T>);
  static_assert(!std::is_copy_assignable_v<T> && !std::is_move_assignable_v<T>);
  static_assert(std::is_same_v<decltype(std::declval<T&>().lock()), void>);
  static_assert(std::is_same_v<decltype(std::declval<T&>().try_lock()), bool>);
  static_assert(std::is_same_v<decltype(std::declval<T&>().unlock()), void>);
}

TYPED_TEST(Lockable, ExcludesOthersWhileItIsLocked) {
  TestFixture::in_crew([] {
    using crew = typename TestFixture::crew;
    typename TestFixture::T m;
    EXPECT_TRUE(another_gets<crew>(m));
    m.lock();
    EXPECT_FALSE(another_gets<crew>(m));
    m.unlock();
    EXPECT_TRUE(another_gets<crew>(m));
    ASSERT_TRUE(m.try_lock());
    EXPECT_FALSE(another_gets<crew>(m));
    m.unlock();
    EXPECT_TRUE(another_gets<crew>(m));
  });
}

TYPED_TEST(Lockable, WaitsUntilItIsUnlocked) {
  TestFixture::in_crew([] {
    typename TestFixture::T m;
    std::atomic<bool> about_to{false};
    std::atomic<bool> got{false};
    m.lock();
    typename TestFixture::crew crew;
    crew.start([&] {
      about_to = true;
      m.lock();
      got = true;
      m.unlock();
    });
    until([&] { return about_to.load(); });
    for (int i = 0; i < 20; ++i) yield();
    EXPECT_FALSE(got.load());
    m.unlock();
    crew.join();
    EXPECT_TRUE(got.load());
  });
}

// What is done under it is not torn, and is known to the next owner.
TYPED_TEST(Lockable, EveryTurnCounts) {
  constexpr int kTurns = 300;
  constexpr int kCrew = 6;
  int64_t turns = 0;
  TestFixture::in_crew([&] {
    typename TestFixture::T m;
    typename TestFixture::crew crew;
    for (int i = 0; i < kCrew; ++i) {
      crew.start([&, i] {
        for (int k = 0; k < kTurns; ++k) {
          if (i % 3 == 2) {
            while (!m.try_lock()) yield();
          } else {
            m.lock();
          }
          const int64_t seen = turns;
          if (k % 8 == i) yield();
          turns = seen + 1;
          m.unlock();
        }
      });
    }
  });
  EXPECT_EQ(turns, kTurns * kCrew);
}

TYPED_TEST(Lockable, WorksWithTheStandardsLocks) {
  TestFixture::in_crew([] {
    using T = typename TestFixture::T;
    using crew = typename TestFixture::crew;
    T a;
    T b;
    T c;
    {
      const std::lock_guard guard(a);
      EXPECT_FALSE(another_gets<crew>(a));
    }
    {
      const std::scoped_lock all(a, b, c);
      EXPECT_FALSE(another_gets<crew>(a));
      EXPECT_FALSE(another_gets<crew>(b));
      EXPECT_FALSE(another_gets<crew>(c));
    }
    EXPECT_TRUE(another_gets<crew>(b));
    {
      std::lock(a, b);
      const std::lock_guard first(a, std::adopt_lock);
      const std::lock_guard second(b, std::adopt_lock);
      EXPECT_FALSE(another_gets<crew>(a));
    }
    {
      std::unique_lock lock(a, std::defer_lock);
      EXPECT_FALSE(lock.owns_lock());
      lock.lock();
      EXPECT_THROW(lock.lock(), std::system_error);
      EXPECT_FALSE(another_gets<crew>(a));
      std::unique_lock moved(std::move(lock));
      EXPECT_TRUE(moved.owns_lock());
      moved.unlock();
      EXPECT_THROW(moved.unlock(), std::system_error);
      EXPECT_TRUE(moved.try_lock());
      T* released = moved.release();
      EXPECT_EQ(released, &a);
      released->unlock();
    }
    {
      const std::unique_lock lock(a, std::try_to_lock);
      EXPECT_TRUE(lock.owns_lock());
    }
    EXPECT_EQ(std::try_lock(a, b, c), -1);
    a.unlock();
    b.unlock();
    c.unlock();
    EXPECT_TRUE(another_gets<crew>(a) && another_gets<crew>(b) && another_gets<crew>(c));
  });
}

TYPED_TEST(Lockable, SeveralAreLockedInAnyOrder) {
  int count = 0;
  constexpr int kRounds = 100;
  TestFixture::in_crew([&] {
    typename TestFixture::T a;
    typename TestFixture::T b;
    typename TestFixture::T c;
    typename TestFixture::crew crew;
    for (int i = 0; i < 4; ++i) {
      crew.start([&, i] {
        for (int k = 0; k < kRounds; ++k) {
          if (i % 2 == 0) {
            const std::scoped_lock all(a, b, c);
            ++count;
          } else {
            const std::scoped_lock all(c, a, b);
            ++count;
            yield();
          }
        }
      });
    }
  });
  EXPECT_EQ(count, 4 * kRounds);
}

// The object may go with the last one who has used it.
TYPED_TEST(Lockable, MayBeDestroyedBehindTheLastUnlock) {
  struct Shared {
    typename TestFixture::T m;
    int refs = 3;
  };
  TestFixture::in_crew([] {
    for (int round = 0; round < 50; ++round) {
      auto* s = new Shared;
      const auto drop = [s] {
        s->m.lock();
        const bool last = --s->refs == 0;
        s->m.unlock();
        if (last) delete s;
      };
      typename TestFixture::crew crew;
      crew.start(drop);
      crew.start(drop);
      drop();
    }
  });
}

TYPED_TEST(Lockable, ARecursiveOneIsTheOwnersUntilHisLastUnlock) {
  using T = typename TestFixture::T;
  if constexpr (!kRecursive<T>) {
    GTEST_SKIP() << "not recursive";
  } else {
    TestFixture::in_crew([] {
      using crew = typename TestFixture::crew;
      T m;
      constexpr int kDepth = 100;
      for (int i = 0; i < kDepth; ++i) {
        m.lock();
        ASSERT_TRUE(m.try_lock());
      }
      yield();
      for (int i = 0; i < 2 * kDepth; ++i) {
        if (i % 50 == 0) {
          EXPECT_FALSE(another_gets<crew>(m));
        }
        m.unlock();
      }
      EXPECT_TRUE(another_gets<crew>(m));
      const std::scoped_lock again(m);
      const std::unique_lock and_again(m, std::try_to_lock);
      EXPECT_TRUE(and_again.owns_lock());
    });
  }
}

}  // namespace
}  // namespace gort::conformance
