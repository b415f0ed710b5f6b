// Who runs when: yield, fairness, sleeping, timers beside busy Ps, Ps that idle.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/fiber.hpp"
#include "gort/spawn.hpp"
#include "gort/stats.hpp"
#include "gort/timer.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

// ---- One P: the order is fixed ------------------------------------------------------------------

TEST(Order, OnOnePFibersTakeTurns) {
  std::vector<int> order;
  run(options{.procs = 1}, [&order] {
    std::vector<task<void>> tasks;
    for (int i = 0; i < 4; ++i) {
      tasks.push_back(spawn([&order, i] {
        for (int k = 0; k < 3; ++k) {
          order.push_back(i);
          yield();
        }
      }));
    }
    for (auto& t : tasks) t.join();
  });
  ASSERT_EQ(order.size(), 12U);
  // Everybody has had a turn before somebody has a second one.
  for (size_t round = 0; round < 3; ++round) {
    std::vector<int> turn(order.begin() + static_cast<long>(4 * round),
                          order.begin() + static_cast<long>(4 * round + 4));
    std::sort(turn.begin(), turn.end());
    EXPECT_EQ(turn, (std::vector<int>{0, 1, 2, 3})) << "round " << round;
  }
}

// The last one made ready is hot, so it goes first; now and then it is the queue's turn (F1 in
// find.cpp).
TEST(Order, TheFiberMadeReadyLastUsuallyGoesFirst) {
  int last_first = 0;
  run(options{.procs = 1}, [&last_first] {
    for (int i = 0; i < 200; ++i) {
      std::vector<int> order;
      go([&order] { order.push_back(1); });
      go([&order] { order.push_back(2); });
      go([&order] { order.push_back(3); });
      test::until([&] { return order.size() == 3; });
      if (order == std::vector<int>{3, 1, 2}) ++last_first;
    }
  });
  // A sanitizer makes turns long, and then the queue's turn comes every second time (F3).
  if (!test::kSanitizers) {
    EXPECT_GE(last_first, 100);
  }
}

TEST(Order, ALoneFiberYieldsToNobody) {
  run(options{.procs = 1}, [] {
    for (int i = 0; i < 10'000; ++i) yield();
  });
}

// ---- Nobody waits for ever ----------------------------------------------------------------------

class Fairness : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(Fairness);

// As many as there are Ps and one more, so that each P has one. They go on until `end` is set, which has
// to outlive them.
template <class Start>
void beside(int n, std::atomic<bool>& end, Start&& start) {
  for (int i = 0; i <= n; ++i) start();
  std::vector<task<void>> patient;
  for (int i = 0; i < 20; ++i)
    patient.push_back(spawn([] {
      for (int k = 0; k < 20; ++k) yield();
    }));
  for (auto& t : patient) t.join();
  auto sleeper = spawn([] {
    for (int k = 0; k < 5; ++k) sleep_for(100us);
  });
  sleeper.join();
  blocking([] { std::thread([] { spawn([] {}).join(); }).join(); });  // by the global queue
  end.store(true);
}

void respawn(std::atomic<bool>& end, std::atomic<int>& alive) {
  if (end.load()) {
    alive.fetch_sub(1);
    return;
  }
  go(respawn, std::ref(end), std::ref(alive));
}

TEST_P(Fairness, BesideFibersThatStartThemselvesAgain) {
  in_fibers([this] {
    std::atomic<bool> end{false};
    std::atomic<int> alive{0};
    beside(nprocs(), end, [&] {
      alive.fetch_add(1);
      go(respawn, std::ref(end), std::ref(alive));
    });
    test::until([&] { return alive.load() == 0; });
  });
}

TEST_P(Fairness, BesidePairsThatWakeEachOther) {
  in_fibers([this] {
    std::atomic<bool> end{false};
    std::vector<task<void>> pairs;
    beside(nprocs(), end, [&] {
      pairs.push_back(spawn([&end] {
        while (!end.load()) spawn([] {}).join();  // each wakes the other through P::next
      }));
    });
    for (auto& t : pairs) t.join();
  });
}

TEST_P(Fairness, BesideFibersThatYieldAllTheTime) {
  in_fibers([this] {
    std::atomic<bool> end{false};
    std::vector<task<void>> busy;
    beside(nprocs(), end, [&] {
      busy.push_back(spawn([&end] {
        while (!end.load()) yield();
      }));
    });
    for (auto& t : busy) t.join();
  });
}

TEST_P(Fairness, MoreThanAQueueHolds) {
  in_fibers([] {
    constexpr int kMany = test::many(5000);  // P's queue has 256 places
    std::atomic<int> ran{0};
    for (int i = 0; i < kMany; ++i) {
      go([&ran] {
        yield();
        ran.fetch_add(1);
      });
    }
    test::until([&] { return ran.load() == kMany; });
  });
}

// ---- Sleeping -----------------------------------------------------------------------------------

class Sleep : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(Sleep);

// Half as fast as the monotonic clock.
struct SlowClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<SlowClock>;
  [[maybe_unused]] static constexpr bool is_steady = true;
  static time_point now() {
    return time_point(std::chrono::steady_clock::now().time_since_epoch() / 2);
  }
};

