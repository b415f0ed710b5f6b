// Timers of programs, set, stopped and set again while they fire: each that was set gives one tick, or a stop() or reset() that
// says so; and nothing comes late.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/spawn.hpp"
#include "gort/timer.hpp"
#include "gort/wait_group.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using std::chrono::microseconds;
using std::chrono::steady_clock;
using test::below;
using test::Random;
using TimePoint = steady_clock::time_point;

class AlarmStress : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(AlarmStress);

constexpr int kCallsMax = 100;

microseconds soon(Random& random) {
  return microseconds(below(random, 200));
}

void spin_for(microseconds d) {
  const TimePoint end = steady_clock::now() + d;
  while (steady_clock::now() < end) {
  }
}

// AL1: by one owner, who counts.
void set_and_stop(Random random, const test::StressClock& clock) {
  TimePoint earliest = steady_clock::now();
  const timer t(soon(random));
  int set = 1;
  int taken = 0;
  int stopped_in_time = 0;
  TimePoint tick;
  while (clock.running()) {
    if (below(random, 2) == 0) spin_for(soon(random));
    if (below(random, 4) == 0) yield();
    switch (below(random, 4)) {
      case 0:
        if (t.channel().try_recv(tick) == op_status::ok) {
          ++taken;
          EXPECT_GE(tick, earliest) << "a tick of before";
        }
        break;
      case 1:
        if (t.channel().recv_for(tick, soon(random)) == op_status::ok) {
          ++taken;
          EXPECT_GE(tick, earliest) << "a tick of before";
        }
        break;
      case 2:
        if (t.stop()) ++stopped_in_time;
        EXPECT_EQ(t.channel().try_recv(tick), op_status::empty);
        ASSERT_EQ(set, taken + stopped_in_time);
        break;
      default: {
        const microseconds d = soon(random);
        earliest = steady_clock::now() + d;
        if (t.reset(d)) ++stopped_in_time;
        ASSERT_EQ(set, taken + stopped_in_time);
        ++set;
      }
    }
  }
}

TEST_P(AlarmStress, EachThatWasSetGivesOneTickOrOneTrue) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    const test::StressClock clock;
    std::thread foreign([&] { set_and_stop(Random(seed + 100), clock); });
    std::vector<task<void>> tasks;
    for (uint64_t i = 0; i < 20; ++i) {
      tasks.push_back(spawn([&clock, r = Random(seed + i)] { set_and_stop(r, clock); }));
    }
    for (auto& t : tasks) t.get();
    foreign.join();
  });
}

// AL1, AL3: several stop and set one function's timer.
TEST_P(AlarmStress, AFunctionRunsAsOftenAsItWasSetAndNotStopped) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    const test::StressClock clock;
    std::atomic<int> set{1};
    std::atomic<int> runs{0};
    std::atomic<int> stopped_in_time{0};
    const func_timer t = after_func(50us, [&] { ++runs; });
    const auto use = [&](Random random) {
      while (clock.running()) {
        if (below(random, 2) == 0) spin_for(soon(random));
        if (below(random, 4) == 0) sleep_for(soon(random));
        func_timer copy = t;
        if (below(random, 3) == 0) {
          if (copy.stop()) ++stopped_in_time;
        } else {
          ++set;
          if (copy.reset(soon(random))) ++stopped_in_time;
        }
      }
    };
    std::thread foreign([&] { use(Random(seed + 100)); });
    std::vector<task<void>> tasks;
    for (uint64_t i = 0; i < 8; ++i) {
      tasks.push_back(spawn([&use, r = Random(seed + i)] { use(r); }));
    }
    for (auto& each : tasks) each.get();
    foreign.join();
    if (t.stop()) ++stopped_in_time;
    test::until([&] { return set == runs + stopped_in_time; });
  });
}

// AL2: handles that go while their timers fire.
TEST_P(AlarmStress, HandlesGoWhileTheyFire) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    const test::StressClock clock;
    const auto witness = std::make_shared<int>(7);
    const auto use = [&](Random random) {
      while (clock.running()) {
        const auto tick = after(soon(random));
        const ticker k(1us + soon(random));
        auto t = std::make_unique<timer>(soon(random));
        const auto of_t = t->channel();
        if (witness.use_count() < kCallsMax) {
          after_func(soon(random), [witness] { EXPECT_EQ(*witness, 7); });
        }
        switch (below(random, 4)) {
          case 0:
            (void)tick.recv();
            break;
          case 1:
            (void)of_t.recv();
            break;
          case 2:
            (void)k.channel().recv();
            break;
          default:
            spin_for(soon(random));
        }
      }
    };
    std::thread foreign([&] { use(Random(seed + 100)); });
    std::vector<task<void>> tasks;
    for (uint64_t i = 0; i < 8; ++i) {
      tasks.push_back(spawn([&use, r = Random(seed + i)] { use(r); }));
    }
    for (auto& each : tasks) each.get();
    foreign.join();
  });
}

// A beat that has been taken stands for a time of its own: not before the first one that was asked for, nor before as many periods
// more as beats have been taken since.
class Beats {
 public:
  // Before the ticker is set.
  void set(microseconds period) {
    period_ = period;
    earliest_ = steady_clock::now() + period;
  }
  void taken(TimePoint tick) {
    EXPECT_GE(tick, earliest_) << "a tick of before, or one twice";
    EXPECT_LE(tick, steady_clock::now());
    earliest_ += period_;
  }

 private:
  microseconds period_{};
  TimePoint earliest_;
};

