// The classic bug of channels: a timed wait that races with a partner, a close or a stop request.
// Every value sent must be received exactly once; the time limits are 0 to 200 us.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>

#include "gort/chan.hpp"
#include "gort/wait_group.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

class ChanStress : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(ChanStress);

TEST_P(ChanStress, TimedSendsAndReceivesLoseNothing) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    for (const size_t capacity : {0U, 2U}) {
      const chan<int64_t> c(capacity);
      std::atomic<int64_t> sent{0};
      std::atomic<int64_t> received{0};
      const auto end = std::chrono::steady_clock::now() + test::stress_time() / 2;
      wait_group senders;
      wait_group receivers;
      for (uint64_t i = 0; i < 4; ++i) {
        senders.go([&, c, i] {
          test::Random random(seed + i);
          while (std::chrono::steady_clock::now() < end) {
            const auto value = static_cast<int64_t>(random() % 1000);
            const std::chrono::microseconds limit(random() % 200);
            if (c.send_for(value, limit) == op_status::ok) sent += value;
          }
        });
        receivers.go([&, c, i] {
          test::Random random(seed + 100 + i);
          for (;;) {
            int64_t value = 0;
            const std::chrono::microseconds limit(random() % 200);
            const op_status st = c.recv_for(value, limit);
            if (st == op_status::closed) return;
            if (st == op_status::ok) received += value;
          }
        });
      }
      senders.wait();
      c.close();
      receivers.wait();
      EXPECT_EQ(sent, received);
      EXPECT_GT(sent, 0);
    }
  });
}

// C2 in chan.cpp: of a partner and a stop request one takes the Wait out.
TEST_P(ChanStress, StopRacesWithPartners) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    test::Random random(seed);
    const auto end = std::chrono::steady_clock::now() + test::stress_time();
    while (std::chrono::steady_clock::now() < end) {
      const chan<int> c;
      std::atomic<int> got{0};
      auto receiver = spawn([&, c] { got = *c.recv(); });
      auto sender = spawn([c] { c.send(1); });
      if (random() % 2 == 0) yield();
      receiver.request_stop();
      if (random() % 2 == 0) yield();
      sender.request_stop();
      receiver.join();
      sender.join();
      // Either both met or neither did; nobody hangs.
      const bool met = got == 1;
      int left = 0;
      EXPECT_EQ(c.try_recv(left), op_status::empty);
      EXPECT_TRUE(met || got == 0);
    }
  });
}

TEST_P(ChanStress, TheLastHandleMayGoRightAfterTheLastOperation) {
  in_fibers([] {
    const auto end = std::chrono::steady_clock::now() + test::stress_time();
    while (std::chrono::steady_clock::now() < end) {
      auto* c = new chan<int>;
      auto sender = spawn([handle = *c] { handle.send(1); });
      EXPECT_EQ(*c->recv(), 1);
      delete c;
      sender.get();
    }
  });
}

}  // namespace
}  // namespace gort
