// Timers of programs: the contract of gort/timer.hpp, from fibers and from foreign threads.
#include "gort/timer.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/chan.hpp"
#include "gort/run.hpp"
#include "gort/select.hpp"
#include "gort/spawn.hpp"
#include "gort/wait_group.hpp"
#include "sched/chaos.hpp"
#include "sched/lock.hpp"
#include "sched/region.hpp"
#include "sched/sched.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;
using TimePoint = steady_clock::time_point;

class UserTimer : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(UserTimer);

// AL5: the first beat is due before the ticker is armed.
TEST_P(UserTimer, ATickerOfNearlyNoTimeGoesOn) {
  const auto beats = [](const ticker& t) {
    for (int i = 0; i < 5; ++i) {
      TimePoint tick;
      ASSERT_EQ(t.channel().recv_for(tick, 30s), op_status::ok) << i;
    }
  };
  in_fibers([&] {
    for (const auto period : {1ns, 50ns, 1000ns}) {
      ticker t(period);
      beats(t);
      t.reset(2 * period);
      beats(t);
      t.stop();
      blocking([&] {
        std::thread([&] {
          ticker mine(period);
          beats(mine);
          mine.reset(period);
          beats(mine);
        }).join();
      });
    }
  });
}

TEST_P(UserTimer, FiresOnceAndNotEarly) {
  in_fibers([] {
    const TimePoint begin = steady_clock::now();
    const timer t(2ms);
    const auto tick = t.channel().recv();
    ASSERT_TRUE(tick.has_value());
    EXPECT_GE(*tick, begin + 2ms);
    EXPECT_LE(*tick, steady_clock::now());
    TimePoint none;
    EXPECT_EQ(t.channel().recv_for(none, 5ms), op_status::timeout);
    EXPECT_FALSE(t.stop());
  });
}

TEST_P(UserTimer, FiresAtOnceForNoTimeAtAll) {
  in_fibers([] {
    for (const auto d : {0ns, -1ns, std::chrono::nanoseconds::min()}) {
      const timer t(d);
      TimePoint tick;
      EXPECT_EQ(t.channel().try_recv(tick), op_status::ok);
    }
    const timer never(std::chrono::hours::max());
    EXPECT_TRUE(never.stop());
    EXPECT_FALSE(never.stop());
  });
}

TEST_P(UserTimer, StopLeavesNothingBehind) {
  in_fibers([] {
    TimePoint tick;
    const timer pending(1h);
    EXPECT_TRUE(pending.stop());
    EXPECT_FALSE(pending.stop());
    const timer fired(0ns);
    EXPECT_EQ(fired.channel().size(), 1U);
    EXPECT_TRUE(fired.stop()) << "its tick was not taken, and never will be";
    EXPECT_EQ(fired.channel().try_recv(tick), op_status::empty);
    EXPECT_FALSE(fired.stop());
  });
}

TEST_P(UserTimer, ResetDiscardsTheTickOfBefore) {
  in_fibers([] {
    const timer t(0ns);
    const TimePoint begin = steady_clock::now();
    EXPECT_TRUE(t.reset(2ms));
    const auto tick = t.channel().recv();
    EXPECT_GE(*tick, begin + 2ms);
    EXPECT_FALSE(t.reset(1h));
    EXPECT_TRUE(t.reset(0ns));
    EXPECT_TRUE(t.channel().recv().has_value());
  });
}

TEST_P(UserTimer, ItsEndStopsItAndItsChannelMayStay) {
  in_fibers([] {
    auto t = std::make_unique<timer>(1ms);
    const auto channel = t->channel();
    t.reset();
    TimePoint none;
    EXPECT_EQ(channel.recv_for(none, 5ms), op_status::timeout);
  });
}

TEST_P(UserTimer, MovesAndSaysWhenItWasMovedFrom) {
  in_fibers([] {
    timer a(1h);
    timer b(std::move(a));
    EXPECT_FALSE(a.stop());  // NOLINT(bugprone-use-after-move): this is the subject
    EXPECT_THROW((void)a.reset(1s), std::logic_error);
    timer c(1h);
    const auto of_c = c.channel();
    c = std::move(b);
    EXPECT_TRUE(c.reset(0ns));
    EXPECT_TRUE(c.channel().recv().has_value());
    EXPECT_EQ(of_c.size(), 0U);
  });
}

