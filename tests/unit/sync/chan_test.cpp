// Channels: the contract of api.md, from fibers and from foreign threads.
#include "gort/chan.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
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

namespace gort {
namespace {

using namespace std::chrono_literals;

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

TEST_P(Chan, WaitersAreServedInOrder) {
  in_fibers([] {
    const chan<int> c;
    std::vector<task<void>> senders;
    for (int i = 0; i < 20; ++i) {
      std::atomic<bool> begun{false};
      senders.push_back(spawn([c, i, &begun] {
        begun = true;
        c.send(i);
      }));
      // The sender is in the queue once a try_recv would find it; its turn comes by yielding.
      test::until([&] { return begun.load(); });
      for (int k = 0; k < 50; ++k) yield();
    }
    if (procs() == 1) {
      for (int i = 0; i < 20; ++i) EXPECT_EQ(*c.recv(), i);
    } else {
      int sum = 0;
      for (int i = 0; i < 20; ++i) sum += *c.recv();
      EXPECT_EQ(sum, 190);
    }
    for (auto& t : senders) t.get();
  });
}

}  // namespace
}  // namespace gort
