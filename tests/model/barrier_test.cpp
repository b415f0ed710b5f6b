// Models of barrier.cpp (BA1 to BA3), with foreign threads and with fibers.
#include "gort/barrier.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

#include "port/fiber.hpp"
#include "port/port.hpp"
#include "sched/stop.hpp"
#include "sync_support.hpp"

namespace gort {
namespace {

using model::check;
using model::Thread;
using model::var;

template <int kExpected>
struct Of : barrier<> {
  Of() : barrier(kExpected) {}
};

// BA3: both in one step; either may be the last, and one of them ends the object.
void two_meet() {
  Ended<Of<2>> b;
  var<int> x;
  var<int> y;
  Thread t([&] {
    x = 1;
    b->arrive_and_wait();
    check(y == 1, "all that came before");
  });
  y = 1;
  b->arrive_and_wait();
  b.end();
  check(x == 1, "all that came before");
  t.join();
}

// One arrives and goes; the other waits by a token, and ends the object.
void arrive_and_go() {
  Ended<Of<2>> b;
  var<int> x;
  Thread t([&] {
    x = 1;
    (void)b->arrive();
  });
  b->wait(b->arrive());
  b.end();
  check(x == 1, "all that came before");
  t.join();
}

// Two phases, with a completion between what the two have done.
struct Sum {
  var<int>* a;
  var<int>* b;
  var<int>* sum;
  void operator()() noexcept { *sum = *a + *b; }
};
enum class First : uint8_t { arrive_and_wait, arrive };
template <First kFirst>
void two_phases() {
  var<int> a;
  var<int> b;
  var<int> sum;
  struct Object : barrier<Sum> {
    Object(var<int>* x, var<int>* y, var<int>* z) : barrier(2, Sum{x, y, z}) {}
  };
  Object meet(&a, &b, &sum);
  start_without_waiters(&meet);
  const auto take_part = [&](var<int>& mine, First first) {
    mine = 1;
    if (first == First::arrive) {
      meet.wait(meet.arrive());
    } else {
      meet.arrive_and_wait();
    }
    check(sum == 2, "the completion has seen both");
    mine = 2;
    meet.wait(meet.arrive());
    check(sum == 4, "and so in the second phase");
  };
  Thread t([&] { take_part(a, First::arrive_and_wait); });
  take_part(b, kFirst);
  t.join();
  check_all_over(&meet);
}

// BA2: one drops out while the other, or a third, arrives.
void one_drops() {
  Ended<Of<2>> b;
  var<int> x;
  Thread t([&] {
    x = 1;
    b->arrive_and_drop();
  });
  b->arrive_and_wait();
  check(x == 1, "all that came before");
  b->arrive_and_wait();  // alone
  b.end();
  t.join();
}

// BA2: the completion has seen what the one has done who drops out.
void completion_after_a_drop() {
  var<int> a;
  var<int> b;
  var<int> sum;
  struct Object : barrier<Sum> {
    Object(var<int>* x, var<int>* y, var<int>* z) : barrier(2, Sum{x, y, z}) {}
  };
  Object meet(&a, &b, &sum);
  start_without_waiters(&meet);
  Thread t([&] {
    a = 1;
    meet.arrive_and_drop();
  });
  b = 1;
  meet.wait(meet.arrive());
  check(sum == 2, "the completion has seen both");
  t.join();
  check_all_over(&meet);
}

void three_meet() {
  Ended<Of<3>> b;
  var<int> x;
  var<int> y;
  Thread t([&] {
    x = 1;
    b->arrive_and_wait();
    check(y == 1, "all that came before");
  });
  Thread u([&] {
    y = 1;
    b->wait(b->arrive());
    check(x == 1, "all that came before");
  });
  b->arrive_and_wait();
  check(x == 1 && y == 1, "all that came before");
  t.join();
  u.join();
  check_all_over(b.get());
}

// A stop request does not end a wait.
void not_cancelled() {
  ModelWorld world;
  Ended<Of<2>> b;
  var<int> x;
  int rounds = 0;
  ModelFiber f([&] {
    for (; rounds < 2; ++rounds) {
      b->arrive_and_wait();
      check(x == rounds + 1, "all that came before");
      b->arrive_and_wait();
    }
  });
  request_stop(f.g());
  for (int i = 1; i <= 2; ++i) {
    x = i;
    b->wait(b->arrive());
    b->arrive_and_wait();
  }
  f.join();
  check(rounds == 2, "not ended by the request");
  check_all_over(b.get());
}

// BA2: one too many wants to drop out, while the phase ends. He is refused, and nobody sees that he was there, or he drops out of the
// next one.
void one_too_many_drops() {
  Ended<Of<1>> b;
  bool dropped = false;
  Thread t([&] {
    try {
      b->arrive_and_drop();
      dropped = true;
    } catch (const std::logic_error&) {
    }
  });
  bool refused = false;
  try {
    b->arrive_and_wait();
  } catch (const std::logic_error&) {
    refused = true;
  }
  t.join();
  check(!refused || dropped, "somebody was last");
  if (!dropped) b->arrive_and_wait();  // still expected
  check_all_over(b.get());
}

TEST(BarrierModel, TwoMeet) {
  expect_right({}, two_meet);
}
TEST(BarrierModel, ArriveAndGo) {
  expect_right({.preemptions = 2}, arrive_and_go);
}
TEST(BarrierModel, TwoPhases) {
  expect_right({.preemptions = 1}, two_phases<First::arrive_and_wait>);
  expect_right({.preemptions = 1}, two_phases<First::arrive>);
  expect_right_at_random(10'000, two_phases<First::arrive>);
}
TEST(BarrierModel, OneDrops) {
  expect_right({.preemptions = 2}, one_drops);
  expect_right({.preemptions = 2}, completion_after_a_drop);
}
TEST(BarrierModel, ThreeMeet) {
  expect_right({.preemptions = 1}, three_meet);
  expect_right_at_random(10'000, three_meet);
}
TEST(BarrierModel, OneTooManyDrops) {
  expect_right({.preemptions = 2}, one_too_many_drops);
  expect_right_at_random(10'000, one_too_many_drops);
}
TEST(BarrierModel, NotCancelled) {
  expect_right_at_random(10'000, not_cancelled);
}
TEST(BarrierModel, Mutants) {
  expect_mutants_die({"barrier.cpp", "barrier.hpp"},
                     {{{.preemptions = 2}, two_meet},
                      {{.preemptions = 2}, arrive_and_go},
                      {{.preemptions = 1}, two_phases<First::arrive>},
                      {{.preemptions = 1}, one_drops},
                      {{.preemptions = 2}, completion_after_a_drop},
                      {{.preemptions = 2}, one_too_many_drops},
                      {{.random_runs = 5'000}, three_meet}});
}

}  // namespace
}  // namespace gort
