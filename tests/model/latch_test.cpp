// Models of what latch adds to countdown.cpp: waits that nothing ends early, and taking and waiting in one step (CD2).
// The rest is in wait_group_test.cpp.
#include "gort/latch.hpp"

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

template <int kCount>
struct Of : latch {
  Of() : latch(kCount) {}
};

// CD2: one of the two has arrived and waits while the other ends the object.
void two_arrive() {
  Ended<Of<2>> l;
  var<int> a;
  var<int> b;
  Thread t([&] {
    a = 1;
    l->arrive_and_wait();
    check(b == 1, "all that came before");
  });
  b = 1;
  l->arrive_and_wait();
  l.end();
  check(a == 1, "all that came before");
  t.join();
}

// The third counts down only, and two wait in the two ways.
void counted_and_waited_for() {
  Ended<Of<3>> l;
  var<int> a;
  var<int> b;
  model::atomic<int> left{2};
  const auto end_if_last = [&] {
    check(a == 1 && b == 1, "all that came before");
    if (left.fetch_sub(1, std::memory_order_acq_rel) == 1) l.end();
  };
  Thread t([&] {
    a = 1;
    l->arrive_and_wait();
    end_if_last();
  });
  Thread u([&] {
    b = 1;
    l->count_down(2);
  });
  l->wait();
  end_if_last();
  t.join();
  u.join();
}

void tried() {
  Ended<Of<1>> l;
  var<int> a;
  Thread t([&] {
    a = 1;
    l->count_down();
  });
  if (l->try_wait()) check(a == 1, "all that came before");
  t.join();
  check(l->try_wait(), "it is there to stay");
}

// A stop request does not end a wait.
void not_cancelled() {
  ModelWorld world;
  Ended<Of<2>> l;
  var<int> a;
  bool arrived = false;
  ModelFiber f([&] {
    l->arrive_and_wait();
    l->wait();
    check(a == 1, "all that came before");
    arrived = true;
  });
  request_stop(f.g());
  a = 1;
  l->count_down();
  f.join();
  check(arrived, "not ended by the request");
  check_all_over(l.get());
}

TEST(LatchModel, TwoArrive) {
  expect_right({}, two_arrive);
}
TEST(LatchModel, CountedAndWaitedFor) {
  expect_right({.preemptions = 1}, counted_and_waited_for);
  expect_right_at_random(10'000, counted_and_waited_for);
}
TEST(LatchModel, Tried) {
  expect_right({}, tried);
}
TEST(LatchModel, NotCancelled) {
  expect_right({.preemptions = 1}, not_cancelled);
  expect_right_at_random(5'000, not_cancelled);
}
TEST(LatchModel, Mutants) {
  expect_mutants_die(
      {}, {{{.preemptions = 1}, two_arrive}, {{.preemptions = 1}, counted_and_waited_for}});
}

}  // namespace
}  // namespace gort
