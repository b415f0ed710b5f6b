// What the standard says of condition_variable and condition_variable_any.
#include <atomic>
#include <deque>
#include <memory>
#include <stop_token>

#include "sync/conformance/crew.hpp"

namespace gort::conformance {
namespace {

using namespace std::chrono_literals;

// A condition variable and the lock that it is used with.
template <class Condition, class Mutex, class Lock = std::unique_lock<Mutex>>
struct With {
  using condition = Condition;
  using mutex = Mutex;
  using lock = Lock;
};
using Plain = With<gort::condition_variable, gort::mutex>;
using Any = With<gort::condition_variable_any, gort::mutex>;
using AnyShared = With<gort::condition_variable_any, gort::shared_timed_mutex,
                       std::unique_lock<gort::shared_timed_mutex>>;
using AnyBare = With<gort::condition_variable_any, gort::timed_mutex>;
using StdPlain = With<std::condition_variable, std::mutex>;
using StdAny = With<std::condition_variable_any, std::timed_mutex>;

template <class C>
class Condition : public Suite<C> {
 protected:
  using mutex = typename C::type::mutex;
  using condition = typename C::type::condition;
  using lock = typename C::type::lock;
};
using ConditionTypes =
    Types<Case<Plain, Way::fibers>, Case<Plain, Way::threads>, Case<Plain, Way::mixed>,
          Case<Any, Way::fibers>, Case<Any, Way::threads>, Case<Any, Way::mixed>,
          Case<AnyShared, Way::mixed>, Case<AnyBare, Way::mixed>, Standard<StdPlain>,
          Standard<StdAny>>;
TYPED_TEST_SUITE(Condition, ConditionTypes);

TYPED_TEST(Condition, HasTheStandardsForm) {
  using T = typename TestFixture::condition;
  static_assert(std::is_default_constructible_v<T>);
  static_assert(!std::is_copy_constructible_v<T> && !std::is_move_constructible_v<T>);
  static_assert(noexcept(std::declval<T&>().notify_one()));
  static_assert(noexcept(std::declval<T&>().notify_all()));
}

TYPED_TEST(Condition, AWaitGivesUpTheLockAndHasItAgain) {
  TestFixture::in_crew([] {
    typename TestFixture::mutex m;
    typename TestFixture::condition c;
    c.notify_one();
    c.notify_all();
    int step = 0;
    typename TestFixture::crew crew;
    crew.start([&] {
      typename TestFixture::lock lock(m);
      step = 1;
      while (step == 1) c.wait(lock);
      EXPECT_TRUE(lock.owns_lock());
      EXPECT_EQ(step, 2);
      step = 3;
    });
    until([&] {
      typename TestFixture::lock lock(m);
      if (step != 1) return false;
      step = 2;
      c.notify_one();
      return true;
    });
    crew.join();
    EXPECT_EQ(step, 3);
  });
}

TYPED_TEST(Condition, NotifyAllReachesAllAndNotifyOneOne) {
  TestFixture::in_crew([] {
    constexpr int kWaiters = 6;
    typename TestFixture::mutex m;
    typename TestFixture::condition c;
    int waiting = 0;
    int tickets = 0;
    int served = 0;
    typename TestFixture::crew crew;
    for (int i = 0; i < kWaiters; ++i) {
      crew.start([&] {
        typename TestFixture::lock lock(m);
        ++waiting;
        c.wait(lock, [&] { return tickets > 0; });
        --tickets;
        ++served;
      });
    }
    const auto with_lock = [&](auto&& f) {
      typename TestFixture::lock lock(m);
      return f();
    };
    until([&] { return with_lock([&] { return waiting == kWaiters; }); });
    for (int i = 1; i <= 3; ++i) {
      with_lock([&] { ++tickets; });
      c.notify_one();
      until([&] { return with_lock([&] { return served == i; }); });
    }
    with_lock([&] { tickets = kWaiters - 3; });
    c.notify_all();
    crew.join();
    EXPECT_EQ(served, kWaiters);
    EXPECT_EQ(tickets, 0);
  });
}

TYPED_TEST(Condition, ProducersAndConsumers) {
  int64_t sum = 0;
  constexpr int kEach = 300;
  TestFixture::in_crew([&] {
    typename TestFixture::mutex m;
    typename TestFixture::condition not_empty;
    typename TestFixture::condition not_full;
    std::deque<int> queue;
    typename TestFixture::crew crew;
    for (int i = 0; i < 3; ++i) {
      crew.start([&] {
        for (int n = 1; n <= kEach; ++n) {
          typename TestFixture::lock lock(m);
          not_full.wait(lock, [&] { return queue.size() < 3; });
          queue.push_back(n);
          not_empty.notify_one();
        }
      });
      crew.start([&] {
        for (int n = 1; n <= kEach; ++n) {
          typename TestFixture::lock lock(m);
          not_empty.wait(lock, [&] { return !queue.empty(); });
          sum += queue.front();
          queue.pop_front();
          lock.unlock();
          not_full.notify_one();
        }
      });
    }
  });
  EXPECT_EQ(sum, 3 * kEach * (kEach + 1) / 2);
}

TYPED_TEST(Condition, LimitsPass) {
  TestFixture::in_crew([] {
    typename TestFixture::mutex m;
    typename TestFixture::condition c;
    typename TestFixture::crew crew;
    for (int i = 0; i < 2; ++i) {
      crew.start([&] {
        typename TestFixture::lock lock(m);
        const auto never = [] { return false; };
        expect_limits_pass([&](const auto& when) {
          const bool ready = c.wait_until(lock, when, never);
          EXPECT_TRUE(lock.owns_lock());
          return ready;
        });
        expect_durations_pass([&](const auto& limit) { return c.wait_for(lock, limit, never); });
        // Without a predicate it may end by itself, but not for ever.
        const auto passes = [&](auto&& wait) {
          until([&] { return wait() == std::cv_status::timeout; });
          EXPECT_TRUE(lock.owns_lock());
        };
        passes([&] { return c.wait_for(lock, 1ms); });
        passes([&] { return c.wait_until(lock, std::chrono::steady_clock::now() - 1ms); });
        passes([&] { return c.wait_until(lock, std::chrono::system_clock::now() + 1ms); });
        // What holds already needs no wait.
        const auto always = [] { return true; };
        EXPECT_TRUE(c.wait_for(lock, 0ms, always));
        EXPECT_TRUE(c.wait_until(lock, std::chrono::system_clock::now() - 1h, always));
        c.wait(lock, always);
      });
    }
  });
}

TYPED_TEST(Condition, WhoIsNotifiedInTimeSaysSo) {
  TestFixture::in_crew([] {
    typename TestFixture::mutex m;
    typename TestFixture::condition c;
    for (int round = 0; round < 20; ++round) {
      int waiting = 0;
      bool go = false;
      typename TestFixture::crew crew;
      for (int i = 0; i < 3; ++i) {
        crew.start([&, i] {
          typename TestFixture::lock lock(m);
          ++waiting;
          const auto ready = [&] { return go; };
          if (i == 0) {
            EXPECT_TRUE(c.wait_for(lock, 1h, ready));
          } else if (i == 1) {
            EXPECT_TRUE(c.wait_until(lock, std::chrono::system_clock::now() + 1h, ready));
          } else {
            while (!go) EXPECT_EQ(c.wait_for(lock, 1h), std::cv_status::no_timeout);
          }
        });
      }
      until([&] {
        typename TestFixture::lock lock(m);
        go = waiting == 3;
        return go;
      });
      c.notify_all();
    }
  });
}

// By who has notified all of them under the lock, while they are still in there.
TYPED_TEST(Condition, MayBeDestroyedBehindTheNotification) {
  TestFixture::in_crew([] {
    for (int round = 0; round < 50; ++round) {
      typename TestFixture::mutex m;
      auto* c = new typename TestFixture::condition;
      int waiting = 0;
      typename TestFixture::crew crew;
      for (int i = 0; i < 3; ++i) {
        crew.start([&m, &waiting, c] {
          typename TestFixture::lock lock(m);
          ++waiting;
          c->wait(lock);
        });
      }
      until([&] {
        typename TestFixture::lock lock(m);
        if (waiting != 3) return false;
        c->notify_all();
        if constexpr (!std::is_same_v<typename TestFixture::T, StdPlain>) {
          delete c;  // glibc's waits in its destructor, which these keep waiting for the mutex
          c = nullptr;
        }
        return true;
      });
      crew.join();
      delete c;
    }
  });
}

// ---- condition_variable_any: any lock, and tokens -----------------------------------------------------------------

template <class C>
class ConditionAny : public Condition<C> {};
using ConditionAnyTypes =
    Types<Case<Any, Way::fibers>, Case<Any, Way::threads>, Case<Any, Way::mixed>, Standard<StdAny>>;
TYPED_TEST_SUITE(ConditionAny, ConditionAnyTypes);

// Sources of tokens stand on the heap: g++ 12 takes their constructor for a read, with AddressSanitizer.

// Counts what is asked of it.
template <class Mutex>
struct counted_lock {
  Mutex& m;
  int locks = 0;
  int unlocks = 0;
  void lock() {
    m.lock();
    ++locks;
  }
  void unlock() {
    ++unlocks;
    m.unlock();
  }
};

TYPED_TEST(ConditionAny, WorksWithAnyLock) {
  TestFixture::in_crew([] {
    typename TestFixture::mutex m;
    typename TestFixture::condition c;
    std::mutex standard;
    bool go = false;
    bool waiting = false;
    typename TestFixture::crew crew;
    crew.start([&] {
      counted_lock<typename TestFixture::mutex> lock{m};
      lock.lock();
      waiting = true;
      c.wait(lock, [&] { return go; });
      EXPECT_EQ(lock.locks, lock.unlocks + 1);
      EXPECT_GE(lock.locks, 2);
      lock.unlock();
    });
    until([&] {
      const std::lock_guard guard(m);
      go = waiting;
      return go;
    });
    c.notify_all();
    crew.join();
    std::unique_lock lock(standard);
    EXPECT_EQ(c.wait_for(lock, 1ms), std::cv_status::timeout);
    EXPECT_TRUE(lock.owns_lock());
    c.wait(m, [] { return true; });
  });
}

TYPED_TEST(ConditionAny, ATokenEndsAWait) {
  TestFixture::in_crew([] {
    typename TestFixture::mutex m;
    typename TestFixture::condition c;
    for (int round = 0; round < 20; ++round) {
      const auto source = std::make_unique<std::stop_source>();
      int waiting = 0;
      typename TestFixture::crew crew;
      for (int i = 0; i < 3; ++i) {
        crew.start([&, i] {
          typename TestFixture::lock lock(m);
          ++waiting;
          const auto never = [] { return false; };
          const auto token = source->get_token();
          if (i == 0) {
            EXPECT_FALSE(c.wait(lock, token, never));
          } else if (i == 1) {
            EXPECT_FALSE(c.wait_for(lock, token, 1h, never));
          } else {
            EXPECT_FALSE(c.wait_until(lock, token, std::chrono::system_clock::now() + 1h, never));
          }
          EXPECT_TRUE(lock.owns_lock());
          EXPECT_TRUE(token.stop_requested());
        });
      }
      if (round % 2 == 0) {
        until([&] {
          typename TestFixture::lock lock(m);
          return waiting == 3;
        });
      }
      source->request_stop();
      crew.join();
    }
  });
}

TYPED_TEST(ConditionAny, ARequestOfAnotherTokenDoesNot) {
  TestFixture::in_crew([] {
    typename TestFixture::mutex m;
    typename TestFixture::condition c;
    const auto source = std::make_unique<std::stop_source>();
    const auto other = std::make_unique<std::stop_source>();
    bool go = false;
    bool waiting = false;
    typename TestFixture::crew crew;
    crew.start([&] {
      typename TestFixture::lock lock(m);
      waiting = true;
      EXPECT_TRUE(c.wait(lock, source->get_token(), [&] { return go; }));
    });
    crew.start([&] {
      typename TestFixture::lock lock(m);
      EXPECT_FALSE(c.wait(lock, other->get_token(), [] { return false; }));
    });
    until([&] {
      typename TestFixture::lock lock(m);
      return waiting;
    });
    other->request_stop();
    {
      typename TestFixture::lock lock(m);
      go = true;
    }
    c.notify_all();
  });
}

TYPED_TEST(ConditionAny, WithATokenThePredicateHasTheLastWord) {
  TestFixture::in_crew([] {
    typename TestFixture::mutex m;
    typename TestFixture::condition c;
    typename TestFixture::lock lock(m);
    const auto source = std::make_unique<std::stop_source>();
    const auto never = [] { return false; };
    const auto always = [] { return true; };
    EXPECT_TRUE(c.wait(lock, std::stop_token(), always));
    EXPECT_FALSE(c.wait_for(lock, std::stop_token(), 1ms, never));
    EXPECT_FALSE(c.wait_for(lock, source->get_token(), 1ms, never));
    EXPECT_FALSE(
        c.wait_until(lock, source->get_token(), std::chrono::steady_clock::now() - 1h, never));
    source->request_stop();
    EXPECT_TRUE(c.wait(lock, source->get_token(), always));
    EXPECT_FALSE(c.wait(lock, source->get_token(), never));
    EXPECT_TRUE(c.wait_for(lock, source->get_token(), 1h, always));
    EXPECT_FALSE(c.wait_for(lock, source->get_token(), 1h, never));
    EXPECT_TRUE(lock.owns_lock());
  });
}

}  // namespace
}  // namespace gort::conformance
