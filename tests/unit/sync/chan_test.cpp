// Channels: the contract of api.md, from fibers and from foreign threads.
#include "gort/chan.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <iterator>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "gort/select.hpp"
#include "gort/spawn.hpp"
#include "gort/wait_group.hpp"
#include "support/scheduler_test.hpp"
#include "sync_fixture.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using test::Waiter;

static_assert(std::input_iterator<chan<int>::iterator>);
static_assert(std::input_iterator<chan<std::unique_ptr<int>>::iterator>);
static_assert(std::sentinel_for<std::default_sentinel_t, chan<int>::iterator>);
static_assert(std::is_convertible_v<chan<int>, sender<int>> &&
              std::is_convertible_v<chan<int>, receiver<int>>);
static_assert(!std::is_convertible_v<sender<int>, chan<int>> &&
              !std::is_convertible_v<receiver<int>, chan<int>>);

class Chan : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(Chan);

TEST_P(Chan, UnbufferedHandsValuesOverInOrder) {
  in_fibers([] {
    const chan<int> c(0);  // a literal 0 is a capacity like any other
    go([c] {
      for (int i = 0; i < 1000; ++i) c.send(i);
      c.close();
    });
    int expected = 0;
    for (const int v : c) EXPECT_EQ(v, expected++);
    EXPECT_EQ(expected, 1000);
    EXPECT_EQ(c.capacity(), 0U);
    EXPECT_EQ(c.size(), 0U);
  });
}

// Nothing but a move constructor is asked of T.
TEST_P(Chan, CarriesWhatCannotBeAssigned) {
  struct Fixed {
    explicit Fixed(int n) : value(n) {}
    const int value;
  };
  in_fibers([] {
    const chan<Fixed> c(2);
    c.send(Fixed(1));
    c.send(Fixed(2));
    EXPECT_EQ(c.recv()->value, 1);
    std::optional<Fixed> out;
    EXPECT_EQ(c.try_recv(out), op_status::ok);
    EXPECT_EQ(out->value, 2);
    EXPECT_EQ(c.recv_for(out, 1ms), op_status::timeout);
    EXPECT_EQ(out->value, 2);
    auto sender = spawn([c] {
      for (int i = 0; i < 100; ++i) c.send(Fixed(i));
      c.close();
    });
    int expected = 0;
    for (const Fixed& v : c) EXPECT_EQ(v.value, expected++);
    EXPECT_EQ(expected, 100);
    int taken = 0;
    auto again = spawn([c = chan<Fixed>(1)]() mutable {
      c.send(Fixed(7));
      return c;
    });
    select(on_recv(again.get(), [&](std::optional<Fixed> v) { taken = v->value; }));
    EXPECT_EQ(taken, 7);
    sender.join();
  });
}

TEST_P(Chan, BufferTakesCapacityValuesWithoutAReceiver) {
  in_fibers([] {
    const chan<std::string> c(3);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(c.try_send("v" + std::to_string(i)), op_status::ok);
    std::string kept = "kept, and long enough to live on the heap";
    EXPECT_EQ(c.try_send(std::move(kept)), op_status::full);
    EXPECT_EQ(kept, "kept, and long enough to live on the heap");
    EXPECT_EQ(c.send_for(std::move(kept), 1ms), op_status::timeout);
    EXPECT_EQ(kept, "kept, and long enough to live on the heap");
    EXPECT_EQ(c.size(), 3U);
    EXPECT_EQ(*c.recv(), "v0");
    EXPECT_EQ(*c.recv(), "v1");
    c.close();
    EXPECT_EQ(*c.recv(), "v2");
    EXPECT_FALSE(c.recv().has_value());
    std::string out = "untouched";
    EXPECT_EQ(c.try_recv(out), op_status::closed);
    EXPECT_EQ(out, "untouched");
    EXPECT_EQ(c.try_send(std::move(kept)), op_status::closed);
    EXPECT_EQ(kept, "kept, and long enough to live on the heap");
  });
}

TEST_P(Chan, MoveOnlyAndLeftoversAreDestroyed) {
  in_fibers([] {
    const auto shared = std::make_shared<int>(7);
    {
      const chan<std::unique_ptr<std::shared_ptr<int>>> c(4);
      for (int i = 0; i < 3; ++i) c.send(std::make_unique<std::shared_ptr<int>>(shared));
      EXPECT_EQ(**c.recv(), shared);
      EXPECT_EQ(shared.use_count(), 3);
    }
    EXPECT_EQ(shared.use_count(), 1);
  });
}

