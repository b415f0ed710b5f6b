// Models of std::stop_token (token_of() and the requesters in stop.cpp): the token of a fiber knows of every request, its
// callbacks run once, and what they wake meets the end of the wait that the request itself ends.
//
// Tokens and callbacks are libstdc++'s, whose atomics the checker does not see; ours is which source is asked, and when.
// Its threads are one thread for libstdc++, so the end of a callback that runs does not wait for it, as it does in life.
#include "sched/stop.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <stop_token>

#include "gort/chan.hpp"
#include "gort/fiber.hpp"
#include "gort/spawn.hpp"
#include "port/machine.hpp"
#include "support.hpp"

namespace gort {
namespace {

using model::check;
using model::Event;
using model::Thread;

constexpr attrs kOn0{.name = "0"};
constexpr attrs kOn1{.name = "1"};

using Callback = std::stop_callback<std::function<void()>>;

// A token that is asked for the first time while all are asked to stop.
void token_while_all_stop() {
  ModelRuntime runtime(2);
  std::stop_token token;
  go(kOn0, [&] {
    go(kOn1, [&] {
      token = this_fiber::stop_token();
      detail::sleep_until_ns(kNever - 1);
    });
    stop_all();
  });
  runtime.wait_for_exit();
  check(token.stop_requested(), "the token knows of the request");
}

// A callback is the only thing that ends the wait: it runs, once, whoever asks, and however often.
void callback_ends_a_wait() {
  ModelRuntime runtime(2);
  int calls = 0;
  Event over;
  task<void> t = spawn(kOn1, [&] {
    Event called;
    const Callback callback(this_fiber::stop_token(), [&] {
      ++calls;
      called.set();
    });
    called.wait();
    over.set();
  });
  Thread other([&] { t.request_stop(); });
  t.request_stop();
  other.join();
  t.detach();
  over.wait();
  check(calls == 1, "a callback runs once");
}

// The same with a request to all, which walks over the slots while the fiber makes its source.
void callback_and_all_stop() {
  ModelRuntime runtime(2);
  int calls = 0;
  go(kOn0, [&] {
    go(kOn1, [&] {
      Event called;
      const Callback callback(this_fiber::stop_token(), [&] {
        ++calls;
        called.set();
      });
      called.wait();
    });
    stop_all();
  });
  runtime.wait_for_exit();
  check(calls == 1, "a callback runs once");
}

// More tokens than there is room for at first: the others are asked in a second round, of all or of those that are left.
void more_tokens_than_room() {
  ModelRuntime runtime(1);
  int calls = 0;
  go(kOn0, [&] {
    for (int i = 0; i < 3; ++i) {
      go(kOn0, [&] {
        const Callback callback(this_fiber::stop_token(), [&] { ++calls; });
        try {
          detail::sleep_until_ns(kNever - 1);
        } catch (const stopped&) {
          check(this_fiber::stop_token().stop_requested(), "the token knows of the request");
          throw;
        }
      });
    }
  });
  stop_all();
  runtime.wait_for_exit();
  check(calls == 3, "each callback runs once");
}

// Who is told of a request finds his token asked, whoever of the two that ask comes first.
void token_of_who_is_told() {
  ModelRuntime runtime(2);
  Event over;
  int calls = 0;
  task<void> t = spawn(kOn1, [&](const std::stop_token& token) {
    const Callback callback(token, [&] { ++calls; });
    try {
      detail::sleep_until_ns(kNever - 1);
    } catch (const stopped&) {
      check(token.stop_requested(), "the token knows of the request");
    }
    over.set();
  });
  t.request_stop();
  over.wait();
  t.detach();
  check(calls == 1, "a callback runs once");
}

// W1: the callback closes the channel that the fiber waits for, and the request itself ends the same wait.
void callback_meets_the_wait() {
  ModelRuntime runtime(2);
  Event over;
  chan<int> c;
  int ends = 0;
  task<void> t = spawn(kOn1, [&, c]() mutable {
    {
      const Callback callback(this_fiber::stop_token(), [&c] { c.close(); });
      try {
        if (!c.recv()) ++ends;
      } catch (const stopped&) {
        ++ends;
      }
    }
    over.set();
  });
  t.request_stop();
  t.detach();
  over.wait();
  check(ends == 1, "W1: one end");
}

// A task ends, its token outlives it, and its slot is used again: the late request is for the old source alone.
void token_outlives_its_fiber() {
  ModelRuntime runtime(2);
  Event over;
  std::stop_token first;
  std::stop_token second;
  go(kOn0, [&] {
    task<void> t = spawn(kOn1, [&] { first = this_fiber::stop_token(); });
    t.request_stop();
    t.join();
    check(first.stop_requested(), "the token knows of the request");
    t.detach();
    go(kOn1, [&] {
      second = this_fiber::stop_token();
      over.set();
    });
  });
  over.wait();
  check(!second.stop_requested(), "nobody has asked this fiber");
}

void expect_right_at_random(const std::function<void()>& program) {
  const uint64_t runs = test::kSanitizers ? 100 : 1'000;
  const model::Result r = model::explore({.random_runs = runs, .seed = 1}, program);
  EXPECT_FALSE(r.failed) << r;
}

TEST(StopModel, TokenWhileAllStop) {
  expect_right_at_random(token_while_all_stop);
}
TEST(StopModel, CallbackEndsAWait) {
  expect_right_at_random(callback_ends_a_wait);
}
TEST(StopModel, CallbackAndAllStop) {
  expect_right_at_random(callback_and_all_stop);
}
TEST(StopModel, MoreTokensThanRoom) {
  expect_right_at_random(more_tokens_than_room);
}
TEST(StopModel, CallbackMeetsTheWait) {
  expect_right_at_random(callback_meets_the_wait);
}
TEST(StopModel, TokenOfWhoIsTold) {
  expect_right_at_random(token_of_who_is_told);
}
TEST(StopModel, TokenOutlivesItsFiber) {
  expect_right_at_random(token_outlives_its_fiber);
}
TEST(StopModel, Mutants) {
  std::vector<model::Program> programs;
  for (const auto& p :
       {token_while_all_stop, callback_ends_a_wait, callback_and_all_stop, callback_meets_the_wait,
        token_outlives_its_fiber, more_tokens_than_room, token_of_who_is_told}) {
    programs.push_back({{.random_runs = 300}, p});
  }
  expect_mutants_die({"stop.cpp", "chan.cpp"}, programs);
}

}  // namespace
}  // namespace gort
