// Models of threads that are no Ms and join tasks (B3 in spawn.cpp).
#include <gtest/gtest.h>

#include <chrono>

#include "gort/fiber.hpp"
#include "gort/spawn.hpp"
#include "passing_time.hpp"
#include "port/machine.hpp"
#include "sched/park.hpp"
#include "sched/sched.hpp"
#include "sched/stop.hpp"
#include "support.hpp"

namespace gort {
namespace {

using model::check;
using model::Event;
using model::Thread;
using model::var;

using TimePoint = std::chrono::steady_clock::time_point;

constexpr int64_t kLimit = 5;  // the clock stands at 0
constexpr int64_t kLongAfter = 1'000'000;
constexpr attrs kOn0{.name = "0"};
constexpr attrs kOn1{.name = "1"};

// What a task leaves behind, which ends once.
struct Left {
  explicit Left(int* ends) : ends(ends) {}
  Left(Left&& o) noexcept : ends(std::exchange(o.ends, nullptr)) { value = int{o.value}; }
  ~Left() {
    if (ends != nullptr) ++*ends;
  }
  int* ends;
  var<int> value = 7;
};

void check_nobody_asleep() {
  check(ForeignParked::asleep(foreign_parked.now()) == 0, "who was woken does not count as asleep");
}

// B3: the thread finds the end, or the end finds it.
void foreign_join() {
  ModelRuntime runtime(1);
  int ends = 0;
  {
    task<Left> t = spawn(kOn0, [&] { return Left(&ends); });
    const Left left = t.get();
    check(left.value == 7, "the result is there");
  }
  runtime.close();
  check(ends == 1, "B5");
  check_nobody_asleep();
}

// B3, B5: the handle's end asks the fiber to stop, and waits for it.
void foreign_end_of_a_handle() {
  ModelRuntime runtime(1);
  int ends = 0;
  {
    const task<Left> t = spawn(kOn0, [&] {
      Left left(&ends);
      detail::sleep_until_ns(kNever - 1);
      return left;
    });
  }
  check(ends == 1, "B5: nothing is left once the handle has ended");
  check_nobody_asleep();
}

// B3: somebody else asks the fiber to stop while the thread waits for its end.
void foreign_join_of_a_stopped() {
  ModelRuntime runtime(1);
  task<void> t = spawn(kOn0, [&] { detail::sleep_until_ns(kNever - 1); });
  Thread other([&] { t.request_stop(); });
  t.join();
  other.join();
  check(t.done(), "B3: joined");
  check_nobody_asleep();
}

// Of a fiber and a thread that join one task, one is told that this is an error, if the fiber has not ended.
void foreign_and_fiber_join() {
  ModelRuntime runtime(2);
  int joined = 0;
  int refused = 0;
  Event over;
  {
    task<void> t = spawn(kOn1, [] {});
    const auto join = [&] {
      try {
        t.join();
        check(t.done(), "B3: joined");
        ++joined;
      } catch (const std::logic_error&) {
        ++refused;
      }
    };
    go(kOn0, [&] {
      join();
      over.set();
    });
    join();
    over.wait();
  }
  check(joined >= 1 && joined + refused == 2, "B3: one of them has joined");
  check_nobody_asleep();
}

// A thread that waits again, while whoever has ended its first wait may be late with the wake-up. So it is with two threads
// of which the second has the stand-in of the first, which it has taken under the lock that the first gave it back under.
void foreign_joins_twice() {
  ModelRuntime runtime(2);
  task<int> first = spawn(kOn0, [] { return 1; });
  task<int> second = spawn(kOn1, [] { return 2; });
  check(first.get() == 1, "the result is there");
  check(second.get() == 2, "the result is there");
  check_nobody_asleep();
}

// ---- Joins with a limit (B6) ----

bool join_with_limit(task<void>& t) {
  const bool ended = t.join_until(TimePoint(std::chrono::nanoseconds(kLimit)));
  check(!ended || t.done(), "B6: it says the end when it was one");
  return ended;
}

// The end against the limit: the joiner hears of one of them, once.
void limit_and_end() {
  ModelRuntime runtime(2);
  {
    task<void> t = spawn(kOn1, [] {});
    task<void> joins = spawn(kOn0, [&t] {
      (void)join_with_limit(t);
      t.join();
      check(t.done(), "B3: it may be joined again");
    });
    const PassingTime time(0, kLongAfter);
    joins.join();
  }
  runtime.close();
  check_nobody_asleep();
}

// Nobody ends the task: the limit alone, which must not be lost, however early its timer fires.
void limit_alone() {
  ModelRuntime runtime(2);
  Event go_on;
  {
    task<void> t = spawn(kOn1, [&go_on] { go_on.wait(); });
    task<void> joins = spawn(kOn0, [&t] { check(!join_with_limit(t), "it has not ended"); });
    {
      const PassingTime time(0, kLongAfter);
      joins.join();
    }
    go_on.set();
    t.join();
  }
  runtime.close();
  check_nobody_asleep();
}

// The limit, the end and a request to stop the joiner.
void limit_end_and_stop() {
  ModelRuntime runtime(2);
  {
    task<void> t = spawn(kOn1, [] {});
    task<void> joins = spawn(kOn0, [&t] {
      try {
        (void)join_with_limit(t);
        t.join();
      } catch (const stopped&) {
        t.join();  // the request comes once
      }
      check(t.done(), "B3: it may be joined again");
    });
    Thread asks([&] { joins.request_stop(); });
    const PassingTime time(0, kLongAfter);
    joins.join();
    asks.join();
  }
  runtime.close();
}

// A thread, which looks at its limit itself.
void foreign_limit_and_end() {
  ModelRuntime runtime(1);
  {
    task<void> t = spawn(kOn0, [] {});
    (void)join_with_limit(t);
    t.join();
  }
  runtime.close();
  check_nobody_asleep();
}

void expect_right_at_random(const std::function<void()>& program) {
  const uint64_t runs = test::kSanitizers ? 200 : 2'000;
  const model::Result r = model::explore({.random_runs = runs, .seed = 1}, program);
  EXPECT_FALSE(r.failed) << r;
}

TEST(JoinModel, ForeignJoin) {
  expect_right({.preemptions = 1}, foreign_join);
  expect_right_at_random(foreign_join);
}
TEST(JoinModel, ForeignEndOfAHandle) {
  expect_right_at_random(foreign_end_of_a_handle);
}
TEST(JoinModel, ForeignJoinOfAStopped) {
  expect_right_at_random(foreign_join_of_a_stopped);
}
TEST(JoinModel, ForeignAndFiberJoin) {
  expect_right_at_random(foreign_and_fiber_join);
}
TEST(JoinModel, ForeignJoinsTwice) {
  expect_right_at_random(foreign_joins_twice);
}
TEST(JoinModel, LimitAndEnd) {
  expect_right_at_random(limit_and_end);
}
TEST(JoinModel, LimitAlone) {
  expect_right_at_random(limit_alone);
}
TEST(JoinModel, LimitEndAndStop) {
  expect_right_at_random(limit_end_and_stop);
}
TEST(JoinModel, ForeignLimitAndEnd) {
  expect_right_at_random(foreign_limit_and_end);
}
TEST(JoinModel, Mutants) {
  std::vector<model::Program> programs;
  for (const auto& p : {foreign_join, foreign_end_of_a_handle, foreign_join_of_a_stopped,
                        foreign_and_fiber_join, foreign_joins_twice, limit_and_end, limit_alone,
                        limit_end_and_stop, foreign_limit_and_end}) {
    programs.push_back({{.random_runs = 500}, p});
  }
  expect_mutants_die({"spawn.cpp", "park.cpp"}, programs);
}

}  // namespace
}  // namespace gort
