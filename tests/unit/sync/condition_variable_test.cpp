// condition_variable: std::condition_variable's contract, on fibers and threads mixed.
#include "gort/condition_variable.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <system_error>
#include <thread>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/errors.hpp"
#include "gort/spawn.hpp"
#include "sync_fixture.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using test::until_waiters;
using clock = std::chrono::steady_clock;
using lock_t = std::unique_lock<mutex>;

static_assert(sizeof(condition_variable) == 4);
static_assert(!std::is_copy_constructible_v<condition_variable>);
constinit condition_variable static_condition;

class ConditionVariable : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(ConditionVariable);

// CV1: the flag stays set until the last one has been notified.
TEST_P(ConditionVariable, NotifyOneWakesTheOldestWaiter) {
  in_fibers([] {
    mutex m;
    condition_variable c;
    std::vector<size_t> order;
    std::vector<task<void>> tasks;
    for (size_t i = 0; i < 4; ++i) {
      tasks.push_back(spawn([&, i] {
        lock_t lock(m);
        c.wait(lock);
        EXPECT_TRUE(lock.owns_lock());
        order.push_back(i);
      }));
      until_waiters(&c, i + 1);
    }
    for (size_t i = 0; i < 4; ++i) {
      c.notify_one();
      EXPECT_EQ(test::waiters(&c), 3 - i);
      tasks[i].join();
    }
    EXPECT_EQ(order, (std::vector<size_t>{0, 1, 2, 3}));
    c.notify_one();  // nobody is there
    c.notify_all();
  });
}

TEST_P(ConditionVariable, NotifyAllWakesFibersAndThreads) {
  in_fibers([] {
    mutex m;
    condition_variable c;
    int go = 0;
    int woken = 0;
    const auto wait = [&] {
      lock_t lock(m);
      c.wait(lock, [&] { return go != 0; });
      ++woken;
    };
    std::vector<task<void>> tasks;
    for (int i = 0; i < 5; ++i) tasks.push_back(spawn(wait));
    std::thread foreign(wait);
    until_waiters(&c, 6);
    {
      const std::lock_guard<mutex> guard(m);
      go = 1;
    }
    c.notify_all();
    for (auto& t : tasks) t.join();
    blocking([&] { foreign.join(); });
    EXPECT_EQ(woken, 6);
  });
}

TEST_P(ConditionVariable, AForeignThreadNotifiesFibers) {
  in_fibers([] {
    mutex m;
    condition_variable c;
    int turn = 0;
    constexpr int kTurns = 200;
    std::thread foreign([&] {
      for (int i = 0; i < kTurns; ++i) {
        lock_t lock(m);
        c.wait(lock, [&] { return turn % 2 == 1; });
        ++turn;
        c.notify_one();
      }
    });
    for (int i = 0; i < kTurns; ++i) {
      lock_t lock(m);
      ++turn;
      c.notify_one();
      c.wait(lock, [&] { return turn % 2 == 0; });
    }
    blocking([&] { foreign.join(); });
    EXPECT_EQ(turn, 2 * kTurns);
  });
}

TEST_P(ConditionVariable, ProducersAndConsumers) {
  in_fibers([] {
    constexpr size_t kRoom = 4;
    constexpr int kEach = 1000;
    mutex m;
    condition_variable not_empty;
    condition_variable not_full;
    std::deque<int> queue;
    int64_t sum = 0;
    const auto produce = [&] {
      for (int i = 1; i <= kEach; ++i) {
        lock_t lock(m);
        not_full.wait(lock, [&] { return queue.size() < kRoom; });
        queue.push_back(i);
        not_empty.notify_one();
      }
    };
    const auto consume = [&] {
      for (int i = 0; i < kEach; ++i) {
        lock_t lock(m);
        not_empty.wait(lock, [&] { return !queue.empty(); });
        sum += queue.front();
        queue.pop_front();
        lock.unlock();
        not_full.notify_one();
      }
    };
    std::vector<task<void>> tasks;
    for (int i = 0; i < 3; ++i) {
      tasks.push_back(spawn(produce));
      tasks.push_back(spawn(consume));
    }
    std::thread producer(produce);
    std::thread consumer(consume);
    for (auto& t : tasks) t.join();
    blocking([&] {
      producer.join();
      consumer.join();
    });
    EXPECT_EQ(sum, int64_t{4} * kEach * (kEach + 1) / 2);
    EXPECT_TRUE(queue.empty());
  });
}

TEST_P(ConditionVariable, TimeLimitsPass) {
  const auto body = [] {
    mutex m;
    condition_variable c;
    lock_t lock(m);
    auto since = clock::now();
    EXPECT_EQ(c.wait_for(lock, 2ms), std::cv_status::timeout);
    EXPECT_GE(clock::now() - since, 2ms);
    EXPECT_TRUE(lock.owns_lock());
    EXPECT_FALSE(m.try_lock());

    since = clock::now();
    EXPECT_EQ(c.wait_until(lock, since + 2ms), std::cv_status::timeout);
    EXPECT_GE(clock::now() - since, 2ms);

    const auto wall = std::chrono::system_clock::now() + 2ms;
    while (c.wait_until(lock, wall) != std::cv_status::timeout) {
    }
    EXPECT_GE(std::chrono::system_clock::now(), wall);

    EXPECT_EQ(c.wait_for(lock, 0ms), std::cv_status::timeout);
    EXPECT_EQ(c.wait_for(lock, -1h), std::cv_status::timeout);
    EXPECT_EQ(c.wait_until(lock, clock::time_point::min()), std::cv_status::timeout);
    EXPECT_FALSE(c.wait_for(lock, 1ms, [] { return false; }));
    EXPECT_TRUE(c.wait_for(lock, 1ms, [] { return true; }));
    EXPECT_FALSE(c.wait_until(lock, clock::now(), [] { return false; }));
    EXPECT_EQ(test::waiters(&c), 0U);
  };
  in_fibers(body);
  std::thread(body).join();
}

