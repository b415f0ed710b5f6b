// Channels at their edges: sizes that do not exist, elements with ideas of their own, loops and limits, stop requests.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gort/chan.hpp"
#include "gort/select.hpp"
#include "gort/spawn.hpp"
#include "gort/timer.hpp"
#include "sched/sched.hpp"
#include "support/scheduler_test.hpp"
#include "sync/sync_fixture.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using test::Waiter;
using Seconds = std::chrono::duration<double>;

class ChanEdges : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(ChanEdges);

// What is added to the elements, and what operator new adds for alignment, must not wrap past zero.
TEST(ChanCapacity, ThatNoMemoryHasIsRefused) {
  for (size_t less = 0; less < 1024; ++less) {
    EXPECT_THROW(chan<char>{SIZE_MAX - less}, std::bad_alloc) << less;
  }
  EXPECT_THROW(chan<char>{size_t{PTRDIFF_MAX}}, std::bad_alloc);
  EXPECT_THROW(chan<int>{SIZE_MAX / sizeof(int)}, std::bad_alloc);
}

// With an operator new in the class, the global placement new is not found in it.
struct Pooled {
  explicit Pooled(int n) : value(std::make_unique<int>(n)) {}
  static void* operator new(size_t bytes) { return ::operator new(bytes); }
  static void operator delete(void* p) { ::operator delete(p); }
  void operator()() const { called->store(*value); }
  std::unique_ptr<int> value;
  std::atomic<int>* called = nullptr;
};

TEST_P(ChanEdges, ElementsMayHaveAnOperatorNew) {
  in_fibers([] {
    const chan<Pooled> c(1);
    c.send(Pooled(1));
    EXPECT_EQ(*c.recv()->value, 1);
    select(on_send(c, Pooled(2)));
    select(on_recv(c, [](std::optional<Pooled> v) { EXPECT_EQ(*v->value, 2); }));
    selector s;
    s.add(on_send(c, Pooled(3)));
    s.select();
    EXPECT_EQ(*c.recv()->value, 3);
    std::atomic<int> called{0};
    Pooled f(4);
    f.called = &called;
    after_func(0s, std::move(f));
    test::until([&] { return called.load() == 4; });
  });
}

TEST_P(ChanEdges, ALoopGoesOnWithItsChannel) {
  in_fibers([] {
    chan<int> c(2);
    const chan<int> next;
    next.close();
    c.send(1);
    c.send(2);
    c.close();
    int last = 0;
    for (const int v : c) {
      c = next;  // and with the handle, the channel would be gone
      last = v;
    }
    EXPECT_EQ(last, 2);
  });
}

TEST_P(ChanEdges, ALoopMayTakeWhatCannotBeCopied) {
  in_fibers([] {
    const chan<std::unique_ptr<int>> c(2);
    c.send(std::make_unique<int>(1));
    c.send(std::make_unique<int>(2));
    c.close();
    std::vector<std::unique_ptr<int>> taken;
    for (auto& v : c) taken.push_back(std::move(v));
    ASSERT_EQ(taken.size(), 2U);
    EXPECT_EQ(*taken[1], 2);
  });
}

struct ThrowsWhenAssigned {
  explicit ThrowsWhenAssigned(int n) : value(n) {}
  ThrowsWhenAssigned(ThrowsWhenAssigned&&) noexcept = default;
  ThrowsWhenAssigned& operator=(ThrowsWhenAssigned&&) { throw std::runtime_error("assigned"); }
  int value;
};

// As chan.hpp says: the assignment loses the value, and an optional is not assigned to.
TEST_P(ChanEdges, AnAssignmentMayThrow) {
  in_fibers([] {
    const chan<ThrowsWhenAssigned> c(2);
    c.send(ThrowsWhenAssigned(1));
    c.send(ThrowsWhenAssigned(2));
    ThrowsWhenAssigned out(0);
    EXPECT_THROW((void)c.try_recv(out), std::runtime_error);
    EXPECT_EQ(out.value, 0);
    std::optional<ThrowsWhenAssigned> kept(std::in_place, 0);
    EXPECT_EQ(c.try_recv(kept), op_status::ok);
    EXPECT_EQ(kept->value, 2);
  });
}

struct ThrowsWhenCopied {
  ThrowsWhenCopied() = default;
  ThrowsWhenCopied(const ThrowsWhenCopied& other) : armed(other.armed) {
    if (armed) throw std::runtime_error("copied");
  }
  ThrowsWhenCopied(ThrowsWhenCopied&&) noexcept = default;
  bool armed = true;
};