struct alignas(128) Wide {
  int v = 0;
};

TEST_P(Chan, OverAlignedElements) {
  in_fibers([] {
    const chan<Wide> c(2);
    c.send(Wide{1});
    c.send(Wide{2});
    EXPECT_EQ(c.recv()->v, 1);
    c.send(Wide{3});
    EXPECT_EQ(c.recv()->v, 2);
    EXPECT_EQ(c.recv()->v, 3);
  });
}

// C3, C4.
TEST_P(Chan, CloseWakesAllWaiters) {
  in_fibers([] {
    const chan<int> c;
    std::atomic<int> ended{0};
    std::vector<task<void>> tasks;
    for (int i = 0; i < 8; ++i) {
      tasks.push_back(spawn([c, &ended] {
        EXPECT_FALSE(c.recv().has_value());
        ++ended;
      }));
    }
    const chan<int> full;
    for (int i = 0; i < 8; ++i) {
      tasks.push_back(spawn([full, &ended] {
        EXPECT_THROW(full.send(1), closed_channel);
        ++ended;
      }));
    }
    for (int i = 0; i < 10; ++i) yield();
    c.close();
    full.close();
    for (auto& t : tasks) t.get();
    EXPECT_EQ(ended, 16);
    EXPECT_TRUE(c.closed());
    EXPECT_THROW(c.close(), closed_channel);
    EXPECT_THROW(c.send(1), closed_channel);
  });
}

TEST_P(Chan, NilBlocksUntilStopped) {
  in_fibers([] {
    const auto nil = chan<int>::nil();
    int out;
    EXPECT_EQ(nil.try_recv(out), op_status::empty);
    EXPECT_EQ(nil.try_send(1), op_status::full);
    EXPECT_EQ(nil.recv_for(out, 1ms), op_status::timeout);
    EXPECT_EQ(nil.size() + nil.capacity(), 0U);
    EXPECT_THROW(nil.close(), closed_channel);
    std::atomic<bool> stopped_there{false};
    auto waiter = spawn([&, nil] {
      try {
        (void)nil.recv();
      } catch (const stopped&) {
        stopped_there = true;
        throw;
      }
    });
    for (int i = 0; i < 10; ++i) yield();
    waiter.request_stop();
    waiter.get();
    EXPECT_TRUE(stopped_there);
  });
}

TEST_P(Chan, StopEndsSendAndReceiveAndLeavesTheChannelUsable) {
  in_fibers([] {
    const chan<int> c;
    auto receiver = spawn([c] { (void)c.recv(); });
    for (int i = 0; i < 10; ++i) yield();
    receiver.request_stop();
    receiver.get();
    EXPECT_EQ(c.try_send(1), op_status::full);  // nobody waits any more
    auto sender = spawn([c] { c.send(5); });
    for (int i = 0; i < 10; ++i) yield();
    sender.request_stop();
    sender.get();
    int out;
    EXPECT_EQ(c.try_recv(out), op_status::empty);
  });
}

TEST_P(Chan, ForeignThreadsAndFibersMeet) {
  in_fibers([] {
    const chan<int> to_thread;
    const chan<int> from_thread(1);
    std::thread thread([=] {
      for (const int v : to_thread) from_thread.send(v * 2);
      from_thread.close();
    });
    auto feeder = spawn([=] {
      for (int i = 1; i <= 500; ++i) to_thread.send(i);
      to_thread.close();
    });
    int sum = 0;
    for (const int v : from_thread) sum += v;
    EXPECT_EQ(sum, 500 * 501);
    feeder.get();
    thread.join();
  });
}

TEST(ChanWithoutRuntime, ThreadsAlone) {
  const chan<int> c(2);
  std::thread producer([c] {
    for (int i = 0; i < 100; ++i) c.send(i);
    c.close();
  });
  int sum = 0;
  for (const int v : c) sum += v;
  producer.join();
  EXPECT_EQ(sum, 4950);
  int out;
  EXPECT_EQ(c.recv_for(out, 1ms), op_status::closed);
  const chan<int> silent;
  EXPECT_EQ(silent.recv_for(out, 1ms), op_status::timeout);
}