TEST_P(Sleep, IsNeverTooShort) {
  in_fibers([] {
    for (const auto d : {1us, 50us, 300us, 2000us}) {
      const auto start = clock::now();
      sleep_for(d);
      EXPECT_GE(clock::now() - start, d);
      const auto until = clock::now() + d;
      sleep_until(until);
      EXPECT_GE(clock::now(), until);
    }
    const auto until = std::chrono::system_clock::now() + 2ms;
    sleep_until(until);
    EXPECT_GE(std::chrono::system_clock::now(), until);
    const auto slow_until = SlowClock::now() + 2ms;
    sleep_until(slow_until);
    EXPECT_GE(SlowClock::now(), slow_until);
    sleep_for(-1s);
    sleep_until(clock::time_point::min());
  });
}

TEST_P(Sleep, WakesInOrder) {
  in_fibers([this] {
    std::atomic<int> turn{0};
    std::vector<task<int>> tasks;
    const auto start = clock::now() + 10ms;
    for (int i = 0; i < 5; ++i) {
      tasks.push_back(spawn([&turn, start, i] {
        sleep_until(start + i * 10ms);
        return turn.fetch_add(1);
      }));
    }
    for (int i = 0; i < 5; ++i) {
      const int when = tasks[static_cast<size_t>(i)].get();
      if (nprocs() == 1) {
        EXPECT_EQ(when, i);
      }
    }
  });
}

TEST_P(Sleep, EndsBesideBusyFibers) {
  in_fibers([this] {
    std::atomic<bool> end{false};
    std::vector<task<void>> busy;
    for (int i = 0; i <= nprocs(); ++i) {
      busy.push_back(spawn([&end] {
        while (!end.load()) yield();
      }));
    }
    std::vector<task<void>> sleepers;
    for (int i = 0; i < 50; ++i) {
      sleepers.push_back(spawn([i] {
        for (int k = 0; k < 4; ++k) sleep_for(std::chrono::microseconds(i * 20));
      }));
    }
    for (auto& t : sleepers) t.join();
    end.store(true);
    for (auto& t : busy) t.join();
  });
}

TEST_P(Sleep, ForVeryLongDoesNotOverflow) {
  in_fibers([] {
    std::vector<task<void>> tasks;
    tasks.push_back(spawn([] { sleep_for(std::chrono::hours::max()); }));
    tasks.push_back(spawn([] { sleep_for(std::chrono::nanoseconds::max()); }));
    tasks.push_back(spawn([] { sleep_until(clock::time_point::max()); }));
    tasks.push_back(spawn([] { sleep_for(std::chrono::duration<double>(1e300)); }));
    yield();
    sleep_for(1ms);
    for (auto& t : tasks) {
      EXPECT_FALSE(t.done());
      t.request_stop();
    }
  });
}

// ---- Beside fibers that never come to a scheduling point ----------------------------------------

class BusyPAlone : public testing::Test {};

