// Misuse that ends the process with a word on whose it was, and ends of the process that a runtime must stand.
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

class ExitDeathTest : public MisuseDeathTest {};

TEST_F(ExitDeathTest, AFiberMayEndTheProcess) {
  EXPECT_EXIT(run([] {
                auto other = spawn([] { (void)chan<int>::nil().recv(); });
                spawn([] { std::exit(7); }).join();
              }),
              ExitedWithCode(7), "");
}

// Whatever a map of settings was in is used again, by then.
void fill_what_was_freed() {
  constexpr size_t kBytesMax = 256;
  for (size_t bytes = 16; bytes <= kBytesMax; bytes += 16) {
    for (int i = 0; i < 16; ++i) std::memset(::operator new(bytes), 0xff, bytes);
  }
}

// SE2.
TEST_F(ExitDeathTest, AStaticObjectsEndMayRunFibers) {
  if (test::kSanitizers) GTEST_SKIP() << "what it leaves behind would be reported";
  EXPECT_EXIT(
      {
        setenv("GORT_DEBUG", "deadlock=on,updateprocs=1,schedtrace=0", 1);
        struct Late {
          ~Late() {
            fill_what_was_freed();
            if (run(options{.procs = 2}, [] { return spawn([] { return 5; }).get(); }) != 5) {
              _exit(1);
            }
          }
        };
        static const Late late;
        run([] {});
        std::exit(8);
      },
      ExitedWithCode(8), "");
}

}  // namespace
}  // namespace gort
