// GList and GlobalQueue.
#include "sched/globq.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace gort {
namespace {

std::vector<std::unique_ptr<G>> some(int n) {
  std::vector<std::unique_ptr<G>> gs;
  for (int i = 0; i < n; ++i) gs.push_back(std::make_unique<G>());
  return gs;
}

TEST(GList, IsFirstInFirstOut) {
  const auto gs = some(5);
  GList list;
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(list.pop_front(), nullptr);
  for (int turn = 0; turn < 3; ++turn) {
    for (const auto& g : gs) list.push_back(g.get());
    EXPECT_EQ(list.size(), gs.size());
    for (const auto& g : gs) {
      EXPECT_EQ(list.pop_front(), g.get());
      EXPECT_EQ(g->link, nullptr);
    }
    EXPECT_TRUE(list.empty());
    EXPECT_EQ(list.size(), 0U);
  }
}

TEST(GList, TakesAndGivesInTurns) {
  const auto gs = some(3);
  GList list;
  list.push_back(gs[0].get());
  list.push_back(gs[1].get());
  EXPECT_EQ(list.pop_front(), gs[0].get());
  list.push_back(gs[2].get());
  EXPECT_EQ(list.pop_front(), gs[1].get());
  EXPECT_EQ(list.pop_front(), gs[2].get());
  EXPECT_EQ(list.pop_front(), nullptr);
  list.push_back(gs[0].get());
  EXPECT_EQ(list.pop_front(), gs[0].get());
}

TEST(GlobalQueue, TellsItsSize) {
  const auto gs = some(4);
  GlobalQueue q;
  EXPECT_EQ(q.approx_size(), 0U);
  for (const auto& g : gs) q.push(g.get());
  EXPECT_EQ(q.approx_size(), 4U);
  for (uint32_t left = 4; left > 0; --left) {
    EXPECT_EQ(q.pop(), gs[4 - left].get());
    EXPECT_EQ(q.approx_size(), left - 1);
  }
  EXPECT_EQ(q.pop(), nullptr);
  EXPECT_EQ(q.approx_size(), 0U);
}

}  // namespace
}  // namespace gort
