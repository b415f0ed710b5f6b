// Misuse that ends the process, with a word on whose it was.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>

#include "gort/gort.hpp"
#include "support/sanitized.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using testing::ExitedWithCode;
using testing::KilledBySignal;

class MisuseDeathTest : public testing::Test {
 protected:
  MisuseDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(MisuseDeathTest, ATaskDestroysItsGroup) {
  EXPECT_EXIT(run([] {
                auto* g = new task_group;
                g->spawn([g] { delete g; });
                for (;;) yield();
              }),
              KilledBySignal(SIGABRT),
              "gort: fatal: a task_group is destroyed by one of its own tasks");
}

TEST_F(MisuseDeathTest, ALateDetachNamesTheFiberThatThrew) {
  EXPECT_EXIT(run([] {
                auto t = spawn(attrs{.name = "thrower"}, [] { throw std::runtime_error("late"); });
                test::until([&] { return t.done(); });
                t.detach();
              }),
              KilledBySignal(SIGABRT), "an exception left fiber [0-9]+ \"thrower\": late");
}

TEST_F(MisuseDeathTest, ATaskIsDetachedBesideItsJoiner) {
  EXPECT_EXIT(run([] {
                auto t = spawn([] { (void)chan<int>::nil().recv(); });
                auto joiner = spawn([&t] { t.join(); });
                test::until([] { return stats().parks >= 2; });
                t.detach();
                _exit(0);
              }),
              KilledBySignal(SIGABRT), "gort: fatal: a task is detached while somebody joins it");
}

}  // namespace
}  // namespace gort
