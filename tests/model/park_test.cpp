// Models of park and ready (R1, W1, W2), of stop requests (S1, S2) and of time limits, by what channels do with
// them. All of it is the shipped park.cpp, stop.cpp, timer.cpp, timerheap.cpp and chan.cpp.
#include "sched/park.hpp"

#include <gtest/gtest.h>

#include "gort/chan.hpp"
#include "port/fiber.hpp"
#include "port/port.hpp"
#include "sched/stop.hpp"
#include "sched/timer.hpp"
#include "support.hpp"

namespace gort {
namespace {

using model::check;
using model::var;

struct Chan {
  explicit Chan(size_t capacity = 0) : core(detail::chan_make(capacity, detail::ops_of<int>)) {}
  ~Chan() { detail::chan_release(core); }
  op_status send(int v, int64_t until = detail::chan_forever) const {
    return detail::chan_send(core, &v, until);
  }
  op_status recv(int& v, int64_t until = detail::chan_forever) const {
    return detail::chan_recv(core, &v, until);
  }
  detail::chan_core* core;
};

void hand_over() {
  ModelWorld world;
  Chan c;
  var<int> data;
  ModelFiber a([&] {
    data = 1;
    check(c.send(7) == op_status::ok, "sent");
  });
  ModelFiber b([&] {
    int v = 0;
    check(c.recv(v) == op_status::ok && v == 7, "received");
    check(data == 1, "send happens before receive");
  });
}

// S1, S2: a stop request that meets a receiver at any time, with nobody to send.
void stop_alone() {
  ModelWorld world;
  Chan c;
  bool stopped_once = false;
  ModelFiber a([&] {
    int v = 0;
    try {
      (void)c.recv(v);
    } catch (const stopped&) {
      stopped_once = true;
    }
  });
  request_stop(a.g());
  a.join();
  check(stopped_once, "a stop request is not lost");
}

// S2 for a wait that is put in by commit: nothing but the request ends it, or its time.
void stop_asleep() {
  ModelWorld world;
  WakeCause cause = WakeCause::notified;
  ModelFiber a([&] { cause = sleep_until_ns(5); });
  request_stop(a.g());
  a.join();
  check(cause == WakeCause::stopped, "a stop request is not lost");
}

// A sleep that may be over before the far side has let go of it.
void asleep() {
  ModelWorld world;
  model::atomic<bool> over{false};
  ModelFiber a([&] {
    check(sleep_until_ns(5) == WakeCause::timeout, "the time came");
    over.store(true, std::memory_order_relaxed);
  });
  while (!over.load(std::memory_order_relaxed)) {
    ModelWorld::let_time_pass({&a});
    model::pause();
  }
  a.join();
}

// W1 where nothing is taken out of anything: the requester and the far side may both see the request.
void stop_at_nil() {
  ModelWorld world;
  bool stopped_once = false;
  ModelFiber a([&] {
    int v = 0;
    try {
      (void)detail::chan_recv(nullptr, &v, detail::chan_forever);
    } catch (const stopped&) {
      stopped_once = true;
    }
  });
  request_stop(a.g());
  a.join();
  check(stopped_once, "a stop request is not lost");
}

// S2 for a wait with a lock and a time limit.
void stop_before_limit() {
  ModelWorld world;
  Chan c;
  bool stopped_once = false;
  ModelFiber a([&] {
    int v = 0;
    try {
      (void)c.recv(v, 5);
    } catch (const stopped&) {
      stopped_once = true;
    }
  });
  request_stop(a.g());
  a.join();
  check(stopped_once, "a stop request is not lost");
}

// Two requests end one wait: the second must not end the next one, which a value ends.
void stop_twice() {
  ModelWorld world;
  Chan c;
  int times = 0;
  bool got = false;
  ModelFiber a([&] {
    for (int i = 0; i < 2; ++i) {
      int v = 0;
      try {
        got = c.recv(v) == op_status::ok;
      } catch (const stopped&) {
        ++times;
      }
    }
  });
  model::Thread other([&] { request_stop(a.g()); });
  request_stop(a.g());
  other.join();
  ModelFiber b([&] { check(c.send(7) == op_status::ok, "sent"); });
  a.join();
  b.join();
  check(times == 1 && got, "one wait is stopped, whatever the number of requests");
}

// A stop request races with a value: one of them wins, and neither is lost.
void stop_and_value() {
  ModelWorld world;
  Chan c;
  bool got = false;
  bool stopped_once = false;
  ModelFiber a([&] {
    int v = 0;
    try {
      got = c.recv(v) == op_status::ok;
    } catch (const stopped&) {
      stopped_once = true;
    }
  });
  bool sent = false;
  ModelFiber b([&] { sent = c.send(7, detail::chan_now) == op_status::ok; });
  request_stop(a.g());
  a.join();
  b.join();
  check(got == sent, "what was sent was received");
  check(got != stopped_once, "one of them wins");
}

// W1: a value races with a time limit.
void limit_and_value() {
  ModelWorld world;
  Chan c;
  bool got = false;
  bool sent = false;
  model::atomic<bool> over{false};
  ModelFiber a([&] {
    int v = 0;
    const op_status st = c.recv(v, 5);
    check(st == op_status::ok || st == op_status::timeout, "a value or the limit");
    got = st == op_status::ok;
    over.store(true, std::memory_order_relaxed);
  });
  ModelFiber b([&] { sent = c.send(7, detail::chan_now) == op_status::ok; });
  while (!over.load(std::memory_order_relaxed)) {
    ModelWorld::let_time_pass({&a});
    model::pause();
  }
  a.join();
  b.join();
  check(got == sent, "what was sent was received");
}

TEST(ParkModel, HandOver) {
  expect_right({.preemptions = 1}, hand_over);
  expect_right_at_random(hand_over);
}
TEST(ParkModel, StopAlone) {
  expect_right({.preemptions = 2}, stop_alone);
  expect_right_at_random(stop_alone);
}
TEST(ParkModel, StopAsleep) {
  expect_right({.preemptions = 2}, stop_asleep);
}
TEST(ParkModel, Asleep) {
  expect_right_at_random(asleep);
}
TEST(ParkModel, StopAtNil) {
  expect_right({.preemptions = 2}, stop_at_nil);
  expect_right_at_random(stop_at_nil);
}
TEST(ParkModel, StopBeforeLimit) {
  expect_right({.preemptions = 2}, stop_before_limit);
}
TEST(ParkModel, StopTwice) {
  expect_right_at_random(stop_twice);
}
TEST(ParkModel, StopAndValue) {
  expect_right({.preemptions = 1}, stop_and_value);
  expect_right_at_random(stop_and_value);
}
TEST(ParkModel, LimitAndValue) {
  expect_right_at_random(limit_and_value);
}
TEST(ParkModel, Mutants) {
  expect_mutants_die({"park.cpp", "park_inline.hpp", "stop.cpp", "wait.hpp", "port.cpp"},
                     {{{.preemptions = 2}, stop_alone},
                      {{.preemptions = 1}, stop_asleep},
                      {{.random_runs = 3'000}, asleep},
                      {{.preemptions = 1}, stop_at_nil},
                      {{.preemptions = 1}, stop_before_limit},
                      {{.random_runs = 3'000}, stop_twice},
                      {{.random_runs = 3'000}, stop_and_value},
                      {{.random_runs = 3'000}, limit_and_value},
                      {{.random_runs = 3'000}, hand_over}});
}

}  // namespace
}  // namespace gort