TEST_P(UserTimer, TicksAndDropsTicksThatNobodyTakes) {
  in_fibers([] {
    const TimePoint begin = steady_clock::now();
    const ticker t(1ms);
    for (int i = 1; i <= 5; ++i) {
      const auto tick = t.channel().recv();
      EXPECT_GE(*tick, begin + i * 1ms);
    }
    test::until([begin] { return steady_clock::now() > begin + 20ms; });
    EXPECT_LE(t.channel().size(), 1U);
    EXPECT_TRUE(t.stop());
    EXPECT_FALSE(t.stop());
    TimePoint none;
    EXPECT_EQ(t.channel().recv_for(none, 5ms), op_status::timeout);
    EXPECT_FALSE(t.reset(1ms));
    EXPECT_TRUE(t.channel().recv().has_value());
    EXPECT_TRUE(t.channel().recv().has_value());
  });
}

TEST_P(UserTimer, TickerRefusesWhatIsNoPeriod) {
  in_fibers([] {
    EXPECT_THROW(ticker(0ns), std::invalid_argument);
    EXPECT_THROW(ticker(-1s), std::invalid_argument);
    const ticker t(1h);
    EXPECT_THROW((void)t.reset(0ns), std::invalid_argument);
    EXPECT_TRUE(t.stop());
  });
}

TEST_P(UserTimer, AfterIsAChannel) {
  in_fibers([] {
    const TimePoint begin = steady_clock::now();
    EXPECT_GE(*after(1ms).recv(), begin + 1ms);
    TimePoint tick;
    const auto late = after(1h);
    EXPECT_EQ(late.try_recv(tick), op_status::empty);
  });
}

// How many are armed in the runtime.
uint32_t armed() {
  const Region in;
  uint32_t n = 0;
  for (P& p : sched().all_procs()) n += p.timers.size();
  return n;
}

// AL3: what nobody can receive from any more is not kept until its time.
TEST_P(UserTimer, DroppedOnesAreGone) {
  in_fibers([] {
    for (int i = 0; i < 100; ++i) {
      const auto tick = after(1h);
      EXPECT_EQ(armed(), 1U);
      const timer t(1h);
      const ticker k(1h);
      const auto channel = k.channel();
      EXPECT_EQ(armed(), 3U);
    }
    EXPECT_EQ(armed(), 0U);
  });
}

TEST_P(UserTimer, AMillionArePending) {
  in_fibers([this] {
    const int each = nprocs() == 4 && !test::kSanitizers && !chaos() ? 500'000 : 2'000;
    std::atomic<int> fired{0};
    std::vector<receiver<TimePoint>> ticks;
    std::vector<func_timer> calls;
    for (int i = 0; i < each; ++i) {
      ticks.push_back(after(1h + std::chrono::microseconds(i % 1000)));
      calls.push_back(after_func(1h - std::chrono::microseconds(i % 1000), [&] { ++fired; }));
    }
    EXPECT_EQ(armed(), 2U * static_cast<uint32_t>(each));
    for (const auto& call : calls) ASSERT_TRUE(call.stop());
    for (int i = 0; i < each; i += 1000) ASSERT_FALSE(calls[static_cast<size_t>(i)].reset(0ns));
    test::until([&] { return fired == each / 1000; });
  });
}

TEST_P(UserTimer, AFunctionRunsOnAFiberOfItsOwn) {
  in_fibers([] {
    const uint64_t me = this_fiber::id();
    const TimePoint begin = steady_clock::now();
    chan<uint64_t> c(4);
    const func_timer t = after_func(1ms, [c] { c.send(this_fiber::id()); });
    const uint64_t first = *c.recv();
    EXPECT_GE(steady_clock::now(), begin + 1ms);
    EXPECT_NE(first, me);
    EXPECT_NE(first, 0U);
    EXPECT_FALSE(t.stop());
    EXPECT_FALSE(t.reset(0ns));
    EXPECT_NE(*c.recv(), first);
    EXPECT_FALSE(t.reset(1h));
    EXPECT_TRUE(t.stop());
    EXPECT_FALSE(t.stop());
    after_func(0ns, [c] { c.send(0); });
    EXPECT_EQ(*c.recv(), 0U);
  });
}

TEST_P(UserTimer, AFunctionMaySetItsTimerAgain) {
  in_fibers([] {
    int left = 5;
    wait_group over;
    over.add(1);
    chan<func_timer> self(1);
    self.send(after_func(100us, [&, self] {
      const func_timer t = *self.recv();
      if (--left == 0) return over.done();
      EXPECT_FALSE(t.reset(100us));
      self.send(t);
    }));
    over.wait();
    EXPECT_EQ(left, 0);
  });
}

