// What the child of a fork may do with timers and sockets that its parent has made, and goes on using (FK1, FK4).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "fork_fixture.hpp"
#include "gort/gort.hpp"
#include "support/child.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;
using test::ChildEnd;
using test::in_child;
using test::passes;
using test::throws_logic_error;

class ForkObjects : public test::ForkTest {};
GORT_WHOEVER_FORKS(ForkObjects);

// ---- Timers ---------------------------------------------------------------------------------------------

// FK1. Armed at the fork, in a heap that nobody looks after in the child.
TEST_P(ForkObjects, TimersOfTheParentEndInTheChild) {
  there([] {
    std::optional<timer> once(std::in_place, 1h);
    std::optional<ticker> beat(std::in_place, 1h);
    auto later = std::make_unique<receiver<steady_clock::time_point>>(after(1h));
    std::atomic<int> calls{0};
    auto call = std::make_unique<func_timer>(after_func(1h, [&calls] { ++calls; }));
    const auto limited = with_timeout(context::background(), 1h);
    const ChildEnd end = in_child([&] {
      return passes([&] {
        EXPECT_TRUE(throws_logic_error([&] { once->reset(1ms); }));
        EXPECT_TRUE(throws_logic_error([&] { beat->reset(1ms); }));
        EXPECT_TRUE(throws_logic_error([] { const timer mine(1ms); }));
        EXPECT_TRUE(throws_logic_error([] { (void)after_func(1ms, [] {}); }));
        (void)once->stop();
        (void)call->stop();
        once.reset();
        beat.reset();
        later.reset();
        call.reset();
        limited.cancel();
        EXPECT_EQ(limited.ctx.err(), std::errc::operation_canceled);
      });
    });
    EXPECT_TRUE(end.exited(0)) << end;
    EXPECT_TRUE(once->stop());
    EXPECT_TRUE(call->stop());
    once->reset(1ms);
    EXPECT_TRUE(once->channel().recv().has_value());
    beat->reset(1ms);
    EXPECT_TRUE(beat->channel().recv().has_value());
    EXPECT_FALSE(limited.ctx.err());
    limited.cancel();
  });
}

// Timers that fire all the time: some are between their heap and their channel at the fork.
TEST_P(ForkObjects, TimersThatFireAtTheFork) {
  there([] {
    auto beats = std::make_unique<std::vector<ticker>>();
    for (int i = 0; i < 20; ++i) beats->emplace_back(20us + i * 1us);
    for (int i = 0; i < test::many(100); ++i) {
      const ChildEnd end = in_child([&] {
        beats.reset();
        return 0;
      });
      // Or one stands in the middle of what a thread of the parent was doing, and the child says so.
      ASSERT_TRUE(end.exited(0) || end.aborted_with(test::kChildWaits)) << end;
    }
  });
}

// ---- Sockets --------------------------------------------------------------------------------------------

// FK4: the classic child, which closes the listener that it has inherited.
TEST_P(ForkObjects, AListenerIsClosedInTheChildAlone) {
  there([] {
    auto listener = net::tcp_listener::listen("127.0.0.1", 0);
    const uint16_t port = listener.local_endpoint().port();
    auto by_fiber = spawn([&listener] { return listener.accept(); });
    std::optional<net::tcp_stream> of_thread;
    std::thread by_thread([&] { of_thread = listener.accept(); });
    // Both are in accept(): one waits for the other's turn, or for the kernel.
    const auto wait_a_little = [] {
      const auto until = steady_clock::now() + 20ms;
      while (steady_clock::now() < until) yield();
    };
    wait_a_little();
    const ChildEnd end = in_child([&] {
      return passes([&] {
        listener.close();
        EXPECT_FALSE(listener.is_open());
        std::error_code error;
        (void)listener.accept(error);
        EXPECT_EQ(error, std::errc::operation_canceled);
      });
    });
    EXPECT_TRUE(end.exited(0)) << end;
    auto first = net::tcp_stream::connect("127.0.0.1", port);
    auto second = net::tcp_stream::connect("127.0.0.1", port);
    first.write("1");
    second.write("2");
    auto taken = by_fiber.get();
    blocking([&] { by_thread.join(); });
    ASSERT_TRUE(of_thread.has_value());
    char c;
    EXPECT_EQ(taken.read_some(std::span<char>(&c, 1)), 1U);
    EXPECT_EQ(of_thread->read_some(std::span<char>(&c, 1)), 1U);
  });
}

