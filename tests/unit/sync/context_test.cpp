// Contexts: the contract of gort/context.hpp.
#include "gort/context.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "gort/run.hpp"
#include "gort/spawn.hpp"
#include "gort/timer.hpp"
#include "sched/region.hpp"
#include "sched/sched.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

class Context : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(Context);

bool is_closed(const context& ctx) {
  std::monostate none;
  return ctx.done().try_recv(none) == op_status::closed;
}

template <class E>
std::string cause_of(const context& ctx) {
  try {
    std::rethrow_exception(ctx.cause());
  } catch (const E& e) {
    return e.what();
  }
}

void expect_live(const context& ctx) {
  EXPECT_FALSE(ctx.err());
  EXPECT_EQ(ctx.cause(), nullptr);
  EXPECT_FALSE(ctx.stop_token().stop_requested());
  EXPECT_FALSE(is_closed(ctx));
}

void expect_ended(const context& ctx, errc why) {
  EXPECT_EQ(ctx.err(), why);
  EXPECT_NE(ctx.cause(), nullptr);
  EXPECT_TRUE(ctx.stop_token().stop_requested());
  EXPECT_TRUE(is_closed(ctx));
}

TEST(ContextAnywhere, BackgroundNeverEnds) {
  const context root = context::background();
  EXPECT_FALSE(root.err());
  EXPECT_EQ(root.cause(), nullptr);
  EXPECT_FALSE(root.stop_token().stop_possible());
  EXPECT_FALSE(root.deadline().has_value());
  std::monostate none;
  EXPECT_EQ(root.done().try_recv(none), op_status::empty);
}

TEST(ContextAnywhere, CancelEndsItOnceWithoutARuntime) {
  const auto [ctx, cancel] = with_cancel(context::background());
  expect_live(ctx);
  cancel(std::make_exception_ptr(std::runtime_error("enough")));
  expect_ended(ctx, errc::canceled);
  EXPECT_EQ(cause_of<std::runtime_error>(ctx), "enough");
  cancel();
  EXPECT_EQ(cause_of<std::runtime_error>(ctx), "enough");
  // Asked for first when it has ended.
  const auto [late, cancel_late] = with_cancel(context::background());
  cancel_late();
  expect_ended(late, errc::canceled);
  EXPECT_NE(cause_of<std::system_error>(late).find("cancelled"), std::string::npos);
}

TEST(ContextAnywhere, DeadlinesNeedARuntime) {
  EXPECT_THROW((void)with_timeout(context::background(), 1s), std::logic_error);
  const auto passed = with_timeout(context::background(), 0s);
  expect_ended(passed.ctx, errc::deadline_exceeded);
}

TEST(ContextAnywhere, ErrorsAreThoseOfTheStandardToo) {
  const std::error_code canceled = errc::canceled;
  EXPECT_EQ(canceled, std::errc::operation_canceled);
  EXPECT_NE(canceled, std::errc::timed_out);
  EXPECT_STREQ(canceled.category().name(), "gort");
  const std::error_code late = errc::deadline_exceeded;
  EXPECT_EQ(late, std::errc::timed_out);
  EXPECT_NE(late.message(), canceled.message());
}

TEST(ContextAnywhere, ValuesAreFoundByKeyAndType) {
  const context root = context::background();
  const context a = with_value(root, "user", std::string("ada"));
  const auto [b, cancel] = with_cancel(a);
  const context c = with_value(b, "user", std::string("grace"));
  const context d = with_value(c, "user", 7);
  EXPECT_EQ(root.value<std::string>("user"), nullptr);
  EXPECT_EQ(*a.value<std::string>("user"), "ada");
  EXPECT_EQ(*b.value<std::string>("user"), "ada");
  EXPECT_EQ(*d.value<std::string>("user"), "grace");
  EXPECT_EQ(*d.value<int>("user"), 7);
  EXPECT_EQ(d.value<long>("user"), nullptr);
  EXPECT_EQ(d.value<int>("use"), nullptr);
  cancel();
  EXPECT_FALSE(a.err());
  expect_ended(d, errc::canceled);
}