TEST_P(ChanEdges, ACopyMayThrowAndNothingIsSent) {
  in_fibers([] {
    const chan<ThrowsWhenCopied> c(2);
    const ThrowsWhenCopied v;
    EXPECT_THROW((void)c.try_send(v), std::runtime_error);
    EXPECT_THROW((void)c.send_for(v, 1h), std::runtime_error);
    EXPECT_THROW((void)c.send_until(v, std::chrono::steady_clock::now() + 1h), std::runtime_error);
    EXPECT_THROW(select(on_send(c, v)), std::runtime_error);
    EXPECT_EQ(c.size(), 0U);
    selector s;
    int fired = 0;
    s.add(on_send(c, ThrowsWhenCopied(), [&] { ++fired; }));
    EXPECT_THROW(s.select(), std::runtime_error);
    EXPECT_THROW((void)s.poll(), std::runtime_error);
    EXPECT_EQ(c.size(), 0U);
    ThrowsWhenCopied tame;
    tame.armed = false;
    s.set(0, on_send(c, std::move(tame), [&] { ++fired; }));
    EXPECT_EQ(s.select(), 0U);
    EXPECT_EQ(s.poll(), 0U);
    EXPECT_EQ(fired, 2);
    EXPECT_EQ(c.size(), 2U);
  });
}

struct alignas(256) Wide {
  explicit Wide(int n) : value(n) { check(); }
  Wide(const Wide& other) : value(other.value) { check(); }
  Wide(Wide&& other) noexcept : value(std::exchange(other.value, -1)) { check(); }
  Wide& operator=(Wide&& other) noexcept {
    value = std::exchange(other.value, -1);
    return *this;
  }
  void check() const { EXPECT_EQ(reinterpret_cast<uintptr_t>(this) % alignof(Wide), 0U); }
  int value;
};

TEST_P(ChanEdges, OverAlignedElementsEveryWay) {
  in_fibers([] {
    const chan<Wide> c;
    for (int i = 0; i < 10; ++i) {
      Waiter w;
      auto sends = spawn([&] {
        w.about_to_wait();
        c.send(Wide(i));
      });
      w.until_it_waits();
      Wide out(-1);
      if (i % 2 == 0) {
        EXPECT_EQ(c.try_recv(out), op_status::ok);
      } else {
        selector s;
        s.add(on_recv(c, [&](std::optional<Wide> v) { out.value = v->value; }));
        s.select();
      }
      EXPECT_EQ(out.value, i);
      sends.get();
    }
    for (int i = 0; i < 10; ++i) {
      Waiter w;
      auto receives = spawn([&] {
        w.about_to_wait();
        int got = -1;
        select(on_recv(c, [&](std::optional<Wide> v) { got = v->value; }), on_recv(chan<Wide>()));
        return got;
      });
      w.until_it_waits();
      selector s;
      s.add(on_send(c, Wide(i)));
      if (i % 3 == 0) {
        EXPECT_EQ(c.try_send(Wide(i)), op_status::ok);
      } else if (i % 3 == 1) {
        select(on_send(c, Wide(i)));
      } else {
        s.select();
      }
      EXPECT_EQ(receives.get(), i);
    }
  });
}

TEST_P(ChanEdges, LimitsMayBeDoubles) {
  static constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  static constexpr double kForever = std::numeric_limits<double>::infinity();
  const int64_t before = test::now_ns();
  EXPECT_GE(detail::steady_ns_after(Seconds(kNaN)), before);
  EXPECT_EQ(detail::steady_ns_after(Seconds(kForever)), INT64_MAX);
  in_fibers([] {
    const chan<int> c;
    int out = 0;
    for (const double d : {kNaN, -1.0, 0.0, 0.0005, -kForever}) {
      const auto begin = std::chrono::steady_clock::now();
      EXPECT_EQ(c.recv_for(out, Seconds(d)), op_status::timeout);
      EXPECT_EQ(c.send_for(1, Seconds(d)), op_status::timeout);
      EXPECT_EQ(select(on_recv(c), on_timeout(Seconds(d))), 1U);
      EXPECT_EQ(select(on_recv(c), on_send(c, 1), on_timeout(Seconds(d))), 2U);
      sleep_for(Seconds(d));
      const timer t{Seconds(d)};
      (void)t.channel().recv();
      EXPECT_TRUE(!(d > 0) || std::chrono::steady_clock::now() - begin >= Seconds(6 * d));
    }
    auto sends = spawn([&] { EXPECT_EQ(c.send_for(7, Seconds(kForever)), op_status::ok); });
    EXPECT_EQ(c.recv_for(out, Seconds(kForever)), op_status::ok);
    EXPECT_EQ(out, 7);
    sends.get();
  });
}

