// GList and GlobalQueue.
#include "sched/globq.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "sched/m.hpp"

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

// F7.
TEST(GlobalQueue, ThoseWhoseTimeHasComeGoFirst) {
  const auto gs = some(4);
  GlobalQueue q;
  q.push(gs[0].get());
  q.push_timely(gs[1].get());
  q.push(gs[2].get());
  q.push_timely(gs[3].get());
  EXPECT_EQ(q.approx_size(), 4U);
  EXPECT_EQ(q.approx_timely(), 2U);
  for (const int next : {1, 3, 0, 2}) EXPECT_EQ(q.pop(), gs[static_cast<size_t>(next)].get());
  EXPECT_EQ(q.pop(), nullptr);
  EXPECT_EQ(q.approx_size(), 0U);
  EXPECT_EQ(q.approx_timely(), 0U);
}

TEST(GlobalQueue, TheOthersDoNotWaitForEver) {
  const auto gs = some(2);
  const auto timely = some(2);
  GlobalQueue q;
  for (const auto& g : gs) q.push(g.get());
  for (const auto& g : timely) q.push_timely(g.get());
  for (const auto& other : gs) {
    for (uint32_t i = 0; i < GlobalQueue::kTimelyMax; ++i) {
      G* g = q.pop();
      ASSERT_TRUE(g == timely[0].get() || g == timely[1].get()) << i;
      q.push_timely(g);
    }
    EXPECT_EQ(q.pop(), other.get());
  }
  EXPECT_EQ(q.approx_size(), 2U);
}

TEST(GlobalQueue, FindsThoseThatAreBound) {
  const auto gs = some(4);
  M m;
  GlobalQueue q;
  q.push(gs[0].get());
  q.push(gs[1].get());
  q.push_timely(gs[2].get());
  q.push_timely(gs[3].get());
  EXPECT_EQ(q.take_bound(), nullptr);
  EXPECT_EQ(q.take_timely_bound(), nullptr);
  gs[1]->bound_to = &m;
  gs[3]->bound_to = &m;
  EXPECT_EQ(q.take_timely_bound(), nullptr) << "the first of them is not bound";
  EXPECT_EQ(q.take_bound(), gs[3].get());
  EXPECT_EQ(q.take_bound(), gs[1].get());
  EXPECT_EQ(q.take_bound(), nullptr);
  gs[2]->bound_to = &m;
  EXPECT_EQ(q.take_timely_bound(), gs[2].get());
  EXPECT_EQ(q.take_timely_bound(), nullptr);
  EXPECT_EQ(q.pop(), gs[0].get());
  EXPECT_EQ(q.approx_size(), 0U);
}

}  // namespace
}  // namespace gort
