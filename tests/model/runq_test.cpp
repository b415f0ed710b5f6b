// Models of RunQueue (Q1 to Q4) with 2 and 4 slots, and their mutants.
#include "sched/runq.hpp"

#include <gtest/gtest.h>

#include <array>

#include "checker/atomic.hpp"
#include "support.hpp"

namespace gort {
namespace {

using model::check;
using model::Options;
using model::Thread;
using model::var;

// Items whose plain content is written before they are pushed, and read by whoever gets them.
struct Items {
  static constexpr int kMax = 5;
  struct Item {
    var<int> content;
    int times = 0;  // on one OS thread
  };
  std::array<Item, kMax> items;

  Item* make(int i) {
    items[static_cast<size_t>(i)].content = 1;
    return &items[static_cast<size_t>(i)];
  }
  static void got(Item* item) {
    if (item == nullptr) return;
    check(item->content == 1, "an item is seen as it was pushed");
    item->content = 2;
    ++item->times;
  }
  void expect_all(int n) {
    for (int i = 0; i < n; ++i) {
      check(items[static_cast<size_t>(i)].times == 1, "each item is got once");
    }
  }
};

template <uint32_t N>
using Queue = RunQueue<Items::Item, N>;

template <uint32_t N>
void steal_all(Queue<N>& from) {
  Queue<N> own;
  Items::got(from.steal_into(own));
  while (Items::Item* item = own.take()) Items::got(item);
}

template <uint32_t N>
void take_all(Queue<N>& q) {
  while (Items::Item* item = q.take()) Items::got(item);
}

// Owner against one thief.
void take_and_steal() {
  Items items;
  Queue<2> q;
  Thread thief([&] { steal_all(q); });
  for (int i = 0; i < 2; ++i) check(q.push(items.make(i)), "there is room");
  take_all(q);
  thief.join();
  take_all(q);
  items.expect_all(2);
}

// Q4: slots are used again while a thief is at work.
void slots_go_round() {
  Items items;
  Queue<2> q;
  for (int i = 0; i < 2; ++i) check(q.push(items.make(i)), "there is room");
  Thread thief([&] { steal_all(q); });
  Items::got(q.take());
  for (int i = 2; i < 4; ++i) {
    if (!q.push(items.make(i))) Items::got(&items.items[static_cast<size_t>(i)]);
  }
  thief.join();
  take_all(q);
  items.expect_all(4);
}

// The queue is full: its older half goes elsewhere, unless a thief is faster.
void overflow() {
  Items items;
  Queue<4> q;
  for (int i = 0; i < 4; ++i) check(q.push(items.make(i)), "there is room");
  Thread thief([&] { steal_all(q); });
  Items::Item* last = items.make(4);
  while (!q.push(last)) {
    std::array<Items::Item*, 2> half{};
    const uint32_t n = q.take_half(half.data());
    for (uint32_t i = 0; i < n; ++i) Items::got(half[i]);
  }
  thief.join();
  take_all(q);
  items.expect_all(5);
}

void two_thieves() {
  Items items;
  Queue<2> q;
  Thread a([&] { steal_all(q); });
  Thread b([&] { steal_all(q); });
  for (int i = 0; i < 2; ++i) check(q.push(items.make(i)), "there is room");
  Items::got(q.take());
  a.join();
  b.join();
  take_all(q);
  items.expect_all(2);
}

// What one has stolen another steals again.
void steal_from_thief() {
  Items items;
  Queue<4> q;
  Queue<4> second;
  for (int i = 0; i < 4; ++i) check(q.push(items.make(i)), "there is room");
  Thread a([&] {
    Items::got(q.steal_into(second));
    while (Items::Item* item = second.take()) Items::got(item);
  });
  Thread b([&] { steal_all(second); });
  a.join();
  b.join();
  take_all(q);
  items.expect_all(4);
}

// size() is one that existed (Q2), whoever has removed what.
template <class Remove>
void size_while(Remove&& remove) {
  Items items;
  Queue<2> q;
  Thread looks([&] { check(q.size() <= 2, "Q2"); });
  for (int i = 0; i < 2; ++i) check(q.push(items.make(i)), "there is room");
  remove(q);
  if (q.push(items.make(2))) Items::got(q.take());
  looks.join();
}
void size_while_taking() {
  size_while([](Queue<2>& q) {
    Items::got(q.take());
    Items::got(q.take());
  });
}
void size_while_halving() {
  size_while([](Queue<2>& q) {
    std::array<Items::Item*, 1> half{};
    if (q.take_half(half.data()) == 1) Items::got(half[0]);
  });
}
void size_while_stealing() {
  Items items;
  Queue<2> q;
  Thread thief([&] { steal_all(q); });
  Thread looks([&] { check(q.size() <= 2, "Q2"); });
  for (int i = 0; i < 2; ++i) check(q.push(items.make(i)), "there is room");
  thief.join();
  looks.join();
}

TEST(RunQueueModel, TakeAndSteal) {
  expect_right({}, take_and_steal);
}
TEST(RunQueueModel, SlotsGoRound) {
  expect_right({.preemptions = 3}, slots_go_round);
}
TEST(RunQueueModel, Overflow) {
  expect_right({.preemptions = 3}, overflow);
}
TEST(RunQueueModel, TwoThieves) {
  expect_right({.preemptions = 2}, two_thieves);
}
TEST(RunQueueModel, StealFromAThief) {
  expect_right({.preemptions = 2}, steal_from_thief);
}
TEST(RunQueueModel, SizeOfOthers) {
  expect_right({}, size_while_taking);
  expect_right({}, size_while_halving);
  expect_right({.preemptions = 3}, size_while_stealing);
}
TEST(RunQueueModel, Mutants) {
  expect_mutants_die({"runq.hpp"}, {{{}, take_and_steal},
                                    {{.preemptions = 3}, slots_go_round},
                                    {{.preemptions = 3}, overflow},
                                    {{.preemptions = 2}, two_thieves},
                                    {{.preemptions = 2}, steal_from_thief},
                                    {{}, size_while_taking},
                                    {{}, size_while_halving},
                                    {{.preemptions = 3}, size_while_stealing}});
}

}  // namespace
}  // namespace gort