// AL1, of tickers: by one owner. Those that are stopped say nothing any more, those that are set again nothing of before.
void beat_and_stop(Random random, const test::StressClock& clock, std::atomic<int>& all_taken) {
  Beats beats;
  TimePoint tick;
  const auto period = [&random] { return 1us + soon(random); };
  const auto silent = [&tick](const ticker& k) {
    EXPECT_EQ(k.channel().try_recv(tick), op_status::empty) << "a tick of before";
  };
  const microseconds first = period();
  beats.set(first);
  const ticker k(first);
  bool runs = true;
  while (clock.running()) {
    if (below(random, 2) == 0) spin_for(soon(random));
    if (below(random, 4) == 0) yield();
    switch (below(random, 4)) {
      case 0:
        EXPECT_EQ(k.stop(), runs) << "nothing else ends it";
        runs = false;
        silent(k);
        if (below(random, 4) == 0) spin_for(soon(random));
        silent(k);
        break;
      case 1: {
        const microseconds d = period();
        beats.set(d);
        EXPECT_EQ(k.reset(d), runs);
        runs = true;
        break;
      }
      default:
        if (!runs) {
          EXPECT_EQ(k.channel().recv_for(tick, soon(random)), op_status::timeout);
        } else if (k.channel().recv_for(tick, soon(random)) == op_status::ok) {
          beats.taken(tick);
          ++all_taken;
        }
    }
  }
}

TEST_P(AlarmStress, TickersAreStoppedAndSetAgainAsTheyBeat) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    const test::StressClock clock;
    std::atomic<int> taken{0};
    std::thread foreign([&] { beat_and_stop(Random(seed + 100), clock, taken); });
    std::vector<task<void>> tasks;
    for (uint64_t i = 0; i < 10; ++i) {
      tasks.push_back(spawn([&, r = Random(seed + i)] { beat_and_stop(r, clock, taken); }));
    }
    for (auto& t : tasks) t.get();
    foreign.join();
    EXPECT_GT(taken.load(), 0);
  });
}

// AL1: what has been set in time goes on: so many beats of each come, however late each is looked at.
void beat_on(Random random, microseconds shortest) {
  constexpr int kBeats = 60;
  constexpr int kSettings = 4;
  constexpr uint64_t kPeriodMaxUs = 1000;
  const auto period = [&] { return shortest + microseconds(below(random, kPeriodMaxUs)); };
  Beats beats;
  microseconds d = period();
  beats.set(d);
  const ticker k(d);
  for (int i = 0; i < kSettings * kBeats; ++i) {
    if (i != 0 && i % kBeats == 0) {
      d = period();
      beats.set(d);
      EXPECT_TRUE(k.reset(d));
    }
    TimePoint tick;
    ASSERT_EQ(k.channel().recv_for(tick, test::kPatience), op_status::ok)
        << "no beat " << i << " of " << d.count() << " us";
    beats.taken(tick);
    if (below(random, 8) == 0) spin_for(soon(random));
  }
}
void all_beat_on(uint64_t seed, microseconds shortest) {
  std::thread foreign([&] { beat_on(Random(seed + 100), shortest); });
  std::vector<task<void>> tasks;
  for (uint64_t i = 0; i < 10; ++i) {
    tasks.push_back(spawn([&, r = Random(seed + i)] { beat_on(r, shortest); }));
  }
  for (auto& t : tasks) t.get();
  blocking([&] { foreign.join(); });
}
TEST_P(AlarmStress, TickersGoOn) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] { all_beat_on(seed, 100us); });
}
// The first beat is due before the ticker is set.
TEST_P(AlarmStress, TickersGoOnThatAreDueAtOnce) {
  in_fibers([] {
    const auto beat = [] {
      TimePoint tick;
      for (int i = 0; i < 100; ++i) {
        const ticker k(1ns);
        for (int n = 0; n < 3; ++n) {
          ASSERT_EQ(k.channel().recv_for(tick, test::kPatience), op_status::ok) << "no beat " << n;
        }
        EXPECT_TRUE(k.reset(1ns));
        for (int n = 0; n < 3; ++n) {
          ASSERT_EQ(k.channel().recv_for(tick, test::kPatience), op_status::ok) << "no beat " << n;
        }
        EXPECT_TRUE(k.stop());
        EXPECT_EQ(k.channel().try_recv(tick), op_status::empty);
      }
    };
    std::vector<task<void>> tasks;
    for (int i = 0; i < 4; ++i) tasks.push_back(spawn(beat));
    for (auto& t : tasks) t.get();
  });
}

// The end of a runtime, with threads that use timers of it, and functions whose time is just coming. AL3, AL4.
TEST_P(AlarmStress, TheRuntimeEndsMeanwhile) {
  const uint64_t seed = test::test_seed();
  const test::StressClock clock;
  Random random(seed);
  while (clock.running()) {
    const auto witness = std::make_shared<int>(0);
    std::atomic<bool> begun{false};
    std::atomic<bool> over{false};
    std::vector<std::thread> threads;
    for (uint64_t i = 0; i < 2; ++i) {
      threads.emplace_back([&, r = Random(random())]() mutable {
        while (!begun) std::this_thread::yield();
        try {
          for (;;) {
            const timer t(soon(r));
            if (below(r, 2) == 0) spin_for(soon(r));
            (void)t.reset(1h);
            const auto tick = after(soon(r));
            // Fibers that are on their way pile up where a sanitizer runs them.
            if (witness.use_count() < kCallsMax) after_func(soon(r), [witness] {});
          }
        } catch (const std::logic_error&) {
          // It has ended.
        }
        while (!over) std::this_thread::yield();
      });
    }
    run(opts(), [&] {
      begun = true;
      for (int i = 0; i < 20; ++i) after_func(soon(random), [witness] { yield(); });
      sleep_for(soon(random));
    });
    over = true;
    for (auto& t : threads) t.join();
    threads.clear();
    ASSERT_EQ(witness.use_count(), 1) << "what was kept is gone";
  }
}

}  // namespace
}  // namespace gort
