// G: which moves of a fiber's state are legal. G1 is g.hpp's.
#include "sched/g.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace gort {
namespace {

constexpr GState kStates[] = {GState::none, GState::runnable, GState::running, GState::waiting,
                              GState::dead};

// The arrows of the picture in g.hpp.
bool arrow(GState from, GState to) {
  switch (from) {
    case GState::none:  // new
      return to == GState::runnable;
    case GState::runnable:
      return to == GState::running;
    case GState::running:
      return to == GState::runnable || to == GState::waiting || to == GState::dead;
    case GState::waiting:
      return to == GState::runnable;
    case GState::dead:
      return to == GState::runnable;
  }
  return false;
}

// G1: every move along an arrow is made, every other one ends the process.
TEST(GDeathTest, StatesMoveAlongTheArrowsOnly) {
  GTEST_FLAG_SET(death_test_style, "fast");
  const auto g = std::make_unique<G>();
  for (const GState from : kStates) {
    for (const GState to : kStates) {
      g->state.store(from, std::memory_order_relaxed);
      if (arrow(from, to)) {
        set_state(g.get(), to);
        EXPECT_EQ(g->get_state(), to);
      } else {
        EXPECT_DEATH(set_state(g.get(), to), "G1: illegal move")
            << state_name(from) << " to " << state_name(to);
      }
    }
  }
}

}  // namespace
}  // namespace gort