// C1: nobody waits while his partner does.
TEST_P(Chan, ManyProducersManyConsumersLoseNothing) {
  in_fibers([] {
    for (const size_t capacity : {0U, 1U, 16U}) {
      const chan<int> c(capacity);
      constexpr int kProducers = 4;
      constexpr int kEach = 2000;
      std::atomic<int64_t> sum{0};
      wait_group producers;
      wait_group consumers;
      for (int p = 0; p < kProducers; ++p) {
        producers.go([c, p] {
          for (int i = 0; i < kEach; ++i) c.send(p * kEach + i);
        });
        consumers.go([c, &sum] {
          for (const int v : c) sum += v;
        });
      }
      producers.wait();
      c.close();
      consumers.wait();
      const int64_t n = kProducers * kEach;
      EXPECT_EQ(sum, n * (n - 1) / 2);
    }
  });
}

TEST_P(Chan, SendersAreServedInOrder) {
  in_fibers([] {
    const chan<int> c;
    std::vector<task<void>> senders;
    for (int i = 0; i < 20; ++i) {
      Waiter w;
      senders.push_back(spawn([c, i, &w] {
        w.about_to_wait();
        c.send(i);
      }));
      w.until_it_waits();
    }
    for (int i = 0; i < 20; ++i) EXPECT_EQ(*c.recv(), i);
    for (auto& t : senders) t.get();
  });
}

TEST_P(Chan, ReceiversAreServedInOrder) {
  in_fibers([] {
    for (const size_t capacity : {0U, 3U}) {
      const chan<int> c(capacity);
      std::vector<task<int>> receivers;
      for (int i = 0; i < 20; ++i) {
        Waiter w;
        receivers.push_back(spawn([c, &w, i] {
          w.about_to_wait();
          if (i % 2 == 0) return c.recv().value_or(-1);
          int got = -1;
          (void)c.recv_for(got, 1h);
          return got;
        }));
        w.until_it_waits();
      }
      for (int i = 0; i < 20; ++i) EXPECT_EQ(c.try_send(i), op_status::ok);
      for (int i = 0; i < 20; ++i) EXPECT_EQ(receivers[static_cast<size_t>(i)].get(), i);
    }
  });
}

TEST_P(Chan, SendsUntilAPointInTime) {
  in_fibers([] {
    const auto soon = [] { return std::chrono::steady_clock::now() + 1ms; };
    const auto late = std::chrono::steady_clock::now() + 1h;
    const chan<std::string> c(1);
    const std::string text = "long enough to live on the heap, wherever it is";
    std::string mine = text;
    // Copied, whatever comes of it; and moved only if it is sent.
    EXPECT_EQ(c.send_until(mine, late), op_status::ok);
    EXPECT_EQ(mine, text);
    for (int form = 0; form < 2; ++form) {
      const auto t = soon();
      EXPECT_EQ(form == 0 ? c.send_until(mine, t) : c.send_until(std::move(mine), t),
                op_status::timeout);
      EXPECT_GE(std::chrono::steady_clock::now(), t);
      EXPECT_EQ(mine, text);
    }
    EXPECT_EQ(*c.recv(), text);
    EXPECT_EQ(c.send_until(std::move(mine), late), op_status::ok);
    EXPECT_EQ(*c.recv(), text);

    for (int form = 0; form < 2; ++form) {
      EXPECT_EQ(c.send_until("first", late), op_status::ok);
      Waiter w;
      auto waits = spawn([&c, &w, &text, late, form] {
        std::string own = text;
        w.about_to_wait();
        return form == 0 ? c.send_until(own, late) : c.send_until(std::move(own), late);
      });
      w.until_it_waits();
      EXPECT_EQ(*c.recv(), "first");
      EXPECT_EQ(*c.recv(), text);
      EXPECT_EQ(waits.get(), op_status::ok);
    }

    c.close();
    mine = text;
    EXPECT_EQ(c.send_until(mine, late), op_status::closed);
    EXPECT_EQ(c.send_until(std::move(mine), late), op_status::closed);
    EXPECT_EQ(mine, text);
  });
}

TEST_P(Chan, AStopRequestEndsASendUntil) {
  in_fibers([] {
    const chan<int> c;
    Waiter w;
    auto sender = spawn([&] {
      w.about_to_wait();
      EXPECT_THROW((void)c.send_until(1, std::chrono::steady_clock::now() + 1h), stopped);
    });
    w.until_it_waits();
    sender.request_stop();
    sender.get();
    EXPECT_EQ(c.try_send(1), op_status::full);
  });
}