// AL3: the function is destroyed once, whatever becomes of its timer.
TEST_P(UserTimer, AFunctionIsDestroyedOnce) {
  const auto witness = std::make_shared<int>(0);
  const auto alone = [&] { return witness.use_count() == 1; };
  in_fibers([&] {
    after_func(0ns, [witness] {});
    test::until(alone);
    EXPECT_TRUE(after_func(1h, [witness] {}).stop());
    EXPECT_TRUE(alone());
    func_timer kept = after_func(1h, [witness] {});
    EXPECT_TRUE(kept.reset(0ns));
    test::until([&] { return witness.use_count() == 2; });
    kept = {};
    test::until(alone);
    // Armed, and nobody holds on to it: until the end.
    after_func(1h, [witness] { ADD_FAILURE() << "its time never comes"; });
    struct Throws {
      Throws() = default;
      Throws(const Throws&) { throw std::runtime_error("not moved"); }
      void operator()() const {}
    };
    EXPECT_THROW(after_func(1h, Throws()), std::runtime_error);
  });
  EXPECT_TRUE(alone());
}

TEST_P(UserTimer, AFunctionThatIsStoppedEndsItsFiberAlone) {
  in_fibers([] {
    after_func(0ns, [] { throw stopped(); });
    test::until([] { return num_fibers() == 1; });
  });
}

// One of those fires at the moment at which the main fiber ends.
TEST_P(UserTimer, PendingOnesEndWithTheRun) {
  for (int i = 0; i < 20; ++i) {
    std::atomic<int> begun{0};
    std::atomic<int> ended{0};
    in_fibers([&] {
      for (int k = 0; k < 50; ++k) {
        after_func(std::chrono::microseconds(k * 4), [&] {
          ++begun;
          try {
            sleep_for(1h);
          } catch (const stopped&) {
            ++ended;
            throw;
          }
        });
      }
      const ticker t(10us);
      (void)t.channel().recv();
    });
    EXPECT_EQ(begun, ended) << "a fiber that began was asked to stop";
  }
}

TEST_P(UserTimer, ThreadsUseThemWhileARuntimeLives) {
  EXPECT_THROW(timer(1s), std::logic_error);
  EXPECT_THROW(ticker(1s), std::logic_error);
  EXPECT_THROW((void)after(1s), std::logic_error);
  EXPECT_THROW(after_func(1s, [] {}), std::logic_error);
  auto kept = std::make_unique<std::vector<timer>>();
  {
    const runtime rt(opts());
    const timer t(1ms);
    EXPECT_TRUE(t.channel().recv().has_value());
    const timer at_once(0ns);
    EXPECT_TRUE(at_once.channel().recv().has_value());
    const ticker k(100us);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(k.channel().recv().has_value());
    std::atomic<bool> called{false};
    after_func(1ms, [&] { called = true; });
    test::until([&] { return called.load(); });
    called = false;
    after_func(0ns, [&] { called = true; });
    test::until([&] { return called.load(); });
    for (int i = 0; i < 100; ++i) kept->emplace_back(1h);
  }
  EXPECT_FALSE((*kept)[0].stop()) << "it ended with its runtime";
  EXPECT_THROW((void)(*kept)[1].reset(1s), std::logic_error);
  {
    const runtime rt(opts());
    EXPECT_FALSE((*kept)[2].reset(0ns));
    EXPECT_TRUE((*kept)[2].channel().recv().has_value());
    EXPECT_FALSE((*kept)[3].reset(1h));
  }
}

TEST_P(UserTimer, WorkInsideBlocking) {
  in_fibers([] {
    blocking([] {
      const timer t(1ms);
      EXPECT_TRUE(t.channel().recv().has_value());
    });
    std::atomic<bool> called{false};
    blocking([&] { after_func(1ms, [&] { called = true; }); });
    test::until([&] { return called.load(); });
  });
}

// A heap is run in the handler of a signal, too, when the slice of the only fiber is over.
TEST_P(UserTimer, MayBeSetForEver) {
  in_fibers([] {
    constexpr auto kForever = std::chrono::hours::max();
    const timer t(kForever);
    const ticker beat(kForever);
    std::atomic<int> calls{0};
    const func_timer f = after_func(kForever, [&] { ++calls; });
    EXPECT_EQ(select(on_recv(t.channel()), on_recv(beat.channel()), otherwise()), 2U);
    EXPECT_TRUE(t.stop() && beat.stop() && f.stop());
    EXPECT_FALSE(t.reset(kForever) || beat.reset(kForever) || f.reset(kForever));
    EXPECT_TRUE(f.reset(0s) && t.reset(0s) && beat.reset(1ns));
    test::until([&] { return calls.load() == 1; });
    EXPECT_TRUE(t.channel().recv() && beat.channel().recv());
  });
}