TEST(ContextAnywhere, AParentEndsItsChildrenAndNobodyElse) {
  const auto [root, cancel_root] = with_cancel(context::background());
  const auto [left, cancel_left] = with_cancel(root);
  const auto [right, cancel_right] = with_cancel(root);
  const auto [leaf, cancel_leaf] = with_cancel(left);
  cancel_left(std::make_exception_ptr(std::runtime_error("left")));
  expect_ended(left, errc::canceled);
  expect_ended(leaf, errc::canceled);
  EXPECT_EQ(cause_of<std::runtime_error>(leaf), "left");
  expect_live(root);
  expect_live(right);
  const auto late = with_cancel(left);
  expect_ended(late.ctx, errc::canceled);
  cancel_root();
  expect_ended(right, errc::canceled);
  EXPECT_EQ(cause_of<std::runtime_error>(leaf), "left");
}

// CX2.
TEST(ContextAnywhere, WhatNobodyHoldsEndsAndLeavesItsParent) {
  const auto [root, cancel] = with_cancel(context::background());
  std::stop_token token;
  {
    const context made = with_cancel(root).ctx;
    token = made;
    EXPECT_FALSE(token.stop_requested()) << "a context is a handle, too";
  }
  EXPECT_TRUE(token.stop_requested());
  // In any order, also from the middle of the list.
  std::vector<context_and_cancel> many;
  for (int i = 0; i < 100; ++i) many.push_back(with_cancel(root));
  for (size_t i = 0; i < many.size(); i += 3) many[i] = with_cancel(context::background());
  cancel();
  for (size_t i = 0; i < many.size(); ++i)
    EXPECT_EQ(static_cast<bool>(many[i].ctx.err()), i % 3 != 0);
}

// CX4.
TEST(ContextAnywhere, StopCallbacksMayUseTheTree) {
  const auto [root, cancel] = with_cancel(context::background());
  const auto [child, cancel_child] = with_cancel(root);
  int calls = 0;
  const std::stop_callback of_root(root.stop_token(), [&calls, &root = root, c = cancel_child] {
    ++calls;
    c();
    EXPECT_TRUE(root.err());
  });
  const std::stop_callback of_child(child.stop_token(), [&, c = cancel] {
    ++calls;
    c();
  });
  cancel();
  EXPECT_EQ(calls, 2);
}

TEST_P(Context, DoneWakesWhoWaits) {
  in_fibers([] {
    const auto [ctx, cancel] = with_cancel(context::background());
    const auto [leaf, cancel_leaf] = with_cancel(with_value(ctx, "depth", 1));
    auto waiter = spawn([done = leaf.done()] { return done.recv().has_value(); });
    std::thread foreign([done = leaf.done()] { EXPECT_FALSE(done.recv().has_value()); });
    cancel();
    EXPECT_FALSE(waiter.get());
    foreign.join();
  });
}

TEST_P(Context, DeadlinesPass) {
  in_fibers([] {
    const auto begin = steady_clock::now();
    const auto [ctx, cancel] = with_timeout(context::background(), 2ms);
    const auto [leaf, cancel_leaf] = with_timeout(ctx, 1h);
    EXPECT_EQ(leaf.deadline(), ctx.deadline()) << "the earlier one counts";
    EXPECT_FALSE(leaf.done().recv().has_value());
    EXPECT_GE(steady_clock::now(), begin + 2ms);
    expect_ended(ctx, errc::deadline_exceeded);
    expect_ended(leaf, errc::deadline_exceeded);
    const auto [endless, cancel_endless] =
        with_timeout(context::background(), std::chrono::hours::max());
    EXPECT_FALSE(endless.err());
    cancel_endless();
    expect_ended(endless, errc::canceled);
    const auto at = steady_clock::now() + 1ms;
    const auto [dated, cancel_dated] = with_deadline(context::background(), at);
    EXPECT_EQ(dated.deadline(), at);
    (void)dated.done().recv();
    EXPECT_GE(steady_clock::now(), at);
  });
}