TEST_P(ConditionVariable, ANotificationComesBeforeALongLimit) {
  in_fibers([] {
    mutex m;
    condition_variable c;
    bool go = false;
    const auto notify = [&] {
      until_waiters(&c, 1);
      const std::lock_guard<mutex> guard(m);
      go = true;
      c.notify_one();
    };
    const auto wait = [&](auto&& how) {
      go = false;
      auto notifier = spawn(notify);
      lock_t lock(m);
      how(lock);
      lock.unlock();
      notifier.join();
    };
    wait([&](lock_t& l) { EXPECT_TRUE(c.wait_for(l, 1h, [&] { return go; })); });
    wait([&](lock_t& l) {
      EXPECT_TRUE(c.wait_for(l, std::chrono::hours::max(), [&] { return go; }));
    });
    wait([&](lock_t& l) {
      EXPECT_EQ(c.wait_until(l, clock::time_point::max()), std::cv_status::no_timeout);
    });
  });
}

TEST_P(ConditionVariable, WaitNeedsTheLock) {
  in_fibers([] {
    mutex m;
    condition_variable c;
    lock_t lock(m, std::defer_lock);
    EXPECT_THROW(c.wait(lock), std::system_error);
    EXPECT_THROW(static_cast<void>(c.wait_for(lock, 1ms)), std::system_error);
    const lock_t lies(m, std::adopt_lock);  // owns what nobody has locked
    EXPECT_THROW(c.wait(const_cast<lock_t&>(lies)), std::system_error);
    EXPECT_EQ(test::waiters(&c), 0U);
    m.lock();  // for the destructor of `lies`
  });
}

TEST_P(ConditionVariable, IsNotCancellable) {
  in_fibers([] {
    mutex m;
    condition_variable c;
    bool returned = false;
    bool stopped_later = false;
    auto waiter = spawn([&] {
      lock_t lock(m);
      c.wait(lock);
      returned = true;
      lock.unlock();
      try {
        sleep_for(1h);
      } catch (const stopped&) {
        stopped_later = true;
      }
    });
    until_waiters(&c, 1);
    waiter.request_stop();
    EXPECT_EQ(test::waiters(&c), 1U);
    c.notify_one();
    waiter.join();
    EXPECT_TRUE(returned);
    EXPECT_TRUE(stopped_later);
  });
}

// CV2: gone as soon as all were notified, before anybody returned from wait().
TEST_P(ConditionVariable, MayBeDestroyedOnceAllAreNotified) {
  in_fibers([] {
    for (int round = 0; round < 100; ++round) {
      mutex m;
      auto c = std::make_unique<condition_variable>();
      std::vector<task<void>> tasks;
      for (int i = 0; i < 3; ++i) {
        tasks.push_back(spawn([&m, &c, i] {
          lock_t lock(m);
          if (i == 0) {
            static_cast<void>(c->wait_for(lock, 1h));
          } else {
            c->wait(lock);
          }
        }));
      }
      until_waiters(c.get(), 3);
      {
        const std::lock_guard<mutex> guard(m);
        c->notify_all();
        c.reset();
      }
      for (auto& t : tasks) t.join();
    }
  });
}

// And by the waiter, while the notifier may still be in notify_one().
TEST_P(ConditionVariable, MayBeDestroyedByTheNotified) {
  struct Shared {
    mutex m;
    condition_variable c;
    bool go = false;
  };
  in_fibers([] {
    for (int round = 0; round < 300; ++round) {
      auto* s = new Shared;
      auto waiter = spawn([s] {
        lock_t lock(s->m);
        s->c.wait(lock, [s] { return s->go; });
        lock.unlock();
        delete s;
      });
      if (round % 2 == 0) until_waiters(&s->c, 1);
      lock_t lock(s->m);
      s->go = true;
      s->c.notify_one();
      lock.unlock();
      waiter.join();
    }
  });
}

TEST(ConditionVariableForeign, NeedsNoRuntime) {
  mutex m;
  int turn = 0;
  constexpr int kTurns = 2000;
  const auto play = [&](int me) {
    for (int i = 0; i < kTurns; ++i) {
      lock_t lock(m);
      static_condition.wait(lock, [&] { return turn % 2 == me; });
      ++turn;
      static_condition.notify_one();
    }
  };
  std::thread one(play, 0);
  std::thread two(play, 1);
  one.join();
  two.join();
  EXPECT_EQ(turn, 2 * kTurns);
}

}  // namespace
}  // namespace gort
