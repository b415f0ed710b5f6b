// Models of chan.cpp and chan_core.hpp (C1 to C5; W1 and W2 of park.hpp) with foreign threads, which are single threads of the
// checker, and with fibers. Two of a kind and stop requests beside values: what park_test.cpp leaves out.
#include "gort/chan.hpp"

#include <gtest/gtest.h>

#include <optional>

#include "port/fiber.hpp"
#include "port/port.hpp"
#include "sched/stop.hpp"
#include "sync_support.hpp"

namespace gort {
namespace {

using model::check;
using model::Thread;
using model::var;

// An element in which races are found.
struct Item {
  explicit Item(int n) : value(n) {}
  Item(Item&& other) noexcept : value(static_cast<int>(other.value)) { other.value = 0; }
  Item& operator=(Item&&) = delete;
  var<int> value;
};

struct Chan {
  explicit Chan(size_t capacity = 0) : core(detail::chan_make(capacity, detail::ops_of<Item>)) {}
  ~Chan() {
    if (core != nullptr) check(detail::chan_size(core) == 0, "all that was sent was received");
    check(ForeignParked::asleep(foreign_parked.now()) == 0,
          "who was woken does not count as asleep");
    release();
  }
  op_status send(int n, int64_t until = detail::chan_forever) const {
    Item item(n);
    const op_status st = detail::chan_send(core, &item, until);
    check(item.value == (st == op_status::ok ? 0 : n), "moved if it was sent");
    return st;
  }
  op_status recv(int& n, int64_t until = detail::chan_forever) const {
    detail::slot<Item> slot;
    const op_status st = detail::chan_recv(core, &slot, until);
    if (st != op_status::ok) return st;
    n = slot.value.value;
    slot.value.~Item();
    return st;
  }
  int get() const {
    int n = 0;
    check(recv(n) == op_status::ok, "received");
    return n;
  }
  void put(int n) const { check(send(n) == op_status::ok, "sent"); }
  void release() { detail::chan_release(std::exchange(core, nullptr)); }
  detail::chan_core* core;
};

// C1: each value goes to one receiver, in order.
template <size_t kCapacity>
void two_values() {
  Chan c(kCapacity);
  var<int> data;
  Thread t([&] {
    data = 1;
    c.put(1);
    c.put(2);
  });
  check(c.get() == 1, "the first one first");
  check(data == 1, "send happens before receive");
  check(c.get() == 2, "the second one then");
  t.join();
}

template <size_t kCapacity>
void two_senders() {
  Chan c(kCapacity);
  Thread t([&] { c.put(1); });
  Thread u([&] { c.put(2); });
  const int first = c.get();
  check(first + c.get() == 3, "each value once");
  t.join();
  u.join();
}

template <size_t kCapacity>
void two_receivers() {
  Chan c(kCapacity);
  int sum = 0;
  Thread t([&] { sum += c.get(); });
  Thread u([&] { sum += c.get(); });
  c.put(1);
  c.put(2);
  t.join();
  u.join();
  check(sum == 3, "each value once");
}

// C3, C4: a close releases all who wait to receive.
void close_and_receivers() {
  Chan c;
  const auto none = [&] {
    int n = 0;
    check(c.recv(n) == op_status::closed, "closed");
  };
  Thread t(none);
  Thread u(none);
  detail::chan_close(c.core);
  t.join();
  u.join();
}

// C3: what was sent before the close is received, and a sender learns whether it was.
template <size_t kCapacity>
void close_and_senders() {
  Chan c(kCapacity);
  int sent = 0;
  int received = 0;
  const auto send = [&] {
    if (c.send(1) == op_status::ok) ++sent;
  };
  Thread t(send);
  Thread u(send);
  Thread closer([&] { detail::chan_close(c.core); });
  for (int n = 0; c.recv(n) == op_status::ok;) ++received;
  t.join();
  u.join();
  closer.join();
  check(sent == received, "what was sent was received");
}

// Of two closes one throws.
void two_closes() {
  Chan c;
  int thrown = 0;
  const auto close = [&] {
    try {
      detail::chan_close(c.core);
    } catch (const closed_channel&) {
      ++thrown;
    }
  };
  Thread t(close);
  close();
  t.join();
  check(thrown == 1, "one of two closes throws");
}

// The last handle to go ends what is left in the ring, whatever thread has put it there.
void last_handle() {
  detail::chan_core* const core = detail::chan_make(1, detail::ops_of<Item>);
  detail::chan_retain(core);
  Thread t([core] {
    Item item(1);
    check(detail::chan_send(core, &item, detail::chan_now) == op_status::ok, "there is room");
    detail::chan_release(core);
  });
  detail::chan_release(core);
  t.join();
}

// With capacity k, the n-th receive happens before the (n + k)-th send completes, whether that waits for room or finds it.
template <size_t kCapacity>
void receive_and_later_send() {
  Chan c(kCapacity);
  var<int> data;
  Thread t([&] {
    data = 1;
    check(c.get() == 1, "the first one");
    for (int n = 2; n <= static_cast<int>(kCapacity) + 1; ++n) check(c.get() == n, "in order");
  });
  for (int n = 1; n <= static_cast<int>(kCapacity) + 1; ++n) c.put(n);
  check(data == 1, "the receive happens before the send that needs its room");
  t.join();
}

// A close happens before the receive that sees it, and before the send that does.
void close_and_who_sees_it() {
  Chan c;
  var<int> data;
  Thread t([&] {
    data = 1;
    detail::chan_close(c.core);
  });
  int n = 0;
  check(c.recv(n) == op_status::closed, "closed");
  check(data == 1, "the close happens before the receive");
  t.join();
}
void close_and_sender_who_sees_it() {
  Chan c;
  var<int> data;
  Thread t([&] {
    data = 1;
    detail::chan_close(c.core);
  });
  check(c.send(1) == op_status::closed, "closed");
  check(data == 1, "the close happens before the send");
  t.join();
}

// W1 on foreign threads: a value races with the time limits of both.
template <size_t kCapacity>
void limits_and_value() {
  let_looks_take(1);
  Chan c(kCapacity);
  int received = 0;
  Thread t([&] {
    int n = 0;
    const op_status st = c.recv(n, 2);
    check(st == op_status::ok || st == op_status::timeout, "a value or the limit");
    if (st == op_status::ok) ++received;
  });
  const bool sent = c.send(7, 4) == op_status::ok;
  t.join();
  int n = 0;
  if (c.recv(n, detail::chan_now) == op_status::ok) ++received;
  check(received == (sent ? 1 : 0), "what was sent was received");
}

// W1: a receiver whose time has come does not keep the value from the one behind it.
void limit_and_receiver() {
  let_looks_take(1);
  Chan c;
  bool first = false;
  Thread t([&] {
    int n = 0;
    first = c.recv(n, 2) == op_status::ok;
    if (first) c.put(n);
  });
  Thread u([&] { check(c.get() == 7, "the value"); });
  c.put(7);
  t.join();
  u.join();
}

// ---- Fibers -----------------------------------------------------------------------------------------

// A fiber sends, and a foreign thread receives.
void fiber_and_thread() {
  ModelWorld world;
  Chan c;
  ModelFiber f([&] { c.put(7); });
  check(c.get() == 7, "the value");
  f.join();
}

bool stopped_in(const std::function<void()>& wait) {
  try {
    wait();
    return false;
  } catch (const stopped&) {
    return true;
  }
}

// A request for the first receiver, and a value that one of the two gets.
void stop_and_receivers() {
  ModelWorld world;
  Chan c;
  bool got = false;
  bool stopped_once = false;
  ModelFiber f([&] { stopped_once = stopped_in([&] { got = c.get() == 7; }); });
  Thread t([&] {
    int n = 0;
    const op_status st = c.recv(n);
    check(st == op_status::ok ? n == 7 : got, "the value goes to one of them");
  });
  Thread u([&] { request_stop(f.g()); });
  c.put(7);
  f.join();
  detail::chan_close(c.core);
  t.join();
  u.join();
  check(got != stopped_once, "one of them wins");
}

// A request for a sender, beside a receiver that takes what there is.
void stop_and_sender() {
  ModelWorld world;
  Chan c;
  bool stopped_once = false;
  ModelFiber f([&] { stopped_once = stopped_in([&] { c.put(7); }); });
  Thread u([&] { request_stop(f.g()); });
  int n = 0;
  const bool got = c.recv(n, detail::chan_now) == op_status::ok;
  f.join();
  u.join();
  check(got != stopped_once, "one of them wins");
}

void stop_and_close() {
  ModelWorld world;
  Chan c;
  op_status st = op_status::ok;
  bool stopped_once = false;
  ModelFiber f([&] {
    stopped_once = stopped_in([&] {
      int n = 0;
      st = c.recv(n);
    });
  });
  Thread u([&] { request_stop(f.g()); });
  detail::chan_close(c.core);
  f.join();
  u.join();
  check((st == op_status::closed) != stopped_once, "one of them wins");
}

// W1 with all three: a sender's time limit, a request and a receiver.
void limit_stop_and_value() {
  ModelWorld world;
  Chan c;
  op_status st = op_status::closed;
  model::atomic<bool> over{false};
  ModelFiber f([&] {
    (void)stopped_in([&] { st = c.send(7, 5); });
    over.store(true, std::memory_order_relaxed);
  });
  Thread u([&] { request_stop(f.g()); });
  Thread time([&] {
    while (!over.load(std::memory_order_relaxed)) {
      ModelWorld::let_time_pass({&f});
      model::pause();
    }
  });
  int n = 0;
  const bool got = c.recv(n, detail::chan_now) == op_status::ok;
  f.join();
  u.join();
  time.join();
  check(got == (st == op_status::ok), "what was sent was received");
}

TEST(ChanModel, TwoValues) {
  expect_right({.preemptions = 1}, two_values<0>);
  expect_right({.preemptions = 1}, two_values<1>);
}
TEST(ChanModel, TwoSenders) {
  expect_right_at_random(5'000, two_senders<0>);
  expect_right_at_random(5'000, two_senders<1>);
}
TEST(ChanModel, TwoReceivers) {
  expect_right_at_random(5'000, two_receivers<0>);
  expect_right_at_random(5'000, two_receivers<1>);
}
TEST(ChanModel, Close) {
  expect_right({.preemptions = 0}, close_and_receivers);
  expect_right_at_random(5'000, close_and_receivers);
  expect_right_at_random(5'000, close_and_senders<0>);
  expect_right_at_random(5'000, close_and_senders<1>);
  expect_right({}, two_closes);
}
TEST(ChanModel, ReceiveHappensBeforeALaterSend) {
  expect_right({.preemptions = 1}, receive_and_later_send<0>);
  expect_right({.preemptions = 1}, receive_and_later_send<1>);
  expect_right_at_random(5'000, receive_and_later_send<2>);
}
TEST(ChanModel, CloseHappensBeforeWhatSeesIt) {
  expect_right({.preemptions = 1}, close_and_who_sees_it);
  expect_right({.preemptions = 1}, close_and_sender_who_sees_it);
}
TEST(ChanModel, LastHandle) {
  expect_right({}, last_handle);  // C5: and its look at the queues is no race
}
TEST(ChanModel, LimitsAndValue) {
  expect_right({.preemptions = 1}, limits_and_value<0>);
  expect_right({.preemptions = 1}, limits_and_value<1>);
  expect_right_at_random(5'000, limits_and_value<0>);
  expect_right_at_random(5'000, limit_and_receiver);
}
TEST(ChanModel, FiberAndThread) {
  expect_right({.preemptions = 1}, fiber_and_thread);
}
TEST(ChanModel, Stop) {
  expect_right_at_random(5'000, stop_and_receivers);
  expect_right_at_random(5'000, stop_and_sender);
  expect_right_at_random(5'000, stop_and_close);
  expect_right_at_random(5'000, limit_stop_and_value);
}
TEST(ChanModel, Mutants) {
  expect_mutants_die({"chan.cpp", "chan_core.hpp"},
                     {{{}, last_handle},
                      {{.preemptions = 1}, limits_and_value<0>},
                      {{.random_runs = 5'000}, stop_and_sender},
                      {{.random_runs = 5'000}, limit_stop_and_value}});
}

}  // namespace
}  // namespace gort
