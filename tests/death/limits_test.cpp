// What options::from_env() makes of the process's limits. In a process of its own each, since they are read once.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include "gort/run.hpp"

namespace gort {
namespace {

// Ends with 0 if that is the default under a limit of so many processes and threads.
[[noreturn]] void expect_max_threads(rlim_t limit, int threads) {
  rlimit now{};
  ::getrlimit(RLIMIT_NPROC, &now);
  now.rlim_cur = limit;
  if (::setrlimit(RLIMIT_NPROC, &now) != 0) ::_exit(2);
  ::unsetenv("GORT_MAX_THREADS");
  ::unsetenv("GORT_PROCS");
  ::_exit(options::from_env().max_threads == threads ? 0 : 1);
}

TEST(LimitsDeathTest, TheUsersLimitOfThreadsCapsTheDefault) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(expect_max_threads(3'000, 3'000), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(expect_max_threads(20'000, 10'000), testing::ExitedWithCode(0), "");
}

TEST(LimitsDeathTest, ThePsHaveTheirThreads) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        ::setenv("GORT_PROCS", "4", 1);
        ::unsetenv("GORT_MAX_THREADS");
        rlimit now{};
        ::getrlimit(RLIMIT_NPROC, &now);
        now.rlim_cur = 1;
        if (::setrlimit(RLIMIT_NPROC, &now) != 0) ::_exit(2);
        ::_exit(options::from_env().max_threads >= 4 ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace gort
