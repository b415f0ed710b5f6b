// burn: using processor time, for tests of what measures it.
#pragma once

#include <ctime>

#include "support/scheduler_test.hpp"

namespace gort::test {

// So much of the thread's processor time, whatever else the machine does. Never waits, never calls gort.
[[gnu::always_inline]] inline void burn_here(int64_t ms) {
  const int64_t end = cpu_ns(CLOCK_THREAD_CPUTIME_ID) + ms * 1'000'000;
  while (cpu_ns(CLOCK_THREAD_CPUTIME_ID) < end) {
    for (int i = 0; i < 1000; ++i) asm volatile("" ::: "memory");
  }
}

}  // namespace gort::test
