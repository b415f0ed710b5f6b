// Closing a channel under everything that its users do at that moment.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/chan.hpp"
#include "gort/errors.hpp"
#include "gort/wait_group.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using std::chrono::microseconds;
using test::below;
using test::Random;

class CloseStress : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(CloseStress);

struct Tally {
  std::atomic<int> sent{0};
  std::atomic<int> received{0};
  std::atomic<int> closed{0};  // calls of close() that did it
  std::atomic<int> refused{0};
};

using Value = std::shared_ptr<int>;

microseconds some_limit(Random& random) {
  return below(random, 3) == 0 ? microseconds(below(random, 100)) : std::chrono::hours(1);
}

void send_until_closed(const chan<Value>& c, const Value& value, Random random, Tally& tally) {
  for (;;) {
    const op_status how = c.send_for(value, some_limit(random));
    if (how == op_status::closed) return;
    if (how == op_status::ok) ++tally.sent;
    if (below(random, 16) == 0) yield();
  }
}

void receive_until_closed(const chan<Value>& c, Random random, Tally& tally) {
  for (;;) {
    Value value;
    const op_status how = c.recv_for(value, some_limit(random));
    if (how == op_status::closed) return;
    if (how == op_status::ok && value != nullptr) ++tally.received;
  }
}

// The forms without a time limit take another way through the channel.
void send_plainly(const chan<Value>& c, const Value& value, Tally& tally) {
  try {
    for (;;) {
      c.send(value);
      ++tally.sent;
    }
  } catch (const closed_channel&) {
  }
}

void receive_plainly(const chan<Value>& c, Tally& tally) {
  while (c.recv().has_value()) ++tally.received;
}

void close_once(const chan<Value>& c, Tally& tally) {
  try {
    c.close();
    ++tally.closed;
  } catch (const closed_channel&) {
    ++tally.refused;
  }
}

// What was sent before the close is received, nothing else is, and of two closers one hears that he came too
// late. Each value is alive exactly as long as somebody has it.
TEST_P(CloseStress, NothingIsLostAndNobodyIsForgotten) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    Random random(seed);
    const test::StressClock clock;
    while (clock.running()) {
      Tally tally;
      const Value value = std::make_shared<int>(1);
      {
        const chan<Value> c(below(random, 4));
        wait_group all;
        for (uint64_t i = 1 + below(random, 3); i > 0; --i) {
          all.go([&, plainly = below(random, 2) == 0, r = Random(random())] {
            plainly ? send_plainly(c, value, tally) : send_until_closed(c, value, r, tally);
          });
        }
        for (uint64_t i = 1 + below(random, 3); i > 0; --i) {
          all.go([&, plainly = below(random, 2) == 0, r = Random(random())] {
            plainly ? receive_plainly(c, tally) : receive_until_closed(c, r, tally);
          });
        }
        std::vector<std::thread> threads;
        if (below(random, 4) == 0) {
          threads.emplace_back([&, r = Random(random())] { receive_until_closed(c, r, tally); });
          threads.emplace_back([&] { close_once(c, tally); });
        } else {
          all.go([&] { close_once(c, tally); });
        }
        for (uint64_t y = below(random, 8); y > 0; --y) yield();
        close_once(c, tally);
        all.wait();
        blocking([&] {
          for (auto& t : threads) t.join();
        });
        // What was in the ring when the last receiver left is still there.
        Value rest;
        while (c.try_recv(rest) == op_status::ok) ++tally.received;
        ASSERT_EQ(c.try_recv(rest), op_status::closed);
      }
      ASSERT_EQ(tally.sent, tally.received);
      ASSERT_EQ(tally.closed, 1);
      ASSERT_EQ(tally.refused, 1);
      ASSERT_EQ(value.use_count(), 1);
    }
  });
}

}  // namespace
}  // namespace gort
