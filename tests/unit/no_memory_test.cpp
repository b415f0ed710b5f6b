// What is done where malloc() has no memory: it is said, and nothing is left half done.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <new>
#include <optional>
#include <stop_token>
#include <system_error>

#include "gort/gort.hpp"
#include "support/allocations.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

class NoMemoryTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!test::allocations()) GTEST_SKIP() << "malloc is a sanitizer's";
  }
};

constexpr int64_t kAll = INT64_MAX;

// Each allocation of a run in turn: run() throws, or does without.
TEST_F(NoMemoryTest, RunThrowsAndLeavesNothing) {
  const test::Resources before;
  bool failed = true;
  int thrown = 0;
  for (int64_t but = 0; failed; ++but) {
    try {
      const test::NoMemory none(but, 1);
      EXPECT_EQ(run(options{.procs = 1}, [] { return 5; }), 5);
    } catch (const std::bad_alloc&) {
      ++thrown;
    } catch (const std::system_error& e) {
      EXPECT_EQ(e.code(), std::errc::not_enough_memory);
    }
    failed = test::NoMemory::has_failed();
    before.expect_unchanged();
    ASSERT_EQ(run(options{.procs = 1}, [] { return 6; }), 6) << but;
  }
  EXPECT_GT(thrown, 1);
}

TEST_F(NoMemoryTest, ATaskGroupThrowsWhereItIsMade) {
  run(options{.procs = 1}, [] {
    std::optional<task_group> g;
    const test::NoMemory none(0, kAll);
    EXPECT_THROW(g.emplace(), std::bad_alloc);
  });
}

// A join by a fiber needs a token.
TEST_F(NoMemoryTest, ATaskGroupsEndWaitsWithout) {
  run(options{.procs = 1}, [] {
    std::atomic<bool> go_on{false};
    bool ended = false;
    std::optional<task_group> g(std::in_place);
    g->spawn([&] {
      while (!go_on) yield();
      ended = true;
    });
    const test::NoMemory none(0, kAll);
    EXPECT_THROW(g->join(), std::bad_alloc);
    go_on = true;
    g.reset();
    EXPECT_TRUE(ended) << "its end waits without";
  });
}

// What a request has to do with a task's end is seen without one.
TEST_F(NoMemoryTest, ATaskEndsByStopped) {
  run(options{.procs = 1}, [] {
    task_group g;
    std::optional<test::NoMemory> none;
    std::atomic<G*> task{nullptr};
    g.spawn([&] {
      task = detail::this_g();
      try {
        (void)chan<int>::nil().recv();
      } catch (const stopped&) {
        none.emplace(0, kAll);
        throw;
      }
    });
    test::until([&] { return task.load() != nullptr; });
    yield();
    detail::fiber_request_stop(task);
    test::until([&] { return none.has_value() && num_fibers() == 1; });
    none.reset();
    g.join();
  });
}

}  // namespace
}  // namespace gort
