// Models of threads that are no Ms and join tasks (B3 in spawn.cpp).
#include <gtest/gtest.h>

#include "gort/fiber.hpp"
#include "gort/spawn.hpp"
#include "port/machine.hpp"
#include "sched/stop.hpp"
#include "support.hpp"

namespace gort {
namespace {

using model::check;
using model::Event;
using model::Thread;
using model::var;

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
TEST(JoinModel, Mutants) {
  std::vector<model::Program> programs;
  for (const auto& p : {foreign_join, foreign_end_of_a_handle, foreign_join_of_a_stopped,
                        foreign_and_fiber_join, foreign_joins_twice}) {
    programs.push_back({{.random_runs = 500}, p});
  }
  expect_mutants_die({"spawn.cpp", "park.cpp"}, programs);
}

}  // namespace
}  // namespace gort
