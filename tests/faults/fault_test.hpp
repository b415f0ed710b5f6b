// fault_test: what the tests under faults share: what a process holds, before and after; and a limit on
// waiting that names the fault.
#pragma once

#include <gtest/gtest.h>
#include <malloc.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "layer/faults.hpp"
#include "support/scheduler_test.hpp"
#include "workload.hpp"

namespace gort::faults {

// What a process holds. A run under faults must give everything back.
struct Holdings {
  int fds = 0;
  int threads = 0;
  size_t address_bytes = 0;

  static Holdings now() {
    Holdings h;
    h.fds = test::entries_of("/proc/self/fd");
    h.threads = test::entries_of("/proc/self/task");
    std::ifstream statm("/proc/self/statm");
    size_t pages = 0;
    statm >> pages;
    h.address_bytes = pages * static_cast<size_t>(sysconf(_SC_PAGESIZE));
    return h;
  }
};

// A hang is a failure that says under which fault it came.
class Watchdog {
 public:
  explicit Watchdog(unsigned seconds = 60) {
    std::signal(SIGALRM, [](int) {
      static constexpr char kText[] = "hangs under the fault: ";
      if (write(2, kText, sizeof kText - 1) < 0 || write(2, label, std::strlen(label)) < 0 ||
          write(2, "\n", 1) < 0) {
        _exit(1);
      }
      std::abort();
    });
    alarm(seconds);
  }
  ~Watchdog() { alarm(0); }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  static void name(const std::string& text) {
    std::snprintf(label, sizeof label, "%s", text.c_str());
  }

 private:
  static inline char label[128] = "none";
};

class FaultTest : public testing::Test {
 protected:
  FaultTest() {
    // Each arena of malloc reserves 64 MiB of addresses, as much as a slab of stacks.
    mallopt(M_ARENA_MAX, 1);
    // What is made once in a process is no leak. The second run finds the caches of the first.
    for (int i = 0; i < 2; ++i) {
      Outcome quiet;
      run_workload(quiet);
      EXPECT_TRUE(quiet.refusals.empty() && quiet.mistakes.empty()) << "without any fault:\n"
                                                                    << quiet.text();
    }
    before_ = Holdings::now();
  }

  void expect_nothing_left(const std::string& after) {
    EXPECT_EQ(num_fibers(), 0U) << after;
    Holdings now = Holdings::now();
    // A thread that has been joined may stand in /proc for a moment longer.
    const int64_t end = test::now_ns() + std::chrono::nanoseconds(test::kPatience).count();
    while (now.threads > before_.threads && test::now_ns() < end) {
      std::this_thread::yield();
      now = Holdings::now();
    }
    EXPECT_EQ(now.threads, before_.threads) << "threads leaked: " << after;
    EXPECT_EQ(now.fds, before_.fds) << "descriptors leaked: " << after;
    // Less than a slab of stacks. Sanitizers map what they like.
    constexpr size_t kSlack = size_t{48} << 20;
    if (!test::kSanitizers) {
      EXPECT_LT(now.address_bytes, before_.address_bytes + kSlack) << "mappings leaked: " << after;
    }
  }

  Watchdog watchdog_;
  Holdings before_;
};

}  // namespace gort::faults
