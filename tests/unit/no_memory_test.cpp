// What is done where malloc() has no memory: it is said, and nothing is left half done.
#include <gtest/gtest.h>

#include <cstdint>
#include <new>
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

}  // namespace
}  // namespace gort
