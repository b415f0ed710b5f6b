// What the standard says of locks with time limits.
#include <atomic>

#include "sync/conformance/crew.hpp"

namespace gort::conformance {
namespace {

using namespace std::chrono_literals;

template <class C>
class TimedLockable : public Suite<C> {};
using TimedLockableTypes =
    Types<Case<gort::timed_mutex, Way::fibers>, Case<gort::timed_mutex, Way::threads>,
          Case<gort::timed_mutex, Way::mixed>, Case<gort::recursive_timed_mutex, Way::fibers>,
          Case<gort::recursive_timed_mutex, Way::threads>,
          Case<gort::recursive_timed_mutex, Way::mixed>,
          Case<gort::shared_timed_mutex, Way::fibers>, Case<gort::shared_timed_mutex, Way::threads>,
          Case<gort::shared_timed_mutex, Way::mixed>, Standard<std::timed_mutex>,
          Standard<std::recursive_timed_mutex>, Standard<std::shared_timed_mutex>>;
TYPED_TEST_SUITE(TimedLockable, TimedLockableTypes);

TYPED_TEST(TimedLockable, LimitsPassWhileAnotherHasIt) {
  TestFixture::in_crew([] {
    typename TestFixture::T m;
    m.lock();
    typename TestFixture::crew crew;
    for (int i = 0; i < 2; ++i) {
      crew.start([&] {
        expect_limits_pass([&](const auto& when) { return m.try_lock_until(when); });
        expect_durations_pass([&](const auto& limit) { return m.try_lock_for(limit); });
        expect_fractions_pass([&](const auto& when) { return m.try_lock_until(when); },
                              [&](const auto& limit) { return m.try_lock_for(limit); });
      });
    }
    crew.join();
    m.unlock();
  });
}

TYPED_TEST(TimedLockable, NoLimitKeepsOneFromWhatIsFree) {
  TestFixture::in_crew([] {
    typename TestFixture::T m;
    const auto gets = [&](bool got) {
      EXPECT_TRUE(got);
      if (got) m.unlock();
    };
    gets(m.try_lock_for(0ms));
    gets(m.try_lock_for(-1h));
    gets(m.try_lock_for(1h));
    gets(m.try_lock_until(std::chrono::steady_clock::now() - 1s));
    gets(m.try_lock_until(std::chrono::system_clock::now() + 1h));
    gets(m.try_lock_until(slow_clock::now() + 1h));
  });
}

TYPED_TEST(TimedLockable, WhoIsInTimeGetsIt) {
  TestFixture::in_crew([] {
    typename TestFixture::T m;
    for (int round = 0; round < 20; ++round) {
      std::atomic<int> about_to{0};
      std::atomic<int> got{0};
      m.lock();
      typename TestFixture::crew crew;
      for (int i = 0; i < 3; ++i) {
        crew.start([&, i] {
          ++about_to;
          const bool in_time = i == 0   ? m.try_lock_for(1h)
                               : i == 1 ? m.try_lock_until(std::chrono::system_clock::now() + 1h)
                                        : m.try_lock_for(std::chrono::duration<double>(3600));
          if (!in_time) return;
          ++got;
          m.unlock();
        });
      }
      until([&] { return about_to.load() == 3; });
      m.unlock();
      crew.join();
      EXPECT_EQ(got.load(), 3);
    }
  });
}

TYPED_TEST(TimedLockable, WorksWithUniqueLock) {
  TestFixture::in_crew([] {
    typename TestFixture::T m;
    std::unique_lock mine(m, 1h);
    EXPECT_TRUE(mine.owns_lock());
    typename TestFixture::crew crew;
    crew.start([&] {
      const std::unique_lock until(m, std::chrono::steady_clock::now() + 1ms);
      EXPECT_FALSE(until.owns_lock());
      std::unique_lock later(m, std::defer_lock);
      EXPECT_FALSE(later.try_lock_for(1ms));
      EXPECT_FALSE(later.try_lock_until(std::chrono::system_clock::now() + 1ms));
    });
    crew.join();
  });
}

}  // namespace
}  // namespace gort::conformance
