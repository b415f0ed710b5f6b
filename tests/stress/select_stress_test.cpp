// select stress: selects that race with each other, with plain operations, with their time limits of 0 to 200 us, with
// closes, stop requests and tokens. What was sent is received, once, and nobody hangs. Each case prints its seed.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/chan.hpp"
#include "gort/select.hpp"
#include "gort/spawn.hpp"
#include "gort/wait_group.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

class SelectStress : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(SelectStress);

constexpr uint64_t kTimeLimitMaxUs = 200;

std::chrono::microseconds limit(test::Random& random) {
  return std::chrono::microseconds(test::below(random, kTimeLimitMaxUs + 1));
}

struct Sums {
  std::atomic<int64_t> sent{0};
  std::atomic<int64_t> received{0};
  std::atomic<int64_t> timeouts{0};
};

// SL3: a value, a partner or a close that goes to a select whose time has come must reach another.
// Selects and plain operations over the same channels, buffered and not, named in random orders.
TEST_P(SelectStress, TimeLimitsLoseNothing) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    for (const size_t capacity : {0U, 2U}) {
      const std::vector<chan<int64_t>> c{chan<int64_t>(capacity), chan<int64_t>(capacity),
                                         chan<int64_t>(0)};
      Sums sums;
      const auto end = std::chrono::steady_clock::now() + test::stress_time() / 2;
      const auto send = [&](uint64_t number) {
        test::Random random(seed + number);
        while (std::chrono::steady_clock::now() < end) {
          const auto value = static_cast<int64_t>(test::below(random, 1000));
          const auto sent = [&] { sums.sent += value; };
          const auto& a = c[test::below(random, 3)];
          const auto& b = c[test::below(random, 3)];
          if (test::below(random, 4) == 0) {
            if (a.send_for(value, limit(random)) == op_status::ok) sent();
          } else {
            select(on_send(a, value, sent), on_send(b, value, sent),
                   on_timeout(limit(random), [&] { ++sums.timeouts; }));
          }
        }
      };
      const auto receive = [&](uint64_t number) {
        test::Random random(seed + 100 + number);
        for (bool open = true; open;) {
          const auto received = [&](std::optional<int64_t> v) {
            if (v) {
              sums.received += *v;
            } else {
              open = false;
            }
          };
          select(on_recv(c[test::below(random, 3)], received),
                 on_recv(c[test::below(random, 3)], received), on_timeout(limit(random)));
        }
        // What the others have left in the buffers.
        for (const auto& one : c) {
          for (const int64_t v : one) sums.received += v;
        }
      };
      wait_group senders;
      wait_group receivers;
      for (uint64_t i = 0; i < 3; ++i) {
        senders.go([&, i] { send(i); });
        receivers.go([&, i] { receive(i); });
      }
      std::thread sender([&] { send(10); });
      std::thread receiver([&] { receive(10); });
      senders.wait();
      blocking([&] { sender.join(); });
      for (const auto& one : c) one.close();
      receivers.wait();
      blocking([&] { receiver.join(); });
      EXPECT_EQ(sums.sent, sums.received);
      EXPECT_GT(sums.sent, 0);
      EXPECT_GT(sums.timeouts, 0);
    }
  });
}

// SL1, SL4: everybody sends and receives in one select, so that selects mostly meet selects, over channels in random
// order, one of them twice; and each wins as often as another loses.
TEST_P(SelectStress, SelectsMeetSelects) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    const std::vector<chan<int64_t>> c(4);
    Sums sums;
    const auto end = std::chrono::steady_clock::now() + test::stress_time();
    const auto play = [&](uint64_t number) {
      test::Random random(seed + number);
      while (std::chrono::steady_clock::now() < end) {
        const auto any = [&]() -> const chan<int64_t>& { return c[test::below(random, c.size())]; };
        const auto value = static_cast<int64_t>(test::below(random, 1000));
        const auto sent = [&] { sums.sent += value; };
        const auto received = [&](std::optional<int64_t> v) { sums.received += *v; };
        select(on_send(any(), value, sent), on_recv(any(), received), on_recv(any(), received),
               on_send(any(), value, sent), on_timeout(limit(random), [&] { ++sums.timeouts; }));
      }
    };
    wait_group players;
    for (uint64_t i = 0; i < 6; ++i) players.go([&, i] { play(i); });
    std::thread foreign([&] { play(10); });
    players.wait();
    blocking([&] { foreign.join(); });
    EXPECT_EQ(sums.sent, sums.received);
    EXPECT_GT(sums.sent, 0);
    int64_t left;
    for (const auto& one : c) EXPECT_EQ(one.try_recv(left), op_status::empty);
  });
}

