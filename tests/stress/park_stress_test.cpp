// park and ready: waits that several want to end at once, and of which one may (W1 in park.hpp).
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/chan.hpp"
#include "gort/errors.hpp"
#include "gort/fiber.hpp"
#include "gort/spawn.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using std::chrono::microseconds;
using test::below;
using test::Random;

class ParkStress : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(ParkStress);

constexpr uint64_t kLimitUs = 100;
constexpr microseconds kForLong = std::chrono::hours(1);

struct Sums {
  std::atomic<int64_t> sent{0};
  std::atomic<int64_t> received{0};
  std::atomic<int> stops{0};
};

// Receives until it has been stopped once and the channel is closed. The wait that a stop request ends is
// lost; all others are a value, a time limit or the close.
void receive(const chan<int64_t>& c, Random random, Sums& sums) {
  for (;;) {
    try {
      int64_t value = 0;
      const auto limit = below(random, 2) == 0 ? microseconds(below(random, kLimitUs)) : kForLong;
      const op_status how = c.recv_for(value, limit);
      if (how == op_status::closed) return;
      if (how == op_status::ok) sums.received += value;
    } catch (const stopped&) {
      ++sums.stops;
    }
  }
}

void send_some(const chan<int64_t>& c, Random random, Sums& sums) {
  for (uint64_t n = 1 + below(random, 20); n > 0; --n) {
    const auto value = static_cast<int64_t>(1 + below(random, 1000));
    if (c.send_for(value, microseconds(below(random, kLimitUs))) == op_status::ok) {
      sums.sent += value;
    }
    if (below(random, 4) == 0) yield();
  }
}

// A sender, a time limit, a stop request and a close, from fibers and from a thread, against each wait.
TEST_P(ParkStress, EveryWaitHasOneWinner) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    Random random(seed);
    const test::StressClock clock;
    while (clock.running()) {
      Sums sums;
      const chan<int64_t> c(below(random, 2));
      std::vector<task<void>> receivers;
      std::vector<task<void>> senders;
      for (int i = 0; i < 4; ++i) {
        receivers.push_back(spawn(receive, c, Random(random()), std::ref(sums)));
        senders.push_back(spawn(send_some, c, Random(random()), std::ref(sums)));
      }
      std::thread foreign;
      if (below(random, 4) == 0)
        foreign = std::thread(send_some, c, Random(random()), std::ref(sums));
      int asked = 0;
      for (auto& r : receivers) {
        if (below(random, 3) == 0) yield();
        if (below(random, 2) != 0) continue;
        r.request_stop();
        ++asked;
      }
      for (auto& s : senders) s.join();
      if (foreign.joinable()) blocking([&] { foreign.join(); });
      c.close();
      for (auto& r : receivers) r.join();
      ASSERT_EQ(sums.sent, sums.received);
      ASSERT_LE(sums.stops, asked);  // a request may come when the last wait is over
    }
  });
}

// Tokens go round a ring of fibers, some of them through threads: every hop is a park and a ready, and
// none may get lost or be made twice.
TEST_P(ParkStress, TokensGoRound) {
  const uint64_t seed = test::test_seed();
  constexpr size_t kRing = 8;
  constexpr int kTokens = 3;
  in_fibers([seed] {
    Random random(seed);
    const test::StressClock clock;
    std::vector<chan<int>> hops;
    for (size_t i = 0; i < kRing; ++i) hops.emplace_back(below(random, 2));
    std::atomic<int64_t> turns{0};
    const auto pass = [&](size_t i) {
      for (const int token : hops[i]) {
        ++turns;
        hops[(i + 1) % kRing].send(token);
      }
    };
    std::vector<task<void>> fibers;
    for (size_t i = 1; i < kRing - 1; ++i) fibers.push_back(spawn(pass, i));
    std::thread foreign(pass, kRing - 1);
    std::thread feeder([&] {
      for (int t = 1; t <= kTokens; ++t) hops[1].send(t);
    });
    int64_t seen = 0;
    while (clock.running()) {
      const int token = hops[0].recv().value_or(0);
      EXPECT_NE(token, 0);
      ++seen;
      hops[1].send(token);
    }
    for (int t = 0; t < kTokens; ++t) EXPECT_TRUE(hops[0].recv().has_value());  // taken out
    for (auto& h : hops) h.close();
    for (auto& f : fibers) f.join();
    blocking([&] {
      foreign.join();
      feeder.join();
    });
    EXPECT_EQ(turns, (seen + kTokens) * static_cast<int64_t>(kRing - 1));
  });
}

}  // namespace
}  // namespace gort