// A connection on which a thread and a fiber of the parent wait is the child's to close, and to read and write.
TEST_P(ForkObjects, AConnectionGoesOnBesideTheChild) {
  there([] {
    auto listener = net::tcp_listener::listen("127.0.0.1", 0);
    auto near = net::tcp_stream::connect("127.0.0.1", listener.local_endpoint().port());
    auto far = listener.accept();
    char got = 0;
    std::thread reader([&] { (void)near.read_some(std::span<char>(&got, 1)); });
    auto other = spawn([&far] {
      char c = 0;
      (void)far.read_some(std::span<char>(&c, 1));
      return c;
    });
    const auto until = steady_clock::now() + 20ms;
    while (steady_clock::now() < until) yield();
    const ChildEnd end = in_child([&] {
      return passes([&] {
        near.close();
        near = net::tcp_stream();
        far.write("b");
        far.close();
      });
    });
    EXPECT_TRUE(end.exited(0)) << end;
    blocking([&] { reader.join(); });
    EXPECT_EQ(got, 'b');
    near.write("a");
    EXPECT_EQ(other.get(), 'a');
  });
}

// FK3, FK4: O_NONBLOCK belongs to what was opened, which is the parent's, too.
TEST_P(ForkObjects, ADescriptorThatTheChildReleasesStaysAsTheParentNeedsIt) {
  if (test::kSanitizers) GTEST_SKIP() << "a sanitizer looks for leaks at exit()";
  there([] {
    auto ends = gort::pipe();
    auto waits = spawn([&] {
      char byte = 0;
      return ends.reader.read_some(std::span<char>(&byte, 1)) == 1 ? byte : '?';
    });
    yield();
    const ChildEnd end = in_child([&] {
      const int number = ends.reader.release();
      return passes([&] { EXPECT_NE(::fcntl(number, F_GETFL) & O_NONBLOCK, 0); });
    });
    EXPECT_TRUE(end.exited(0)) << end;
    EXPECT_NE(::fcntl(ends.reader.native_handle(), F_GETFL) & O_NONBLOCK, 0);
    EXPECT_FALSE(waits.done());
    ends.writer.write("a");
    EXPECT_EQ(waits.get(), 'a');
  });
}

std::optional<net::tcp_listener> static_listener;

TEST_P(ForkObjects, AStaticSocketDoesNotWaitAtTheChildsExit) {
  if (test::kSanitizers) GTEST_SKIP() << "a sanitizer looks for leaks at exit()";
  there([] {
    static_listener = net::tcp_listener::listen("127.0.0.1", 0);
    auto waits = spawn([] {
      std::error_code error;
      (void)static_listener->accept(error);
      return error;
    });
    const auto until = steady_clock::now() + 5ms;
    while (steady_clock::now() < until) yield();
    const ChildEnd end = in_child([]() -> int { std::exit(3); });
    EXPECT_TRUE(end.exited(3)) << end;
    static_listener->close();
    EXPECT_EQ(waits.get(), std::errc::operation_canceled);
    static_listener.reset();
  });
}

// FK2, FK4: a server that forks its workers first. The child has a runtime of its own, and the socket is as good as new there.
TEST(ForkWithoutARuntimeObjects, AWorkerServesTheInheritedListener) {
  if (test::kTsan) GTEST_SKIP() << "TSan does not follow a fork of a process with threads";
  auto listener = net::tcp_listener::listen("127.0.0.1", 0);
  const uint16_t port = listener.local_endpoint().port();
  std::optional<net::tcp_stream> of_thread;
  std::thread by_thread([&] { of_thread = listener.accept(); });
  std::this_thread::sleep_for(20ms);
  const ChildEnd end = in_child([&] {
    return passes([&] {
      run(options{.procs = 2}, [&] {
        auto waits = spawn([&] {
          std::error_code error;
          for (;;) {
            auto s = listener.accept(error);
            if (error) return error;
          }
        });
        yield();
        listener.close();
        EXPECT_EQ(waits.get(), std::errc::operation_canceled);
      });
    });
  });
  EXPECT_TRUE(end.exited(0)) << end;
  auto stream = net::tcp_stream::connect("127.0.0.1", port);
  by_thread.join();
  EXPECT_TRUE(of_thread.has_value());
}

}  // namespace
}  // namespace gort