// Of what was set each time, either somebody gets the tick, or one stop or reset says true.
TEST_P(UserTimer, ManyMayStopAndSetOne) {
  in_fibers([] {
    constexpr int kFibers = 4;
    constexpr int kRounds = 300;
    const timer t(0s);
    std::atomic<int> sets{1};
    std::atomic<int> ends{0};
    wait_group all;
    for (int i = 0; i < kFibers; ++i) {
      all.go([&, i] {
        for (int k = 0; k < kRounds; ++k) {
          TimePoint tick;
          switch ((i + k) % 4) {
            case 0:
              ++sets;
              ends += t.reset(0s) ? 1 : 0;
              break;
            case 1:
              ++sets;
              ends += t.reset(k % 8 < 4 ? std::chrono::microseconds(5) : 1h) ? 1 : 0;
              break;
            case 2:
              ends += t.stop() ? 1 : 0;
              break;
            default:
              ends += t.channel().try_recv(tick) == op_status::ok ? 1 : 0;
          }
          if (k % 16 == 0) yield();
        }
      });
    }
    all.wait();
    ends += t.stop() ? 1 : 0;
    EXPECT_EQ(ends, sets);
    EXPECT_FALSE(t.stop());
  });
}

TEST_P(UserTimer, FireWhileEveryFiberComputes) {
  in_fibers([this] {
    std::atomic<int> left{4};
    for (int i = 0; i < 4; ++i) after_func(1ms, [&] { --left; });
    const timer t(1ms);
    std::vector<task<void>> hogs;
    for (int i = 1; i < nprocs(); ++i) {
      hogs.push_back(spawn([&] { (void)test::spin_until([&] { return left == 0; }); }));
    }
    EXPECT_TRUE(test::spin_until([&] { return left == 0 && t.channel().size() == 1; }));
  });
}

// A function that is still to come when the run ends may own other timers, and threads that do.
TEST_P(UserTimer, PendingOnesMayOwnOthers) {
  in_fibers([] {
    for (int i = 0; i < 3; ++i) {
      (void)after_func(2h, [t = timer(1h)] {});
      (void)after_func(1h, [t = timer(2h)] {});
      (void)after_func(1h, [c = after(1h)] {});
      (void)after_func(1h, [t = ticker(1h), c = after(1ns)] {});
      struct by_a_thread {
        std::optional<timer> t{std::in_place, 1h};
        by_a_thread() = default;
        by_a_thread(by_a_thread&& o) noexcept : t(std::exchange(o.t, std::nullopt)) {}
        ~by_a_thread() {
          if (t) std::thread([this] { t.reset(); }).join();
        }
      };
      (void)after_func(1h, [x = by_a_thread()] {});
    }
  });
}

// Its maker computes on, and another P is idle: an M is sent to sleep for it now, and not when sysmon next comes by, which may
// be sooner now and then.
TEST_P(UserTimer, IsSeenToWhileItsMakerComputes) {
  if (GetParam() == 1) GTEST_SKIP() << "the maker has the only P";
  constexpr int kTries = 20;
  int seen_to = 0;
  for (int i = 0; i < kTries; ++i) {
    in_fibers([&] {
      const auto nobody_polls = [] {
        return sched().poll_until_ns.load(std::memory_order_relaxed) == 0;
      };
      const auto others_idle = [] {
        return sched().idle_p_count.load(std::memory_order_relaxed) == procs() - 1;
      };
      const auto one_sleeps = [] {
        const Region in;
        const LockGuard guard(sched().lock);
        return sched().idle_m_count > 0;
      };
      std::atomic<bool> ran{false};
      go([&] { ran = true; });
      ASSERT_TRUE(test::spin_until([&] { return ran.load(); }));  // so there is another M
      ASSERT_TRUE(test::spin_until([&] {
        return nobody_polls() && others_idle() && one_sleeps() &&
               sched().spinning.load(std::memory_order_relaxed) == 0;
      }));
      const timer t(1h);
      if (test::spin_until([&] { return !nobody_polls() || !others_idle(); }, 1ms)) ++seen_to;
    });
  }
  EXPECT_GT(seen_to, kTries / 2);
}

}  // namespace
}  // namespace gort
