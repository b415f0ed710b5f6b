// When no thread can be made: fibers go on with the threads there are, one message says so, and when
// threads can be had again they are.
#include <atomic>
#include <chrono>
#include <thread>

#include "fault_test.hpp"
#include "gort/gort.hpp"
#include "support/sanitized.hpp"

namespace gort::faults {
namespace {

using namespace std::chrono_literals;

// The first threads of a runtime are those of sysmon and of who makes spares.
constexpr uint64_t kFirstM = 3;

// I8 in idle.cpp: work that no M takes because none can be had is taken when one can.
class Threads : public FaultTest {
 protected:
  // Attempts that fail, with the pauses between them, until even a sysmon that sleeps deep when all is
  // quiet for 50 ms would have gone to sleep.
  static constexpr When kForAWhile{.first = kFirstM, .times = 12};

  static int count(const std::string& text, const std::string& what) {
    int n = 0;
    for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += what.size()) ++n;
    return n;
  }

  static void crowd(int fibers) {
    std::atomic<int> ran{0};
    wait_group all;
    all.add(fibers);
    for (int i = 0; i < fibers; ++i) {
      go([&] {
        yield();
        ran.fetch_add(1);
        all.done();
      });
    }
    all.wait();
    EXPECT_EQ(ran, fibers);
  }
};

TEST_F(Threads, NeverToBeHad) {
  const int fibers = test::many(2000);
  for (const int error : {EAGAIN, ENOMEM}) {
    Armed armed({{Call::thread, from(kFirstM), fail(error)}});
    const auto begin = std::chrono::steady_clock::now();
    testing::internal::CaptureStderr();
    run(options{.procs = 4}, [&] {
      crowd(fibers);
      EXPECT_EQ(stats().threads, 1);
    });
    const std::string said = testing::internal::GetCapturedStderr();
    EXPECT_GT(armed.fired(), 0U);
    EXPECT_EQ(count(said, "gort: can not make another OS thread"), 1) << said;
    EXPECT_NE(said.find("going on with 1"), std::string::npos) << said;
    // Each attempt that meets EAGAIN takes 0.2 s, and each fiber is an occasion for one.
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 20s);
  }
  expect_nothing_left("threads never to be had");
}

TEST_F(Threads, TheSecondMIsRefused) {
  Armed armed({{Call::thread, nth(kFirstM + 1), fail(ENOMEM)}});
  run(options{.procs = 4}, [&] {
    test::until([&] {
      crowd(50);
      return armed.fired() > 0;
    });
  });
  expect_nothing_left("the second M was refused");
}

TEST_F(Threads, BlockingKeepsItsFibersUntilItReturns) {
  Armed armed({{Call::thread, from(kFirstM), fail(ENOMEM)}});
  run(options{.procs = 1}, [&] {
    std::atomic<int> ran{0};
    for (int i = 0; i < 10; ++i) go([&] { ran.fetch_add(1); });
    EXPECT_EQ(blocking([&] {
                EXPECT_TRUE(test::spin_until([&] { return armed.fired() > 0; }));
                return ran.load();
              }),
              0);
    test::until([&] { return ran == 10; });
  });
  EXPECT_GT(armed.fired(), 0U);
  expect_nothing_left("blocking without a thread");
}

// Every thread there is blocks for what another fiber is to do: somebody must go on trying.
TEST_F(Threads, BlockingHandsOverAsSoonAsThereIsOne) {
  Armed armed({{Call::thread, kForAWhile, fail(ENOMEM)}});
  run(options{.procs = 1}, [] {
    std::atomic<bool> ran{false};
    go([&] { ran.store(true); });
    EXPECT_TRUE(blocking([&] { return test::spin_until([&] { return ran.load(); }); }));
  });
  EXPECT_EQ(armed.fired(), kForAWhile.times);
  expect_nothing_left("threads came back");
}

TEST_F(Threads, ASleeperWakesAsSoonAsThereIsOne) {
  Armed armed({{Call::thread, kForAWhile, fail(ENOMEM)}});
  run(options{.procs = 1}, [] {
    std::atomic<bool> ran{false};
    auto sleeper = spawn([&] {
      sleep_for(20ms);
      ran.store(true);
    });
    yield();
    EXPECT_TRUE(blocking([&] { return test::spin_until([&] { return ran.load(); }); }));
    sleeper.join();
  });
  EXPECT_EQ(armed.fired(), kForAWhile.times);
}

TEST_F(Threads, AReaderWakesAsSoonAsThereIsOne) {
  Armed armed({{Call::thread, kForAWhile, fail(ENOMEM)}});
  run(options{.procs = 1}, [] {
    auto listener = net::tcp_listener::listen("127.0.0.1", 0);
    auto client = net::tcp_stream::connect(listener.local_endpoint());
    auto server = listener.accept();
    std::atomic<bool> ran{false};
    auto reader = spawn([&] {
      char c;
      (void)server.read_some(std::span<char>(&c, 1));
      ran.store(true);
    });
    yield();
    EXPECT_TRUE(blocking([&] {
      client.write("x");
      return test::spin_until([&] { return ran.load(); });
    }));
    reader.join();
  });
  EXPECT_EQ(armed.fired(), kForAWhile.times);
}

// Here not even the first M is to be had.
TEST_F(Threads, AnEmbeddedRuntimeStartsAsSoonAsThereIsOne) {
  {
    Armed armed({{Call::thread, kForAWhile, fail(ENOMEM)}});
    runtime rt(options{.procs = 2});
    EXPECT_EQ(rt.run([] { return 7; }), 7);
    EXPECT_EQ(armed.fired(), kForAWhile.times);
  }
  expect_nothing_left("an embedded runtime");
}

}  // namespace
}  // namespace gort::faults
