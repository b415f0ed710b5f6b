// Models of future.hpp (FU1 to FU3), over the shipped once.cpp and countdown.cpp.
#include "gort/future.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <optional>

#include "gort/errors.hpp"
#include "port/fiber.hpp"
#include "port/port.hpp"
#include "sched/stop.hpp"
#include "sync_support.hpp"

namespace gort {
namespace {

using model::check;
using model::Thread;
using model::var;

std::chrono::steady_clock::time_point at_ns(int64_t ns) {
  return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(ns));
}

// States get the same addresses in each run, one that is made by a program at a time; `live` is how many there are.
struct Arena {
  alignas(64) std::byte memory[2][1024];
  int live = 0;
};
Arena arena;
template <class T>
struct InArena {
  using value_type = T;
  InArena() = default;
  template <class U>
  explicit InArena(const InArena<U>&) {}
  T* allocate(size_t) {
    static_assert(sizeof(T) <= sizeof(arena.memory[0]));
    void* where = arena.memory[arena.live++];
    start_without_waiters(where);
    return static_cast<T*>(where);
  }
  void deallocate(T*, size_t) { --arena.live; }
};

struct Value {
  var<int> n;
  explicit Value(int v) : n(v) {}
  Value(Value&& other) noexcept : n(static_cast<int>(other.n)) {}
  Value& operator=(Value&&) = delete;
};

promise<Value> make() {
  arena.live = 0;
  return promise<Value>(std::allocator_arg, InArena<int>());
}

// FU1, FU2: whoever gets the value lets go of all there is.
void one_gets() {
  auto p = std::make_optional(make());
  future<Value> f = p->get_future();
  Thread t([&] { p->set_value(Value(7)); });
  check(f.get().n == 7, "the value");
  p.reset();  // set_value() may not have returned
  t.join();
  check(arena.live == 0, "nothing is left");
}

// The last of a promise and two futures, whoever that is, ends the state.
void two_share() {
  auto p = std::make_optional(make());
  auto f = std::make_optional(p->get_future().share());
  auto g = f;
  Thread t([&] {
    check(f->get().n == 7, "the value");
    f.reset();
  });
  Thread u([&] {
    check(g->get().n == 7, "the value");
    g.reset();
  });
  p->set_value(Value(7));
  p.reset();
  t.join();
  u.join();
  check(arena.live == 0, "nothing is left");
}

// One that ends without a value.
void broken() {
  auto p = std::make_optional(make());
  future<Value> f = p->get_future();
  Thread t([&] { p.reset(); });
  bool threw = false;
  try {
    (void)f.get();
  } catch (const std::future_error& e) {
    threw = e.code() == std::future_errc::broken_promise;
  }
  check(threw && !f.valid(), "it is broken");
  t.join();
  check(arena.live == 0, "nothing is left");
}

// Of two calls one is let through.
void two_set() {
  auto p = make();
  future<Value> f = p.get_future();
  int set = 0;
  const auto try_set = [&](int n) {
    try {
      p.set_value(Value(n));
      return n;
    } catch (const std::future_error& e) {
      check(e.code() == std::future_errc::promise_already_satisfied, "the other one was first");
      return 0;
    }
  };
  int other = 0;
  Thread t([&] { other = try_set(1); });
  set = try_set(2);
  t.join();
  check(set + other == 1 || set + other == 2, "one of them");
  check(f.get().n == set + other, "his value");
}

// A limit and a value; who was too early comes again.
void limit_and_value() {
  let_looks_take(1);
  auto p = make();
  future<Value> f = p.get_future();
  Thread t([&] { p.set_value(Value(7)); });
  if (f.wait_until(at_ns(2)) == std::future_status::timeout) check(f.valid(), "as it was");
  check(f.get().n == 7, "the value");
  t.join();
}

// A stop request leaves the future as it is.
void stop_and_value() {
  ModelWorld world;
  auto p = make();
  future<Value> f = p.get_future();
  ModelFiber a([&] {
    try {
      check(f.get().n == 7, "the value");
    } catch (const stopped&) {
      check(f.valid() && f.get().n == 7, "as it was");
    }
  });
  Thread u([&] { request_stop(a.g()); });
  p.set_value(Value(7));
  a.join();
  u.join();
}

// FU3: who is told that he comes too late finds the value there, and nobody else touches the state behind that.
void late_one() {
  auto p = std::make_optional(make());
  auto f = std::make_optional(p->get_future());
  Thread t([&] {
    try {
      p->set_value(Value(7));
    } catch (const std::future_error&) {
      check(f->wait_for(std::chrono::seconds(0)) == std::future_status::ready, "FU3: it is ready");
    }
  });
  try {
    p->set_value(Value(7));
  } catch (const std::future_error&) {
    check(f->wait_for(std::chrono::seconds(0)) == std::future_status::ready, "FU3: it is ready");
    check(f->get().n == 7, "the value");
  }
  t.join();
  f.reset();
  p.reset();
  check(arena.live == 0, "nothing is left");
}

TEST(FutureModel, OneGets) {
  expect_right({.preemptions = 2}, one_gets);
}
TEST(FutureModel, TwoShare) {
  expect_right({.preemptions = 1}, two_share);
  expect_right_at_random(10'000, two_share);
}
TEST(FutureModel, Broken) {
  expect_right({.preemptions = 2}, broken);
}
TEST(FutureModel, TwoSet) {
  expect_right({.preemptions = 2}, two_set);
}
TEST(FutureModel, LateOne) {
  expect_right({.preemptions = 2}, late_one);
}
TEST(FutureModel, LimitAndValue) {
  expect_right({.preemptions = 2}, limit_and_value);
}
TEST(FutureModel, StopAndValue) {
  expect_right_at_random(10'000, stop_and_value);
}
TEST(FutureModel, Mutants) {
  expect_mutants_die({"future.hpp", "future.cpp"},
                     {{{.preemptions = 2}, one_gets}, {{.random_runs = 5'000}, two_share}});
}

}  // namespace
}  // namespace gort