// CX3.
TEST_P(Context, TimersGoWithTheirContexts) {
  in_fibers([] {
    const auto armed = [] {
      const Region in;
      uint32_t n = 0;
      for (const P& p : sched().all_procs()) n += p.timers.size();
      return n;
    };
    const auto [root, cancel] = with_cancel(context::background());
    for (int i = 0; i < 10; ++i) (void)with_timeout(root, 1h);
    EXPECT_EQ(armed(), 0U);
    const auto a = with_timeout(root, 1h);
    const auto b = with_timeout(root, 1h);
    EXPECT_EQ(armed(), 2U);
    a.cancel();
    EXPECT_EQ(armed(), 1U);
    cancel();
    EXPECT_EQ(armed(), 0U);
    expect_ended(b.ctx, errc::canceled);
  });
}

TEST_P(Context, EndWithTheRunIfNobodyCancels) {
  std::optional<context_and_cancel> kept;
  in_fibers([&] { kept = with_timeout(context::background(), 1h); });
  expect_live(kept->ctx);
  kept->cancel();
  expect_ended(kept->ctx, errc::canceled);
}

// CX5, on the stack of a fiber.
TEST_P(Context, AChainOfAHundredThousandEndsAndGoes) {
  constexpr int kLinks = 100'000;
  in_fibers([] {
    auto [root, cancel] = with_cancel(context::background());
    {
      context last = root;
      for (int i = 0; i < kLinks; ++i) last = with_cancel(last).ctx;
      expect_live(last);
      cancel();
      expect_ended(last, errc::canceled);
    }
    {
      context last = context::background();
      for (int i = 0; i < kLinks; ++i) last = with_value(last, "depth", i);
      EXPECT_EQ(*last.value<int>("depth"), kLinks - 1);
    }
    {
      const auto [fresh, cancel_fresh] = with_cancel(context::background());
      context last = fresh;
      for (int i = 0; i < kLinks; ++i) last = with_cancel(with_value(last, "depth", i)).ctx;
    }
  });
}

// CX5: what the destruction of one destroys may be another chain, and may take its time.
TEST_P(Context, AChainMayGoInsideOfAnother) {
  struct Holder {
    context held;
    std::atomic<int>* gone;
    Holder(context c, std::atomic<int>* g) : held(std::move(c)), gone(g) {}
    Holder(Holder&& o) noexcept
        : held(std::exchange(o.held, context::background())),
          gone(std::exchange(o.gone, nullptr)) {}
    ~Holder() {
      if (gone == nullptr) return;
      yield();
      held = context::background();
      yield();
      ++*gone;
    }
  };
  in_fibers([] {
    std::atomic<int> gone{0};
    context outer = context::background();
    for (int i = 0; i < 10; ++i) {
      context inner = with_cancel(context::background()).ctx;
      for (int j = 0; j < 10; ++j) {
        inner = with_value(with_cancel(inner).ctx, "n", Holder(context::background(), &gone));
      }
      outer = with_value(with_cancel(outer).ctx, "inner", Holder(inner, &gone));
    }
    EXPECT_EQ(gone, 0);
    outer = context::background();
    EXPECT_EQ(gone, 110);
  });
}

TEST_P(Context, AStopCallbackMayLetGoOfItsContext) {
  in_fibers([] {
    std::optional<context_and_cancel> held = with_cancel(context::background());
    const std::stop_callback lets_go(held->ctx.stop_token(), [&] { held.reset(); });
    held->cancel();
    EXPECT_FALSE(held.has_value());
  });
}

}  // namespace
}  // namespace gort