// Of each kind one, in the order in which they came: a fiber, a select, a thread.
TEST_P(ChanEdges, WaitersOfAllKindsAreServedInOrder) {
  in_fibers([] {
    constexpr int kWaiters = 12;
    const chan<int> c;
    const chan<int> other;
    std::vector<task<int>> fibers;
    std::vector<std::thread> threads;
    std::vector<int> got(kWaiters, -1);
    const auto asleep = [] { return ForeignParked::asleep(foreign_parked.now()); };
    for (int i = 0; i < kWaiters; ++i) {
      int& mine = got[static_cast<size_t>(i)];
      if (i % 3 == 2) {
        const auto before = asleep();
        threads.emplace_back([&] { mine = c.recv().value_or(-2); });
        test::until([&] { return asleep() > before; });
        continue;
      }
      Waiter w;
      fibers.push_back(spawn([&, i] {
        w.about_to_wait();
        if (i % 3 == 0) return mine = c.recv().value_or(-2);
        select(on_recv(other), on_recv(c, [&](std::optional<int> v) { mine = v.value_or(-2); }));
        return mine;
      }));
      w.until_it_waits();
    }
    for (int i = 0; i < kWaiters; ++i) EXPECT_EQ(c.try_send(i), op_status::ok);
    for (auto& f : fibers) f.join();
    for (auto& t : threads) t.join();
    for (int i = 0; i < kWaiters; ++i) EXPECT_EQ(got[static_cast<size_t>(i)], i);
  });
}

TEST_P(ChanEdges, WhatIsNotSentStaysWithWhoIsStopped) {
  in_fibers([] {
    const chan<std::string> c;
    for (int form = 0; form < 2; ++form) {
      const std::string text = "long enough to live on the heap, wherever it is";
      std::string mine = text;
      Waiter w;
      auto sends = spawn([&] {
        w.about_to_wait();
        if (form == 0) (void)c.send_for(std::move(mine), 1h);
        (void)c.send_until(std::move(mine), std::chrono::steady_clock::now() + 1h);
      });
      w.until_it_waits();
      sends.request_stop();
      sends.join();
      EXPECT_EQ(mine, text);
    }
  });
}

TEST_P(ChanEdges, WaitsWhileTheStackIsUnwoundAreNotStopped) {
  in_fibers([] {
    const chan<int> never;
    const chan<int> in;
    const chan<int> out;
    int got = 0;
    Waiter first;
    std::atomic<bool> unwinds{false};
    auto f = spawn([&] {
      struct Last {
        const chan<int>& in;
        const chan<int>& out;
        std::atomic<bool>& unwinds;
        int& got;
        ~Last() {
          unwinds = true;
          got = in.recv().value_or(-1);
          out.send(got + 1);
        }
      } const last{in, out, unwinds, got};
      first.about_to_wait();
      (void)never.recv();
    });
    first.until_it_waits();
    f.request_stop();
    test::until([&] { return unwinds.load(); });
    first.until_it_waits();
    f.request_stop();  // again, beside the wait
    in.send(1);
    EXPECT_EQ(out.recv(), 2);
    f.join();
    EXPECT_EQ(got, 1);
  });
}

TEST_P(ChanEdges, ASendToNilWaitsUntilItIsStopped) {
  in_fibers([] {
    const auto nil = chan<std::unique_ptr<int>>::nil();
    Waiter w;
    std::atomic<bool> stopped_there{false};
    auto f = spawn([&] {
      w.about_to_wait();
      try {
        nil.send(std::make_unique<int>(1));
      } catch (const stopped&) {
        stopped_there = true;
      }
    });
    w.until_it_waits();
    f.request_stop();
    f.join();
    EXPECT_TRUE(stopped_there);
    auto mine = std::make_unique<int>(2);
    EXPECT_EQ(nil.send_for(std::move(mine), 1ms), op_status::timeout);
    EXPECT_EQ(*mine, 2);
  });
}

}  // namespace
}  // namespace gort
