// Models of contexts (CX1 to CX4 in context.cpp), on the shipped mutex.cpp, chan.cpp, alarm.cpp and timerheap.cpp: ends that meet
// each other, births, deadlines, and handles that are let go of. Threads only: what a fiber waits for here is a channel.
#include "gort/context.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <stdexcept>

#include "port/machine.hpp"
#include "port/port.hpp"
#include "sched/park.hpp"
#include "sched/sched.hpp"
#include "sched/timer.hpp"
#include "sync_support.hpp"

namespace gort {
namespace {

using model::check;
using model::Thread;
using model::var;
using std::chrono::nanoseconds;

using TimePoint = std::chrono::steady_clock::time_point;

// The models' clock stands at 0.
constexpr TimePoint kSoon{nanoseconds(5)};
constexpr TimePoint kLater{nanoseconds(100)};

void run_heap(TimePoint now) {
  const Visitor visit;
  if (!runtime_alive()) return;
  (void)sched().procs[0].timers.run(now.time_since_epoch().count(), [](G* g) { ready(g); });
}

bool closed(const context& c) {
  std::monostate nothing;
  return c.done().try_recv(nothing) == op_status::closed;
}

// CX1, seen by one who has seen one of the three.
void check_ended(const context& c) {
  check(static_cast<bool>(c.err()), "CX1: err() says so");
  check(c.cause() != nullptr, "CX1: and cause()");
  check(closed(c), "CX1: done() is closed");
  check(c.stop_token().stop_requested(), "CX1: the token is requested");
}

int number_in(const std::exception_ptr& cause) {
  try {
    std::rethrow_exception(cause);
  } catch (int n) {
    return n;
  } catch (...) {
    return 0;
  }
}

// CX1: of two ends one counts.
void two_cancel() {
  const auto [ctx, cancel] = with_cancel(context::background());
  var<int> before;
  std::optional<Thread> other;
  other.emplace([cancel = cancel] { cancel(std::make_exception_ptr(1)); });
  cancel(std::make_exception_ptr(2));
  const int first = number_in(ctx.cause());
  check(first == 1 || first == 2, "one of the two");
  other->join();
  check(number_in(ctx.cause()) == first, "CX1: it ends once");
  check_ended(ctx);
}

// CX1: what is made while it ends, is made as ended; the end happens after what came before it.
void looked_at_while_it_ends() {
  const auto [ctx, cancel] = with_cancel(context::background());
  var<int> data;
  Thread other([&, cancel = cancel] {
    data = 7;
    cancel();
  });
  if (closed(ctx)) {
    check(data == 7, "what came before the end is there");
    check(static_cast<bool>(ctx.err()), "CX1: who sees it closed sees err()");
  }
  if (ctx.stop_token().stop_requested()) {
    check(static_cast<bool>(ctx.err()), "CX1: who sees the request sees err()");
  }
  other.join();
  check_ended(ctx);
}

// Who waits for the end is woken, by the end of the parent's parent.
void waits_for_the_end() {
  const auto [ctx, cancel] = with_cancel(context::background());
  const auto [below, unused] = with_cancel(ctx);
  const auto [lowest, unused_too] = with_cancel(below);
  Thread other([cancel = cancel] { cancel(); });
  check(!lowest.done().recv().has_value(), "closed");
  check(lowest.err() == errc::canceled, "CX1: err() comes first");
  other.join();
}

// CX2: a child that is born while its parent ends, ends.
void born_while_it_ends() {
  const auto [ctx, cancel] = with_cancel(context::background());
  Thread other([cancel = cancel] { cancel(std::make_exception_ptr(1)); });
  const auto [child, unused] = with_cancel(ctx);
  other.join();
  check_ended(child);
  check(number_in(child.cause()) == 1, "by the parent's cause");
}

// CX2: children are let go of, in any order, while their parent ends, and while others are born.
void dropped_while_it_ends() {
  const auto [ctx, cancel] = with_cancel(context::background());
  std::optional<context_and_cancel> first(with_cancel(ctx));
  std::optional<context_and_cancel> second(with_cancel(ctx));
  const auto third = with_cancel(ctx);
  Thread other([cancel = cancel] { cancel(); });
  Thread another([&] { second.reset(); });
  first.reset();
  const auto fourth = with_cancel(ctx);
  other.join();
  another.join();
  check_ended(third.ctx);
  check_ended(fourth.ctx);
}

// A child ends by its own cancel function and by its parent's end: once, and it is out of the list.
void child_and_parent_end() {
  const auto [ctx, cancel] = with_cancel(context::background());
  std::optional<context_and_cancel> child(with_cancel(ctx));
  Thread other([cancel = cancel] { cancel(std::make_exception_ptr(1)); });
  child->cancel(std::make_exception_ptr(2));
  const int by = number_in(child->ctx.cause());
  check(by == 1 || by == 2, "one of the two");
  check(static_cast<bool>(child->ctx.err()), "once cancel() has returned");
  child.reset();
  other.join();
  check_ended(ctx);
}

// The deadline passes while it is cancelled.
void deadline_and_cancel() {
  ModelRuntime runtime(1);
  {
    const auto [ctx, cancel] = with_deadline(context::background(), kSoon);
    const auto [child, unused] = with_cancel(ctx);
    Thread time([] { run_heap(kSoon); });
    cancel();
    check(static_cast<bool>(ctx.err()), "once cancel() has returned");
    time.join();
    runtime.close();  // its function's fiber has ended
    check_ended(ctx);
    check(child.err() == ctx.err(), "as the parent's");
  }
  check(sched().procs[0].timers.size() == 0, "CX3: no timer is left");
}

// CX3: the last handle goes while the deadline passes.
void deadline_and_drop() {
  ModelRuntime runtime(1);
  {
    std::optional<context_and_cancel> made(with_deadline(context::background(), kSoon));
    const auto [child, unused] = with_deadline(made->ctx, kLater);
    Thread time([] { run_heap(kSoon); });
    made.reset();
    time.join();
    check(*child.deadline() == kSoon, "the earlier one's");
  }
  runtime.close();
  check(sched().procs[0].timers.size() == 0, "CX3: no timer is left");
}

constexpr uint64_t kRuns = 5'000;

TEST(ContextModel, Ends) {
  expect_right({.preemptions = 2}, two_cancel);
  expect_right({.preemptions = 2}, looked_at_while_it_ends);
  expect_right({.preemptions = 2}, waits_for_the_end);
  expect_right_at_random(kRuns, looked_at_while_it_ends);
}
TEST(ContextModel, Children) {
  expect_right({.preemptions = 2}, born_while_it_ends);
  expect_right({.preemptions = 2}, child_and_parent_end);
  expect_right_at_random(kRuns, child_and_parent_end);
  expect_right_at_random(2 * kRuns, dropped_while_it_ends);
}
TEST(ContextModel, Deadlines) {
  expect_right_at_random(kRuns, deadline_and_cancel);
  expect_right_at_random(kRuns, deadline_and_drop);
}

}  // namespace
}  // namespace gort