TEST_P(Chan, ReceivesIntoAnOptional) {
  in_fibers([] {
    struct number {  // without a default
      explicit number(int n) : n(n) {}
      int n;
    };
    const chan<number> c(1);
    std::optional<number> out;
    EXPECT_EQ(c.try_recv(out), op_status::empty);
    EXPECT_FALSE(out.has_value());
    c.send(number(1));
    EXPECT_EQ(c.try_recv(out), op_status::ok);
    EXPECT_EQ(out->n, 1);
    EXPECT_EQ(c.try_recv(out), op_status::empty);
    EXPECT_EQ(out->n, 1) << "assigned on ok only";
    c.send(number(2));
    c.close();
    EXPECT_EQ(c.recv_for(out, 1h), op_status::ok);
    EXPECT_EQ(out->n, 2);
    EXPECT_EQ(c.try_recv(out), op_status::closed);
    EXPECT_EQ(out->n, 2);
  });
}

TEST(ChanHandles, AreEqualIfTheyAreOfOneChannel) {
  const chan<int> a(1);
  const chan<int> b(1);
  chan<int> copy = a;
  EXPECT_TRUE(a == a && a == copy);
  EXPECT_TRUE(a != b && a != chan<int>::nil());
  EXPECT_TRUE(chan<int>::nil() == chan<int>::nil());
  const chan<int> moved = std::move(copy);
  EXPECT_TRUE(moved == a);
  copy = b;
  EXPECT_TRUE(copy == b && copy != a);
  copy.swap(const_cast<chan<int>&>(moved));
  EXPECT_TRUE(copy == a && moved == b);
}

TEST_P(Chan, EndsHaveWhatTheyNeed) {
  in_fibers([] {
    const chan<std::string> c(2);
    const sender<std::string> in = c;
    const receiver<std::string> out = c;
    const auto late = std::chrono::steady_clock::now() + 1h;
    const std::string text = "long enough to live on the heap, wherever it is";
    std::string mine = text;
    EXPECT_EQ(in.send_for(mine, 1h), op_status::ok);
    EXPECT_EQ(mine, text);
    EXPECT_EQ(in.send_until(std::move(mine), late), op_status::ok);
    EXPECT_TRUE(in.size() == 2 && out.size() == 2 && in.capacity() == 2 && out.capacity() == 2);
    mine = "kept";
    EXPECT_EQ(in.try_send(mine), op_status::full);
    EXPECT_EQ(in.try_send(std::move(mine)), op_status::full);
    EXPECT_EQ(in.send_for(mine, 1ms), op_status::timeout);
    EXPECT_EQ(in.send_for(std::move(mine), 1ms), op_status::timeout);
    EXPECT_EQ(in.send_until(mine, std::chrono::steady_clock::now() + 1ms), op_status::timeout);
    EXPECT_EQ(in.send_until(std::move(mine), std::chrono::steady_clock::now() + 1ms),
              op_status::timeout);
    EXPECT_EQ(mine, "kept");

    std::string got;
    std::optional<std::string> maybe;
    EXPECT_EQ(out.try_recv(got), op_status::ok);
    EXPECT_EQ(out.recv_for(maybe, 1h), op_status::ok);
    EXPECT_TRUE(got == text && maybe == text);
    EXPECT_EQ(out.try_recv(maybe), op_status::empty);
    EXPECT_EQ(out.recv_until(got, std::chrono::steady_clock::now() + 1ms), op_status::timeout);
    in.send("a");
    EXPECT_EQ(out.recv_until(got, late), op_status::ok);
    EXPECT_EQ(got, "a");
    in.send("b");
    in.send("c");
    EXPECT_FALSE(in.closed() || out.closed());
    in.close();
    EXPECT_TRUE(in.closed() && out.closed());
    EXPECT_EQ(in.send_for(mine, 1h), op_status::closed);
    EXPECT_THROW(in.send("d"), closed_channel);
    EXPECT_EQ(out.recv(), "b");
    for (const std::string& each : out) EXPECT_EQ(each, "c");
    EXPECT_EQ(out.recv(), std::nullopt);
  });
}

}  // namespace
}  // namespace gort
