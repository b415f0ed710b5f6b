// Task groups whose tasks fail, are stopped and spawn at once, and values that fibers make and leave meanwhile.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "gort/chan.hpp"
#include "gort/fiber_local.hpp"
#include "gort/spawn.hpp"
#include "gort/task_group.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using std::chrono::microseconds;
using test::below;
using test::Random;

class TaskGroupStress : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(TaskGroupStress);

struct Own {
  static inline std::atomic<int> alive{0};
  int value = 0;
  Own() { ++alive; }
  Own(const Own&) = delete;
  Own& operator=(const Own&) = delete;
  ~Own() { --alive; }
};
const fiber_local<Own> own;

void pause_for(microseconds d) {
  const auto end = std::chrono::steady_clock::now() + d;
  while (std::chrono::steady_clock::now() < end) {
  }
}

// A group of some tasks. Returns how many of them have ended. TG1 to TG3.
void one_group(Random random) {
  std::atomic<int> begun{0};
  std::atomic<int> ended{0};
  const auto count = [&] {
    ++begun;
    struct at_end {
      std::atomic<int>& n;
      ~at_end() { ++n; }
    };
    return at_end{ended};
  };
  const bool joins = below(random, 2) == 0;
  const bool joins_for_a_time = below(random, 2) == 0;
  const bool throws = below(random, 4) == 0;
  try {
    std::optional<task_group> g(std::in_place);
    for (int i = 0; i < 8; ++i) {
      g->spawn([&, i, r = Random(random())]() mutable {
        const auto counted = count();
        own->value = i;
        switch (below(r, 8)) {
          case 0:
            throw std::runtime_error("one fails");
          case 1:
            g->spawn([&] {
              const auto too = count();
              own->value = -1;
              yield();
            });
            break;
          case 2:
            (void)chan<int>::nil().recv_for(i, microseconds(below(r, 200)));
            break;
          case 3:
            pause_for(microseconds(below(r, 50)));
            break;
          case 4:
            g->request_stop();
            break;
          default:
            yield();
        }
      });
    }
    if (below(random, 2) == 0) pause_for(microseconds(below(random, 200)));
    if (throws) throw std::logic_error("out");
    if (joins_for_a_time && g->join_for(microseconds(below(random, 200)))) {
      EXPECT_EQ(begun, ended);
    }
    if (joins) g->join();
    g.reset();
  } catch (const std::runtime_error&) {
  } catch (const std::logic_error&) {
  }
  EXPECT_EQ(begun, ended);
}

TEST_P(TaskGroupStress, AllHaveEndedBehindTheScope) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    const test::StressClock clock;
    std::thread foreign([&, r = Random(seed + 100)]() mutable {
      while (clock.running()) one_group(Random(r()));
    });
    std::vector<task<void>> owners;
    for (uint64_t i = 0; i < 4; ++i) {
      owners.push_back(spawn([&, r = Random(seed + i)]() mutable {
        while (clock.running()) one_group(Random(r()));
      }));
    }
    for (auto& t : owners) t.get();
    foreign.join();
    EXPECT_EQ(Own::alive, 0);
  });
}

// TG3: owners that are asked to stop at a random moment.
TEST_P(TaskGroupStress, OwnersAreStopped) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    Random random(seed);
    const test::StressClock clock;
    while (clock.running()) {
      std::vector<task<void>> owners;
      for (int i = 0; i < 4; ++i) {
        owners.push_back(spawn([r = Random(random())]() mutable { one_group(r); }));
      }
      pause_for(microseconds(below(random, 200)));
      for (auto& t : owners) t.request_stop();
      for (auto& t : owners) t.get();
    }
    EXPECT_EQ(Own::alive, 0);
  });
}

}  // namespace
}  // namespace gort