// Makes the wake-up rule lazy (I4 in idle.cpp): after many fibers that were run by their own P in a
// moment, an idle M is not woken for the next one. It stays asleep, and not as the poller.
void lull() {
  for (int i = 0; i < 20'000; ++i) spawn([] {}).join();
}

// A sleeper's timer stands in the P that it left; that P may then run one fiber for long. As long
// as a P is idle, somebody must look after it.
TEST_F(BusyPAlone, ASleepersTimerIsFiredByOthers) {
  for (const int procs : {2, 4}) {
    run(options{.procs = procs}, [] {
      for (int turn = 0; turn < 10; ++turn) {
        lull();
        std::atomic<bool> asleep{false};
        std::atomic<int64_t> late_ns{-1};
        go([&] {
          const int64_t due = test::now_ns() + 20'000'000;
          asleep.store(true);
          sleep_for(20ms);
          late_ns.store(test::now_ns() - due);
        });
        yield();
        EXPECT_TRUE(test::spin_until([&] { return late_ns.load() >= 0; }, 1s));
        test::until([&] { return late_ns.load() >= 0; });
        EXPECT_LT(late_ns.load(), test::kSanitizers ? 1'000'000'000 : 200'000'000);
      }
    });
  }
}

// A fiber that was started by a hog is found by an idle P, also when everything, sysmon included,
// has slept and been woken for a moment only (Y1 in sysmon.cpp).
TEST_F(BusyPAlone, AFiberStartedByAHogIsFoundByAnIdleP) {
  run(options{.procs = 2}, [] {
    for (int turn = 0; turn < 3; ++turn) {
      for (int i = 0; i < 3; ++i) sleep_for(150ms);  // the subject: sysmon goes to sleep, too
      lull();
      std::atomic<bool> ran{false};
      go([&ran] { ran.store(true); });
      EXPECT_TRUE(test::spin_until([&] { return ran.load(); }, 1s));
      test::until([&] { return ran.load(); });
    }
  });
}

// ---- Turns that end in the kernel ---------------------------------------------------------------

// Fibers that block their threads, one after the other on the only P, until the end. `before` is what each does at first.
class Blockers {
 public:
  explicit Blockers(void (*before)()) {
    for (auto& when_ns : began_ns_) {
      fibers_.push_back(spawn([this, &when_ns, before] {
        when_ns.store(test::now_ns());
        begun_.fetch_add(1);
        before();
        while (!end_.load()) std::this_thread::sleep_for(1ms);  // the subject
      }));
    }
  }
  ~Blockers() {
    end_.store(true);
    for (auto& f : fibers_) f.join();
  }
  Blockers(const Blockers&) = delete;
  Blockers& operator=(const Blockers&) = delete;
  [[nodiscard]] int begun() const { return begun_.load(); }
  [[nodiscard]] int begun_after(int64_t ns) const {
    return static_cast<int>(
        std::count_if(began_ns_.begin(), began_ns_.end(),
                      [ns](const auto& when_ns) { return when_ns.load() > ns; }));
  }
  static constexpr int kMany = 48;

 private:
  std::array<std::atomic<int64_t>, kMany> began_ns_{};
  std::atomic<int> begun_{0};
  std::atomic<bool> end_{false};
  std::vector<task<void>> fibers_;
};

constexpr int kTurnsMax = 6;  // F6, F7: one or two, and those that pass while a clock is read

// F6.
TEST(LongTurnsAlone, TheGlobalQueueGetsItsTurn) {
  run(options{.procs = 1}, [] {
    Blockers blockers([] {});
    int queued_after = 0;
    std::atomic<int> ran_after{0};
    std::atomic<bool> ran{false};
    std::thread foreign([&] {
      while (blockers.begun() < 3) std::this_thread::yield();
      go([&] {
        ran_after.store(blockers.begun());
        ran.store(true);
      });
      queued_after = blockers.begun();
    });
    foreign.join();
    EXPECT_TRUE(test::spin_until([&] { return ran.load(); }));
    EXPECT_LE(ran_after.load() - queued_after, kTurnsMax);
  });
}

// F7: behind all the blockers it would be late for each nap.
void naps_beside_blockers(void (*before)()) {
  run(options{.procs = 1}, [before] {
    Blockers blockers(before);
    std::vector<int> late;
    spawn([&] {
      for (int i = 0; i < 4; ++i) {
        const int64_t due_ns = test::now_ns() + 1'000'000;
        sleep_until(clock::time_point(std::chrono::nanoseconds(due_ns)));
        late.push_back(blockers.begun_after(due_ns));
      }
    }).join();
    EXPECT_LE(*std::max_element(late.begin(), late.end()), kTurnsMax);
  });
}

TEST(LongTurnsAlone, WhoseTimeHasComeGoesBeforeThoseInLine) {
  naps_beside_blockers([] {});
}

// P::next is theirs.
TEST(LongTurnsAlone, WhoseTimeHasComeGoesBeforeThoseThatOthersStart) {
  naps_beside_blockers([] { go([] {}); });
}

// ---- Idle ---------------------------------------------------------------------------------------

class IdleAlone : public test::SchedulerTest {};
INSTANTIATE_TEST_SUITE_P(Procs, IdleAlone, testing::Values(1, 2, 4));

int64_t cpu_used_ns() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * int64_t{1'000'000'000} +
         (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * int64_t{1'000};
}

TEST_P(IdleAlone, CostsNoCpu) {
  in_fibers([] {
    sleep_for(1ms);  // every part has been started
    const int64_t before = cpu_used_ns();
    sleep_for(300ms);
    EXPECT_LT(cpu_used_ns() - before, test::kSanitizers ? 50'000'000 : 5'000'000);
  });
}

// RP2: all that are in use are idle, so sysmon sleeps; none of those that rest has anything to be looked after.
TEST_P(IdleAlone, PsThatRestCostNoCpu) {
  in_fibers([] {
    set_procs(8);
    sleep_for(1ms);  // every part has been started
    set_procs(2);
    sleep_for(100ms);  // sysmon has gone to sleep
    const int64_t before = cpu_used_ns();
    sleep_for(300ms);
    EXPECT_LT(cpu_used_ns() - before, test::kSanitizers ? 50'000'000 : 5'000'000);
  });
}

TEST_P(IdleAlone, AnEmbeddedRuntimeIsNoDeadlockAndCostsNoCpu) {
  runtime rt(opts());
  rt.run([] {});
  auto waits = rt.spawn([] { sleep_for(1h); });
  const int64_t before = cpu_used_ns();
  std::this_thread::sleep_for(300ms);  // the subject: what this time costs
  EXPECT_LT(cpu_used_ns() - before, test::kSanitizers ? 50'000'000 : 5'000'000);
}

// Y2: a thread's timer wakes sysmon, which finds somebody to look after it and sleeps again, instead of looking every 10 ms.
TEST_P(IdleAlone, AThreadsTimerKeepsNobodyAwake) {
  const auto waits_of_all = [] {
    rusage u{};
    getrusage(RUSAGE_SELF, &u);
    return u.ru_nvcsw;
  };
  const runtime rt(opts());
  std::this_thread::sleep_for(150ms);  // sysmon has gone to sleep
  const timer far(1h);
  std::this_thread::sleep_for(150ms);  // and again
  const long before = waits_of_all();
  std::this_thread::sleep_for(300ms);  // the subject: who wakes meanwhile
  EXPECT_LT(waits_of_all() - before, 10);
}

// ---- stats() ------------------------------------------------------------------------------------

class Stats : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(Stats);

TEST_P(Stats, CountWhatHappens) {
  in_fibers([this] {
    const runtime_stats before = stats();
    EXPECT_EQ(before.fibers, 1U);
    EXPECT_EQ(before.procs.size(), static_cast<size_t>(nprocs()));
    EXPECT_GE(before.threads, 1);
    for (int i = 0; i < 100; ++i) spawn([] { yield(); }).join();
    sleep_for(1ms);
    const runtime_stats after = stats();
    EXPECT_EQ(after.spawned - before.spawned, 100U);
    EXPECT_GE(after.switches - before.switches, 100U);
    EXPECT_GE(after.parks, before.parks + 1);
    EXPECT_GE(after.wakes, before.wakes + 100);
    EXPECT_LE(after.idle_threads, after.threads);
    EXPECT_GT(after.stack_bytes_reserved, 0U);
    EXPECT_GT(after.stack_bytes_resident, 0U);
    EXPECT_LE(after.stack_bytes_resident, after.stack_bytes_reserved);
  });
  EXPECT_EQ(stats().spawned, 0U);
}

TEST_P(Stats, BlockingIsAHandOff) {
  in_fibers([] {
    std::atomic<bool> ran{false};
    const uint64_t before = stats().handoffs;
    go([&ran] { ran.store(true); });
    blocking([&ran] { test::spin_until([&] { return ran.load(); }); });
    EXPECT_TRUE(ran.load());
    EXPECT_LE(before, stats().handoffs);
    EXPECT_GE(stats().threads, 1);
  });
}

}  // namespace
}  // namespace gort
