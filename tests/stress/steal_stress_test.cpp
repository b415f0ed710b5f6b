// Stealing: work that is born in one place and must be done everywhere, each piece once.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <vector>

#include "gort/fiber.hpp"
#include "gort/run.hpp"
#include "gort/spawn.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using test::below;
using test::Random;

class StealStress : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(StealStress);

// How often each piece of work was done.
class Ledger {
 public:
  explicit Ledger(size_t pieces) : done_(pieces), left_(static_cast<int64_t>(pieces)) {}
  void enter(size_t piece) {
    done_[piece].fetch_add(1);
    left_.fetch_sub(1);
  }
  [[nodiscard]] bool complete() const { return left_.load() == 0; }
  void expect_each_once() const {
    for (const auto& n : done_) ASSERT_EQ(n.load(), 1);
  }

 private:
  std::vector<std::atomic<int>> done_;
  std::atomic<int64_t> left_;
};

void work_a_little(uint64_t spins) {
  for (uint64_t s = 0; s < spins; ++s) asm volatile("" ::: "memory");
}

// Does the pieces from first to end: one here, the rest by two fibers among which it is divided as
// unevenly as chance will have it, down to long chains.
void divide(Ledger& ledger, uint64_t seed, size_t first, size_t end) {
  Random random(seed);
  ledger.enter(first);
  work_a_little(below(random, 300));
  if (below(random, 8) == 0) yield();
  if (++first == end) return;
  const size_t pieces = end - first;
  const size_t cut =
      first + (below(random, 3) == 0 ? below(random, pieces) : below(random, 1 + pieces / 16));
  if (cut != first) go([&ledger, s = random(), first, cut] { divide(ledger, s, first, cut); });
  go([&ledger, s = random(), cut, end] { divide(ledger, s, cut, end); });
}

TEST_P(StealStress, UnbalancedTreesAreDoneOnce) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    Random random(seed);
    const test::StressClock clock;
    while (clock.running()) {
      const size_t pieces = 1 + below(random, static_cast<uint64_t>(test::many(2000)));
      Ledger ledger(pieces);
      go([&ledger, s = random(), pieces] { divide(ledger, s, 0, pieces); });
      test::until([&] { return ledger.complete(); });
      ledger.expect_each_once();
      test::until([] { return num_fibers() == 1; });
    }
  });
}

// Bursts from one fiber, so that the other Ps live on what they steal.
TEST_P(StealStress, BurstsFromOneFiber) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    Random random(seed);
    const test::StressClock clock;
    while (clock.running()) {
      const size_t n = 1 + below(random, static_cast<uint64_t>(test::many(1000)));
      Ledger ledger(n);
      for (size_t i = 0; i < n; ++i) {
        go([&ledger, i, spins = below(random, 200)] {
          work_a_little(spins);
          ledger.enter(i);
        });
      }
      test::until([&] { return ledger.complete(); });
      ledger.expect_each_once();
      test::until([] { return num_fibers() == 1; });
    }
  });
}

}  // namespace
}  // namespace gort
