// Models of select.cpp (SL1 to SL6) and of what it shares with channels (C1 to C4, W1, W2), with foreign threads, which
// are single threads of the checker, and with fibers.
#include "gort/detail/select.hpp"

#include <gtest/gtest.h>

#include <initializer_list>
#include <memory>
#include <optional>

#include "gort/chan.hpp"
#include "gort/detail/fiber.hpp"
#include "port/fiber.hpp"
#include "port/port.hpp"
#include "sched/stop.hpp"
#include "select_support.hpp"
#include "sync_support.hpp"

namespace gort {
namespace {

using model::Thread;

// Which case stands first decides, as the order of addresses does, who tries what first.
enum class Order { forward, backward };
template <Order kOrder>
Cases& both(Cases& s, const Chan& a, const Chan& b) {
  return kOrder == Order::forward ? s.recv(a).recv(b) : s.recv(b).recv(a);
}

// SL2, SL3: two channels against one select. Each value is received once.
template <size_t kCapacity, Order kOrder>
void two_channels() {
  Chan a(kCapacity);
  Chan b(kCapacity);
  var<int> data;
  Thread t([&] {
    data = 1;
    a.put(1);
  });
  Thread u([&] { b.put(2); });
  int sum = 0;
  for (int i = 0; i < 2; ++i) {
    Cases s;
    both<kOrder>(s, a, b).wait();
    if (s.value == 1) check(data == 1, "send happens before receive");
    sum += s.value;
  }
  check(sum == 3, "each value once");
  t.join();
  u.join();
  a.check_deserted();
  b.check_deserted();
}

// SL3: a value that comes to a select which another channel has won goes to the receiver behind it.
template <Order kOrder>
void loser_takes_the_next() {
  Chan a;
  Chan b;
  Thread t([&] { a.put(1); });
  Thread u([&] { b.put(2); });
  Thread plain([&] { check(a.get() == 1, "the value goes to somebody"); });
  Cases s;
  both<kOrder>(s, a, b).wait();
  if (s.value == 1) {
    a.put(1);
    check(b.get() == 2, "the other value");
  }
  t.join();
  u.join();
  plain.join();
}

// SL1, SL4: select meets select, on either of two channels, whose locks they take in opposite orders. One meeting.
template <Order kOrder>
void two_selects() {
  Chan a;
  Chan b;
  size_t one = 9;
  int to_one = 0;
  Thread t([&] {
    Cases s;
    one = s.send(a, 1).recv(b).wait();
    to_one = s.value;
  });
  Cases s;
  size_t other;
  if constexpr (kOrder == Order::forward) {
    other = s.recv(a).send(b, 2).wait();
  } else {
    other = 1 - s.send(b, 2).recv(a).wait();
  }
  t.join();
  check(one == other, "both mean the same meeting");
  check(one == 0 ? s.value == 1 : to_one == 2, "the value");
  a.check_deserted();
  b.check_deserted();
}

// The same with a third one, and one of a kind that meets itself nowhere.
void three_selects() {
  Chan a;
  Chan b;
  int sum = 0;
  Thread t([&] {
    Cases s;
    s.send(a, 1).send(b, 1).wait();
  });
  Thread u([&] {
    Cases s;
    s.send(b, 2).send(a, 2).wait();
  });
  for (int i = 0; i < 2; ++i) {
    Cases s;
    s.recv(a).recv(b).wait();
    sum += s.value;
  }
  t.join();
  u.join();
  check(sum == 3, "each value once");
}

// One channel in several cases, also in both directions: it does not meet itself.
template <size_t kCapacity>
void same_channel() {
  Chan a(kCapacity);
  Chan b;
  Thread t([&] { a.put(1); });
  Cases s;
  const size_t won = s.recv(a).recv(b).recv(a).wait();
  check(won != 1 && s.value == 1, "one of the cases of the channel");
  t.join();
  a.check_deserted();
}

void both_ways() {
  Chan a;
  size_t one = 9;
  Thread t([&] {
    Cases s;
    one = s.send(a, 1).recv(a).wait();
  });
  Cases s;
  const size_t other = s.send(a, 2).recv(a).wait();
  t.join();
  check(one + other == 1, "one sends, one receives");
  check(one == 1 || s.value == 1, "the value");
  a.check_deserted();
}

// C3: closes of both channels, and a value, against a select. The loser's close is found by the next one.
void closes() {
  Chan a;
  Chan b;
  Thread t([&] { a.close(); });
  Thread u([&] { b.close(); });
  Cases s;
  s.recv(a).recv(b).wait();
  check(s.closed, "closed");
  t.join();
  u.join();
}

// A select that sends, and a close of the channel that it does not win: what was sent is received.
void close_and_send() {
  Chan a;
  Chan b;
  Thread t([&] { a.close(); });
  int got = 0;
  Thread u([&] { (void)b.recv(got, detail::chan_now); });
  bool sent = false;
  try {
    Cases s;
    const size_t won = s.send(a, 1).send(b, 2).otherwise().wait();
    check(won != 0, "a send into a channel that is closed throws");
    sent = won == 1;
  } catch (const closed_channel&) {
  }
  t.join();
  u.join();
  check(got == (sent ? 2 : 0), "what was sent was received");
}

void close_wakes_senders() {
  Chan a;
  Chan b;
  Thread t([&] { b.close(); });
  bool thrown = false;
  try {
    Cases s;
    s.send(a, 1).send(b, 2).wait();
  } catch (const closed_channel&) {
    thrown = true;
  }
  check(thrown, "the close has ended it");
  t.join();
}

// W1: a value races with the time limit; the one behind takes what the select has not.
template <Order kOrder>
void limit_and_value() {
  let_looks_take(1);
  Chan a;
  Chan b;
  bool got = false;
  Thread t([&] {
    Cases s;
    got = both<kOrder>(s, a, b).timeout(1).wait() != 2;
  });
  const bool sent = a.send(7, detail::chan_now) == op_status::ok;
  t.join();
  check(got == sent, "what was sent was received");
  a.check_deserted();
  b.check_deserted();
}
void limit_and_receiver() {
  let_looks_take(1);
  Chan a;
  Chan b;
  Thread t([&] {
    Cases s;
    if (s.recv(b).recv(a).timeout(1).wait() != 2) a.put(s.value);
  });
  Thread u([&] { check(a.get() == 7, "the value"); });
  a.put(7);
  t.join();
  u.join();
}

// SL6: a request against a value. Either may win, the select ends, and nothing is lost.
void token_and_value() {
  Chan a;
  Chan b;
  ModelStopSource source;
  size_t won = 9;
  Thread t([&] {
    Cases s;
    won = s.recv(a).stop(source).recv(b).wait();
  });
  Thread u([&] { source.request_stop(); });
  const bool sent = b.send(7, detail::chan_now) == op_status::ok;
  t.join();
  u.join();
  check(won == (sent ? 2 : 1), "one of them wins");
  a.check_deserted();
}
// Two tokens, and nothing else: one request ends it, whichever comes first. The frame may go at once.
void two_tokens() {
  ModelStopSource one;
  ModelStopSource two;
  size_t won = 9;
  Thread t([&] {
    Cases s;
    won = s.stop(one).stop(two).wait();
  });
  Thread u([&] { one.request_stop(); });
  two.request_stop();
  t.join();
  u.join();
  check(won < 2, "one of them wins");
}
void token_alone() {
  ModelStopSource source;
  Chan a;
  Thread u([&] { source.request_stop(); });
  Cases s;
  check(s.recv(a).stop(source).wait() == 1, "the request");
  u.join();
}

// ---- Fibers -----------------------------------------------------------------------------------------

bool stopped_in(const std::function<void()>& wait) {
  try {
    wait();
    return false;
  } catch (const stopped&) {
    return true;
  }
}

// SL5: the far side is at the unlocking while the fiber goes on, and its frame ends.
void two_fibers() {
  ModelWorld world;
  Chan a;
  Chan b;
  size_t one = 9;
  size_t other = 9;
  ModelFiber f([&] {
    Cases s;
    one = s.send(a, 1).recv(b).wait();
  });
  ModelFiber g([&] {
    Cases s;
    other = s.recv(a).send(b, 2).wait();
  });
  f.join();
  g.join();
  check(one == other, "both mean the same meeting");
  a.check_deserted();
  b.check_deserted();
}

// S1, S2: a request that meets a select at any time, with nobody else.
void stop_alone() {
  ModelWorld world;
  Chan a;
  Chan b;
  bool stopped_once = false;
  ModelFiber f([&] {
    stopped_once = stopped_in([&] {
      Cases s;
      s.recv(a).send(b, 1).wait();
    });
  });
  request_stop(f.g());
  f.join();
  check(stopped_once, "a stop request is not lost");
  a.check_deserted();
  b.check_deserted();
}

// W1: a request races with a value, which another takes if it loses.
void stop_and_value() {
  ModelWorld world;
  Chan a;
  Chan b;
  bool got = false;
  bool stopped_once = false;
  ModelFiber f([&] {
    stopped_once = stopped_in([&] {
      Cases s;
      s.recv(a).recv(b).wait();
      got = s.value == 7;
    });
  });
  Thread u([&] { request_stop(f.g()); });
  const bool sent = b.send(7, detail::chan_now) == op_status::ok;
  f.join();
  u.join();
  check(got == sent, "what was sent was received");
  check(got != stopped_once, "one of them wins");
  a.check_deserted();
  b.check_deserted();
}

// The fiber's own token is a case: its request fires the case and is not thrown, neither here nor later.
void own_token() {
  ModelWorld world;
  Chan a;
  size_t won = 9;
  bool later = true;
  ModelFiber f([&] {
    Cases s;
    won = s.recv(a).stop(token_of(f.g())).wait();
    later = stopped_in([] { detail::deliver_due_stop(); });
  });
  request_stop(f.g());
  f.join();
  check(won == 1, "the request");
  check(!later, "was told once");
  a.check_deserted();
}

// Beside a value: one of them wins, and a request that has lost is told to the next wait.
void own_token_and_value() {
  ModelWorld world;
  Chan a;
  Chan b;
  size_t won = 9;
  int told = 0;
  model::Event asked;
  ModelFiber f([&] {
    Cases s;
    won = s.recv(a).stop(token_of(f.g())).recv(b).wait();
    if (won == 1) ++told;
    asked.wait();
    if (stopped_in([] { detail::deliver_due_stop(); })) ++told;
  });
  Thread u([&] { request_stop(f.g()); });
  const bool sent = b.send(7, detail::chan_now) == op_status::ok;
  u.join();
  asked.set();
  f.join();
  check(won == (sent ? 2 : 1), "one of them wins");
  check(told == 1, "a request is told, once");
  a.check_deserted();
}

// All at once: a limit, a request, a token, a close and a value.
void everything() {
  ModelWorld world;
  Chan a;
  Chan b;
  ModelStopSource source;
  bool got = false;
  model::atomic<bool> over{false};
  ModelFiber f([&] {
    (void)stopped_in([&] {
      Cases s;
      s.recv(a).recv(b).stop(source).timeout(5).wait();
      got = s.value == 7;
    });
    over.store(true, std::memory_order_relaxed);
  });
  Thread u([&] { request_stop(f.g()); });
  Thread token([&] { source.request_stop(); });
  Thread closer([&] { a.close(); });
  Thread time([&] {
    while (!over.load(std::memory_order_relaxed)) {
      ModelWorld::let_time_pass({&f});
      model::pause();
    }
  });
  const bool sent = b.send(7, detail::chan_now) == op_status::ok;
  f.join();
  u.join();
  token.join();
  closer.join();
  time.join();
  check(got == sent, "what was sent was received");
  b.check_deserted();
}

// W1: the limit of a fiber.
void limit_of_a_fiber() {
  ModelWorld world;
  Chan a;
  Chan b;
  bool got = false;
  model::atomic<bool> over{false};
  ModelFiber f([&] {
    Cases s;
    got = s.recv(a).recv(b).timeout(5).wait() != 2;
    over.store(true, std::memory_order_relaxed);
  });
  Thread time([&] {
    while (!over.load(std::memory_order_relaxed)) {
      ModelWorld::let_time_pass({&f});
      model::pause();
    }
  });
  const bool sent = a.send(7, detail::chan_now) == op_status::ok;
  f.join();
  time.join();
  check(got == sent, "what was sent was received");
  a.check_deserted();
}

constexpr uint64_t kRuns = 5'000;

TEST(SelectModel, TwoChannels) {
  expect_right({.preemptions = 1}, two_channels<0, Order::forward>);
  expect_right_at_random(kRuns, two_channels<0, Order::backward>);
  expect_right_at_random(kRuns, two_channels<1, Order::forward>);
}
TEST(SelectModel, LoserTakesTheNext) {
  expect_right_at_random(kRuns, loser_takes_the_next<Order::forward>);
  expect_right_at_random(kRuns, loser_takes_the_next<Order::backward>);
}
TEST(SelectModel, TwoSelects) {
  expect_right({.preemptions = 2}, two_selects<Order::forward>);
  expect_right({.preemptions = 2}, two_selects<Order::backward>);
  expect_right_at_random(kRuns, two_selects<Order::forward>);
  expect_right_at_random(kRuns, two_selects<Order::backward>);
}
TEST(SelectModel, ThreeSelects) {
  expect_right_at_random(2 * kRuns, three_selects);
}
TEST(SelectModel, SameChannel) {
  expect_right({.preemptions = 2}, same_channel<0>);
  expect_right({.preemptions = 2}, same_channel<1>);
  expect_right({.preemptions = 2}, both_ways);
}
TEST(SelectModel, Close) {
  expect_right({.preemptions = 1}, closes);
  expect_right_at_random(kRuns, closes);
  expect_right({.preemptions = 1}, close_and_send);
  expect_right({.preemptions = 2}, close_wakes_senders);
}
TEST(SelectModel, Limit) {
  expect_right({.preemptions = 1}, limit_and_value<Order::forward>);
  expect_right({.preemptions = 1}, limit_and_value<Order::backward>);
  expect_right_at_random(kRuns, limit_and_value<Order::forward>);
  expect_right_at_random(kRuns, limit_and_receiver);
  expect_right_at_random(kRuns, limit_of_a_fiber);
}
TEST(SelectModel, Token) {
  expect_right({.preemptions = 2}, token_alone);
  expect_right({.preemptions = 1}, two_tokens);
  expect_right({.preemptions = 1}, token_and_value);
  expect_right_at_random(kRuns, two_tokens);
  expect_right_at_random(kRuns, token_and_value);
}
TEST(SelectModel, Fibers) {
  expect_right_at_random(kRuns, two_fibers);
}
TEST(SelectModel, Stop) {
  expect_right({.preemptions = 1}, stop_alone);
  expect_right_at_random(kRuns, stop_alone);
  expect_right_at_random(kRuns, stop_and_value);
  expect_right_at_random(kRuns, everything);
}
TEST(SelectModel, OwnToken) {
  expect_right({.preemptions = 1}, own_token);
  expect_right_at_random(kRuns, own_token);
  expect_right_at_random(kRuns, own_token_and_value);
}
TEST(SelectModel, Mutants) {
  expect_mutants_die({"select.cpp"},
                     {{{.preemptions = 1}, limit_and_value<Order::forward>},
                      {{.random_runs = kRuns}, loser_takes_the_next<Order::forward>},
                      {{.preemptions = 1}, token_alone},
                      {{.preemptions = 1}, token_and_value}});
}

}  // namespace
}  // namespace gort
