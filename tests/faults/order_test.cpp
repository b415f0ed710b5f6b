// Sleeping, waking and ordering: membarrier, futex, the poller's eventfd.
#include <cerrno>
#include <chrono>
#include <thread>

#include "base/check.hpp"
#include "fault_test.hpp"
#include "gort/gort.hpp"
#include "os/os.hpp"

namespace gort::faults {
namespace {

using namespace std::chrono_literals;

class Order : public FaultTest {};

// Kernels for very many processors allocate in membarrier, and may be out of memory.
TEST_F(Order, AHeavyFenceFindsAnotherWay) {
  if (os::light_fence_is_real.load(std::memory_order_relaxed)) GTEST_SKIP() << "no membarrier here";
  Armed armed({{Call::membarrier, nth(1), fail(ENOMEM)}});
  os::fence_heavy();
  EXPECT_EQ(armed.fired(), 1U);
  EXPECT_EQ(armed.seen(Call::membarrier), 2U);
}

// A sandbox that is put on after the start may forbid it for good: then no order can be promised.
TEST(OrderDeathTest, AHeavyFenceThatCanNotBeIsFatal) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  os::osinit();
  if (os::light_fence_is_real.load(std::memory_order_relaxed)) GTEST_SKIP() << "no membarrier here";
  EXPECT_EXIT(
      {
        Armed armed({{Call::membarrier, always(), fail(EPERM)}});
        os::fence_heavy();
      },
      testing::KilledBySignal(SIGABRT), "gort: fatal: FE1: membarrier failed: -1");
}

TEST(OrderDeathTest, AWakeUpThatFailsIsFatal) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        Armed armed({{Call::futex_wake, always(), fail(EFAULT)}});
        Atomic<uint32_t> word{0};
        os::futexwakeup(&word, 1);
      },
      testing::KilledBySignal(SIGABRT), "gort: fatal: futexwakeup addr=0x[0-9a-f]+ returned: -14");
}

// Reports are written to what may be a pipe, by a program that may have handlers.
TEST(OrderDeathTest, MessagesSurviveInterruptionsAndShortWrites) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        Armed armed({{Call::say, every(2), fail(EINTR)}, {Call::say, always(), shorten(5)}});
        run([] {
          chan<int> nobody;
          go(attrs{.name = "one who waits"}, [nobody] { (void)nobody.recv(); });
          (void)nobody.recv();
        });
      },
      testing::ExitedWithCode(2),
      "gort: deadlock: all fibers are asleep and nothing can wake them\n(.|\n)*"
      "\"one who waits\": waiting, channel receive, started by 1\n");
  EXPECT_EXIT(
      {
        Armed armed({{Call::say, every(2), fail(EINTR)}, {Call::say, always(), shorten(5)}});
        fatal_value("some text", 42, "a/b.cpp", 7);
      },
      testing::KilledBySignal(SIGABRT), "gort: fatal: some text: 42 \\(b.cpp:7\\)");
}

// The poller sleeps for a socket and is woken for other work, through an eventfd.
void ping_the_poller() {
  runtime rt(options{.procs = 2});
  rt.run([] {
    auto listener = net::tcp_listener::listen("127.0.0.1", 0);
    auto nobody = spawn([&] {
      std::error_code ec;
      (void)listener.accept(ec);
    });
    chan<int> from_thread;
    std::thread foreign([from_thread] {
      for (int i = 0; i < 200; ++i) from_thread.send(i);
    });
    for (int i = 0; i < 200; ++i) EXPECT_EQ(from_thread.recv(), i);
    blocking([&] { foreign.join(); });
    listener.close();
    nobody.join();
  });
}

TEST_F(Order, AnInterruptedWakeUpOfThePollerIsRepeated) {
  Armed armed({{Call::write, chance(500), fail(EINTR)}, {Call::read, chance(500), fail(EINTR)}}, 3);
  test::until([&] {
    ping_the_poller();
    return armed.fired(0) > 0;
  });
  expect_nothing_left("interrupted wake-ups");
}

TEST(OrderDeathTest, APollerThatCanNotBeWokenIsFatal) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        Armed armed({{Call::write, always(), fail(EBADF)}});
        for (;;) ping_the_poller();
      },
      testing::KilledBySignal(SIGABRT), "gort: fatal: P6");
}

}  // namespace
}  // namespace gort::faults