// SL3, SL5, SL6: the other ends of a wait, all at once: a stop request, a token, a close, a partner, the limit. The
// channels go when it is over.
TEST_P(SelectStress, StopsTokensClosesAndPartners) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    test::Random random(seed);
    std::array<int, 6> ends{};
    for (const test::StressClock clock; clock.running();) {
      std::stop_source source;
      auto* const a = new chan<int>;
      auto* const b = new chan<int>;
      std::atomic<int> got{0};
      const auto us = limit(random);
      const bool own = test::below(random, 2) == 0;
      auto waiter = spawn([&, ca = *a, cb = *b](const std::stop_token& token) {
        const auto receive = [&](std::optional<int> v) { got += v.value_or(0); };
        try {
          return select(on_recv(ca, receive), on_recv(cb, receive), on_stop(source.get_token()),
                        on_timeout(us), on_stop(own ? token : std::stop_token()));
        } catch (const stopped&) {
          return size_t{5};
        }
      });
      auto sender = spawn([ca = *a, cb = *b] {
        try {
          return select(on_send(ca, 1), on_send(cb, 1),
                        on_timeout(std::chrono::microseconds(50))) != 2;
        } catch (const closed_channel&) {
          return false;
        }
      });
      auto closer = spawn([cb = *b] { cb.close(); });
      delete a;
      delete b;
      std::thread thread;
      if (test::below(random, 16) == 0) {
        thread = std::thread([&] { source.request_stop(); });
      }
      const auto way = test::below(random, 4);
      if (way % 2 == 0) yield();
      if (way == 1) waiter.request_stop();
      if (way == 2) source.request_stop();
      ++ends[waiter.get()];
      EXPECT_EQ(sender.get(), got == 1);
      closer.get();
      if (thread.joinable()) blocking([&] { thread.join(); });
    }
    EXPECT_GT(ends[0] + ends[1], 0);
  });
}

// A close must release every select that waits, once, whatever else ends it.
TEST_P(SelectStress, CloseReleasesAll) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    test::Random random(seed);
    for (const test::StressClock clock; clock.running();) {
      const chan<int> never;
      const std::vector<chan<int>> c(3);
      std::atomic<int> released{0};
      wait_group all;
      constexpr int kWaiters = 6;
      for (int i = 0; i < kWaiters; ++i) {
        all.go([&, i, us = limit(random)] {
          const auto end = [&](std::optional<int> v) { released += v ? 100 : 1; };
          const auto& a = c[static_cast<size_t>(i) % 3];
          const auto& b = c[static_cast<size_t>(i + 1) % 3];
          if (i % 2 == 0) {
            select(on_recv(a, end), on_recv(b, end), on_recv(never), on_recv(a, end));
          } else {
            select(on_recv(a, end), on_recv(b, end), on_timeout(us, [&] { ++released; }));
          }
        });
      }
      if (test::below(random, 2) == 0) yield();
      for (auto& one : c) one.close();
      all.wait();
      EXPECT_EQ(released, kWaiters);
    }
  });
}

// Many cases, which take their locks in order, against few, which do not.
TEST_P(SelectStress, SelectorsAgainstSelects) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    const std::vector<chan<int64_t>> c(24);
    Sums sums;
    const auto end = std::chrono::steady_clock::now() + test::stress_time();
    wait_group all;
    for (uint64_t i = 0; i < 3; ++i) {
      all.go([&, i] {
        test::Random random(seed + i);
        selector s;
        for (size_t k = 0; k < c.size(); ++k) {
          const auto& one = c[test::below(random, c.size())];
          if (test::below(random, 2) == 0) {
            s.add(on_send(one, int64_t{3}, [&] { sums.sent += 3; }));
          } else {
            s.add(on_recv(one, [&](std::optional<int64_t> v) { sums.received += *v; }));
          }
        }
        s.add(on_timeout(limit(random)));
        while (std::chrono::steady_clock::now() < end) {
          if (test::below(random, 4) == 0) {
            (void)s.poll();
          } else {
            s.select();
          }
        }
      });
      all.go([&, i] {
        test::Random random(seed + 100 + i);
        while (std::chrono::steady_clock::now() < end) {
          select(on_send(c[test::below(random, c.size())], 5, [&] { sums.sent += 5; }),
                 on_recv(c[test::below(random, c.size())], [&](auto v) { sums.received += *v; }),
                 on_timeout(limit(random)));
        }
      });
    }
    all.wait();
    EXPECT_EQ(sums.sent, sums.received);
    EXPECT_GT(sums.sent, 0);
  });
}

}  // namespace
}  // namespace gort
