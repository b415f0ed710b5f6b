// Contexts that are made, cancelled, dropped and run into their deadlines at once, in a tree that changes all the time.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "gort/context.hpp"
#include "gort/spawn.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using std::chrono::microseconds;
using test::below;
using test::Random;

class ContextStress : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(ContextStress);

microseconds soon(Random& random) {
  return microseconds(below(random, 200));
}

void pause_for(microseconds d) {
  const auto end = std::chrono::steady_clock::now() + d;
  while (std::chrono::steady_clock::now() < end) {
  }
}

// CX1: all that says that a context has ended says so in the end.
void expect_ends(const context& ctx) {
  EXPECT_FALSE(ctx.done().recv().has_value());
  EXPECT_TRUE(ctx.err());
  EXPECT_NE(ctx.cause(), nullptr);
  EXPECT_TRUE(test::until([&] { return ctx.stop_token().stop_requested(); }));
}

TEST_P(ContextStress, TheTreeEndsFromAnywhere) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    Random random(seed);
    const test::StressClock clock;
    while (clock.running()) {
      const auto [root, cancel] = with_timeout(context::background(), 50us + soon(random));
      std::atomic<int> calls{0};
      const auto grow = [&calls, &root = root](Random r) {
        std::vector<context_and_cancel> kept;
        for (int i = 0; i < 20; ++i) {
          const context& parent =
              kept.empty() || below(r, 2) == 0 ? root : kept[below(r, kept.size())].ctx;
          context_and_cancel made =
              below(r, 2) == 0 ? with_timeout(parent, soon(r)) : with_cancel(parent);
          const std::stop_callback count(made.ctx.stop_token(), [&] { ++calls; });
          switch (below(r, 4)) {
            case 0:
              break;  // dropped
            case 1:
              pause_for(soon(r) / 10);
              made.cancel();
              expect_ends(made.ctx);
              break;
            default:
              kept.push_back(std::move(made));
          }
        }
        for (const auto& each : kept) expect_ends(each.ctx);
      };
      std::thread foreign([&, r = Random(random())] { grow(r); });
      std::vector<task<void>> tasks;
      for (int i = 0; i < 8; ++i) tasks.push_back(spawn([&, r = Random(random())] { grow(r); }));
      if (below(random, 2) == 0) {
        pause_for(soon(random));
        cancel();
      }
      for (auto& t : tasks) t.get();
      foreign.join();
      expect_ends(root);
    }
  });
}

}  // namespace
}  // namespace gort
