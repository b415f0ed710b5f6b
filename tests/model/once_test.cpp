// Models of once.cpp (ON1, ON2), with foreign threads and with fibers.
#include "gort/once.hpp"

#include <gtest/gtest.h>

#include "port/fiber.hpp"
#include "port/port.hpp"
#include "sched/stop.hpp"
#include "sync_support.hpp"

namespace gort {
namespace {

using model::check;
using model::Thread;
using model::var;

struct Made {
  once_flag once;
  var<int> value;
  void use() {
    call_once(once, [this] { value = value + 1; });
    check(value == 1, "it was called once, and that is known");
  }
};

// ON2: whoever is last to use it ends the object.
void two_come() {
  Ended<Made> o;
  model::atomic<int> left{2};
  const auto come = [&] {
    o->use();
    if (left.fetch_sub(1, std::memory_order_acq_rel) == 1) o.end();
  };
  Thread t(come);
  come();
  t.join();
}

void three_come() {
  Ended<Made> o;
  Thread t([&] { o->use(); });
  Thread u([&] { o->use(); });
  o->use();
  t.join();
  u.join();
  check_all_over(o.get());
}

// ON1: the first calls throw; somebody who waits, or comes, makes the next one, and knows what they did. As call_once()
// does by an exception, which the checker's threads have no use for.
struct Fails {
  once_flag once;
  var<int> calls;
  var<int> failed;
  int left = 0;
  void use() {
    struct failure {};
    try {
      call_once(once, [this] {
        calls = calls + 1;
        if (failed == left) return;
        failed = failed + 1;
        throw failure();
      });
    } catch (const failure&) {
      call_once(once, [this] { calls = calls + 1; });
    }
  }
};
template <int kFailures>
void calls_throw() {
  Ended<Fails> o;
  o->left = kFailures;
  Thread t([&] {
    o->use();
    check(o->calls == o->failed + 1, "no more calls than one that succeeds, and known");
  });
  o->use();
  check(o->calls == o->failed + 1, "no more calls than one that succeeds, and known");
  t.join();
  check_all_over(o.get());
}
template <int kFailures>
void three_and_some_throw() {
  Ended<Fails> o;
  o->left = kFailures;
  Thread t([&] { o->use(); });
  Thread u([&] { o->use(); });
  o->use();
  check(o->calls == o->failed + 1, "no more calls than one that succeeds, and known");
  t.join();
  u.join();
  check_all_over(o.get());
}

void not_cancelled() {
  ModelWorld world;
  Ended<Made> o;
  ModelFiber f([&] { o->use(); });
  request_stop(f.g());
  o->use();
  f.join();
  check_all_over(o.get());
}

TEST(OnceModel, TwoCome) {
  expect_right({}, two_come);
}
TEST(OnceModel, ThreeCome) {
  expect_right({.preemptions = 1}, three_come);
  expect_right_at_random(10'000, three_come);
}
TEST(OnceModel, CallsThrow) {
  expect_right({.preemptions = 1}, calls_throw<1>);
  expect_right({.preemptions = 1}, calls_throw<2>);
  expect_right_at_random(10'000, three_and_some_throw<1>);
  expect_right_at_random(10'000, three_and_some_throw<2>);
}
TEST(OnceModel, NotCancelled) {
  expect_right({.preemptions = 1}, not_cancelled);
}
TEST(OnceModel, Mutants) {
  expect_mutants_die({"once.cpp", "once.hpp"}, {{{.preemptions = 2}, two_come},
                                                {{.preemptions = 1}, calls_throw<1>},
                                                {{.random_runs = 5'000}, three_and_some_throw<1>},
                                                {{.random_runs = 20'000}, three_and_some_throw<2>},
                                                {{.random_runs = 5'000}, three_come}});
}

}  // namespace
}  // namespace gort
