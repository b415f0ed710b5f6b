// TimerHeap: order, disarming, a million timers. T1..T3 are timerheap.hpp's.
#include "sched/timerheap.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <random>
#include <thread>
#include <vector>

namespace gort {
namespace {

constexpr int64_t kNone = INT64_MAX;

struct Alarm {
  Timer timer;
  std::vector<Alarm*>* fired = nullptr;
  int64_t again_at = 0;
  std::atomic<int> fires{0};

  explicit Alarm(int64_t when, std::vector<Alarm*>* log = nullptr) : fired(log) {
    timer.when_ns = when;
    timer.arg = this;
    timer.fire = [](Timer* t) noexcept -> G* {
      auto* self = static_cast<Alarm*>(t->arg);
      self->fires.fetch_add(1, std::memory_order_relaxed);
      if (self->fired != nullptr) self->fired->push_back(self);
      if (self->again_at != 0) {
        t->when_ns = self->again_at;
        t->again = true;
        self->again_at = 0;
      }
      return nullptr;
    };
  }
};

uint32_t run(TimerHeap& heap, int64_t now) {
  return heap.run(now, [](G*) { ADD_FAILURE() << "no fiber was named"; });
}

TEST(TimerHeap, FiresInOrderOfTime) {
  std::mt19937 random(1);
  TimerHeap heap;
  std::vector<Alarm*> fired;
  std::deque<Alarm> alarms;
  for (int i = 0; i < 5000; ++i) {
    (void)heap.add(&alarms.emplace_back(1 + random() % 1000, &fired).timer);
  }
  EXPECT_EQ(heap.size(), 5000U);
  for (int64_t now = 0; now <= 1000; now += 10) {
    run(heap, now);
    EXPECT_GT(heap.next_when(), now);
  }
  EXPECT_EQ(fired.size(), 5000U);
  EXPECT_EQ(heap.size(), 0U);
  EXPECT_EQ(heap.next_when(), kNone);
  // Within one run() the earliest goes first.
  EXPECT_TRUE(std::is_sorted(fired.begin(), fired.end(), [](const Alarm* a, const Alarm* b) {
    return a->timer.when_ns < b->timer.when_ns;
  }));
}

TEST(TimerHeap, SaysWhetherATimerIsTheEarliest) {
  TimerHeap heap;
  Alarm a(100), b(50), c(70);
  EXPECT_TRUE(heap.add(&a.timer));
  EXPECT_TRUE(heap.add(&b.timer));
  EXPECT_FALSE(heap.add(&c.timer));
  EXPECT_EQ(heap.next_when(), 50);
  EXPECT_TRUE(TimerHeap::stop(&b.timer));
  EXPECT_EQ(heap.next_when(), 70);
  EXPECT_EQ(run(heap, 69), 0U);
  EXPECT_EQ(run(heap, 70), 1U);
  EXPECT_EQ(heap.next_when(), 100);
}

TEST(TimerHeap, StopTellsWhetherItWasInTime) {
  TimerHeap heap;
  Alarm a(10);
  EXPECT_FALSE(TimerHeap::stop(&a.timer));  // never added
  (void)heap.add(&a.timer);
  EXPECT_TRUE(TimerHeap::stop(&a.timer));
  EXPECT_FALSE(TimerHeap::stop(&a.timer));
  EXPECT_EQ(run(heap, 100), 0U);
  (void)heap.add(&a.timer);
  EXPECT_EQ(run(heap, 100), 1U);
  EXPECT_FALSE(TimerHeap::stop(&a.timer));
  EXPECT_EQ(a.fires.load(), 1);
}

TEST(TimerHeap, FiresByKnowsTheDeadline) {
  TimerHeap heap;
  Alarm a(100);
  EXPECT_FALSE(TimerHeap::fires_by(&a.timer, 1000));
  (void)heap.add(&a.timer);
  EXPECT_TRUE(TimerHeap::fires_by(&a.timer, 100));
  EXPECT_TRUE(TimerHeap::fires_by(&a.timer, 101));
  EXPECT_FALSE(TimerHeap::fires_by(&a.timer, 99));
  EXPECT_TRUE(TimerHeap::stop(&a.timer));
  EXPECT_FALSE(TimerHeap::fires_by(&a.timer, 1000));
}

TEST(TimerHeap, ATimerMayArmItselfAgain) {
  TimerHeap heap;
  Alarm a(10);
  a.again_at = 20;
  (void)heap.add(&a.timer);
  EXPECT_EQ(run(heap, 15), 1U);
  EXPECT_EQ(heap.next_when(), 20);
  EXPECT_EQ(run(heap, 19), 0U);
  EXPECT_EQ(run(heap, 20), 1U);
  EXPECT_EQ(heap.size(), 0U);
  EXPECT_EQ(a.fires.load(), 2);
}

// T1, T3: the index follows each move; next_when() is the least that is left.
TEST(TimerHeap, DisarmsRandomOnesInTheMiddle) {
  std::mt19937 random(2);
  TimerHeap heap;
  std::deque<Alarm> alarms;
  for (int i = 0; i < 3000; ++i) (void)heap.add(&alarms.emplace_back(random() % 10'000).timer);
  std::vector<Alarm*> order;
  for (Alarm& a : alarms) order.push_back(&a);
  std::shuffle(order.begin(), order.end(), random);
  for (size_t i = 0; i < order.size() / 2; ++i) {
    EXPECT_TRUE(TimerHeap::stop(&order[i]->timer));
    int64_t least = kNone;
    if (i % 100 == 0) {
      for (size_t k = i + 1; k < order.size(); ++k) {
        least = std::min(least, order[k]->timer.when_ns);
      }
      EXPECT_EQ(heap.next_when(), least);
    }
  }
  EXPECT_EQ(run(heap, 10'000), 1500U);
  for (size_t i = 0; i < order.size(); ++i) EXPECT_EQ(order[i]->fires.load(), i < 1500 ? 0 : 1);
}

TEST(TimerHeap, HoldsAMillion) {
  constexpr uint32_t kMany = 1'000'000;
  std::mt19937_64 random(3);
  TimerHeap heap;
  std::deque<Alarm> alarms;
  for (uint32_t i = 0; i < kMany; ++i) {
    (void)heap.add(&alarms.emplace_back(static_cast<int64_t>(random() >> 1)).timer);
  }
  EXPECT_EQ(heap.size(), kMany);
  uint32_t stopped = 0;
  for (uint32_t i = 0; i < kMany; i += 2) stopped += TimerHeap::stop(&alarms[i].timer) ? 1 : 0;
  EXPECT_EQ(stopped, kMany / 2);
  EXPECT_EQ(run(heap, kNone), kMany / 2);
}

// A timer that outlives its heap (a descriptor that outlives its runtime) is disarmed by its end.
TEST(TimerHeap, ItsEndDisarms) {
  Alarm a(10);
  {
    TimerHeap heap;
    (void)heap.add(&a.timer);
  }
  EXPECT_FALSE(TimerHeap::stop(&a.timer));
  TimerHeap other;
  EXPECT_TRUE(other.add(&a.timer));
}

// T2: of firing and stop() exactly one has it, and nobody touches the timer after stop() has
//     returned.
TEST(TimerHeap, StopRacesWithFiring) {
  TimerHeap heap;
  std::atomic<bool> end{false};
  std::thread firing([&] {
    while (!end.load()) run(heap, kNone - 1);
  });
  for (int i = 0; i < 20'000; ++i) {
    auto a = std::make_unique<Alarm>(i);
    (void)heap.add(&a->timer);
    const bool stopped = TimerHeap::stop(&a->timer);
    ASSERT_EQ(a->fires.load(), stopped ? 0 : 1);
  }
  end.store(true);
  firing.join();
}

}  // namespace
}  // namespace gort
