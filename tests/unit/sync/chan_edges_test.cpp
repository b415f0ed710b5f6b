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

}  // namespace
}  // namespace gort
