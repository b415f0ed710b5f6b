// The ends of fibers: what is destroyed there may wait, whoever has asked the fiber to stop, and what it makes ends, too.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <utility>

#include "gort/gort.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;

class Ends : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(Ends);

struct Counted {
  static std::atomic<int> alive;
  Counted() { ++alive; }
  ~Counted() { --alive; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  int value = 0;
};
std::atomic<int> Counted::alive{0};
const fiber_local<Counted> counted;

// Looks at a fiber_local in its end.
struct Looks {
  std::atomic<int>* ends;
  explicit Looks(std::atomic<int>* of) : ends(of) {}
  Looks(Looks&& o) noexcept : ends(std::exchange(o.ends, nullptr)) {}
  ~Looks() {
    if (ends == nullptr) return;
    EXPECT_EQ(counted->value++, 0) << "a fiber_local of another fiber";
    ++*ends;
  }
};

// Behind the fiber's own fiber_locals comes the result of a task that nobody holds.
TEST_P(Ends, WhatADetachedResultMakesEndsWithTheFiber) {
  in_fibers([] {
    constexpr int kTimes = 10;
    std::atomic<int> ends{0};
    for (int i = 1; i <= kTimes; ++i) {
      std::atomic<bool> go_on{false};
      auto t = spawn([&] {
        test::until([&] { return go_on.load(); });
        return Looks(&ends);
      });
      t.detach();
      go_on = true;
      ASSERT_TRUE(test::until([&] { return ends == i && num_fibers() == 1; }));
      EXPECT_EQ(Counted::alive, 0);
    }
  });
  EXPECT_EQ(Counted::alive, 0);
}

// Waits in its end.
struct Waits {
  std::atomic<int>* ends;
  explicit Waits(std::atomic<int>* of) : ends(of) {}
  Waits(Waits&& o) noexcept : ends(std::exchange(o.ends, nullptr)) {}
  ~Waits() {
    if (ends == nullptr) return;
    (void)after(1ms).recv();
    ++*ends;
  }
};
const fiber_local<std::optional<Waits>> waits_locally;

constexpr int kEnds = 3;

// A function that returns once it is asked to stop, with kEnds ends behind it: its own, its fiber_local's, and its result's.
auto asked_while_it_ends(std::atomic<int>& ends, std::atomic<bool>& begun) {
  return [&ends, &begun, capture = Waits(&ends)] {
    waits_locally->emplace(&ends);
    const std::stop_token token = this_fiber::stop_token();
    begun = true;
    test::until([&] { return token.stop_requested(); });
    return Waits(&ends);
  };
}

// start(f) starts f on a fiber, which the end of the run asks to stop.
template <class Start>
void expect_ends(const options& o, Start start) {
  std::atomic<int> ends{0};
  run(o, [&] {
    std::atomic<bool> begun{false};
    start(asked_while_it_ends(ends, begun));
    test::until([&] { return begun.load(); });
  });
  EXPECT_EQ(ends, kEnds);
}

TEST_P(Ends, OfFibersThatAreAskedMeanwhileWait) {
  expect_ends(opts(), [](auto f) { go(std::move(f)); });
  expect_ends(opts(), [](auto f) { spawn(std::move(f)).detach(); });
  expect_ends(opts(), [](auto f) { (void)after_func(0s, std::move(f)); });
  wait_group counts;
  expect_ends(opts(), [&](auto f) { counts.go(std::move(f)); });
  counts.wait();
}

TEST_P(Ends, OfTasksThatAreAskedMeanwhileWait) {
  in_fibers([] {
    std::atomic<int> ends{0};
    std::atomic<bool> begun{false};
    auto t = spawn(asked_while_it_ends(ends, begun));
    t.request_stop();
    (void)t.get();
    EXPECT_EQ(ends, kEnds);
    task_group g;
    g.spawn(asked_while_it_ends(ends, begun));
    g.request_stop();
    g.join();
    EXPECT_EQ(ends, 2 * kEnds);
  });
}

// A request that is due when the function throws.
TEST_P(Ends, OfAFunctionThatThrowsWait) {
  in_fibers([] {
    std::atomic<int> ends{0};
    auto t = spawn([capture = Waits(&ends)](const std::stop_token& token) {
      waits_locally->emplace(capture.ends);
      test::until([&] { return token.stop_requested(); });
      throw 5;
    });
    t.request_stop();
    EXPECT_THROW(t.get(), int);
    EXPECT_EQ(ends, 2);
  });
}

// TG3, where nothing can be thrown any more.
TEST_P(Ends, AGroupsHandsARequestOn) {
  in_fibers([] {
    std::atomic<int> asked{0};
    std::atomic<bool> returns{false};
    const auto waits = [&asked] {
      try {
        (void)chan<int>::nil().recv();
      } catch (const stopped&) {
        ++asked;
      }
    };
    const uint64_t before = stats().parks;
    auto t = spawn([&, group = std::make_unique<task_group>()] {
      group->spawn(waits);
      test::until([&] { return returns.load(); });
    });
    test::until([&] { return stats().parks > before; });
    returns = true;
    test::until([&] { return stats().parks > before + 1; });
    t.request_stop();
    t.get();
    EXPECT_EQ(asked, 1);
  });
}

TEST_P(Ends, OfTheMainFiberWait) {
  std::atomic<int> ends{0};
  in_fibers([&] { waits_locally->emplace(&ends); });
  EXPECT_EQ(ends, 1);
}

// Talks to another fiber in its end.
struct Talks {
  chan<int> there;
  chan<int> back;
  Talks(chan<int> to, chan<int> from) : there(std::move(to)), back(std::move(from)) {}
  ~Talks() {
    there.send(1);
    EXPECT_EQ(back.recv(), 2);
  }
};
const fiber_local<std::optional<Talks>> talks;

TEST_P(Ends, OfTheMainFibersLocalsComeBeforeTheOthersAreAskedToStop) {
  in_fibers([] {
    const chan<int> there;
    const chan<int> back;
    talks->emplace(there, back);
    go([there, back] {
      while (const auto n = there.recv()) back.send(*n + 1);
    });
  });
}

}  // namespace
}  // namespace gort
