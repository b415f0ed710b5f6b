// scheduler_test: tests whose bodies run inside the scheduler, once for each number of Ps, and that
// fail on whatever outlives the run: fibers, threads, descriptors, stacks.
//
//     class Spawn : public test::SchedulerTest {};
//     GORT_ON_EVERY_PROCS(Spawn);
//     TEST_P(Spawn, DoesThis) { in_fibers([] { ... }); }
#pragma once

#include <dirent.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>

#include "gort/fiber.hpp"
#include "gort/run.hpp"
#include "support/random.hpp"
#include "support/sanitized.hpp"

namespace gort::test {

// Much longer than anything that works may take, also on a busy machine.
inline constexpr std::chrono::seconds kPatience{30};

inline int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

inline int64_t cpu_ns(clockid_t clock = CLOCK_PROCESS_CPUTIME_ID) {
  timespec t{};
  clock_gettime(clock, &t);
  return t.tv_sec * int64_t{1'000'000'000} + t.tv_nsec;
}

// Gives way until the condition holds. False, and a failed test, when it never does.
template <class Pred>
bool until(Pred&& pred) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!pred()) {
    if (std::chrono::steady_clock::now() > end) {
      ADD_FAILURE() << "what the test waits for has not come";
      return false;
    }
    yield();
  }
  return true;
}

// The same without ever reaching the scheduler: the fiber keeps its thread and its P.
template <class Pred>
bool spin_until(Pred&& pred, std::chrono::nanoseconds limit = kPatience) {
  const int64_t end = now_ns() + limit.count();
  while (!pred()) {
    if (now_ns() > end) return false;
  }
  return true;
}

inline int entries_of(const char* directory) {
  DIR* d = opendir(directory);
  if (d == nullptr) return -1;
  int n = 0;
  while (const dirent* e = readdir(d)) n += e->d_name[0] != '.' ? 1 : 0;
  closedir(d);
  return n;
}

// True if the address belongs to no mapping.
inline bool unmapped(const void* address) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  unsigned char resident;
  return mincore(reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(address) & ~(page - 1)), 1,
                 &resident) != 0 &&
         errno == ENOMEM;
}

// What a run must leave as it was.
class Resources {
 public:
  Resources() {
    warm_up();
    threads_ = entries_of("/proc/self/task");
    fds_ = entries_of("/proc/self/fd");
  }
  void expect_unchanged() const {
    EXPECT_EQ(num_fibers(), 0U);
    EXPECT_EQ(procs(), 0);
    EXPECT_EQ(entries_of("/proc/self/fd"), fds_) << "descriptors were leaked";
    // A thread that has been joined may stand in /proc for a moment longer, also when we counted first.
    const int64_t end = now_ns() + std::chrono::nanoseconds(kPatience).count();
    while (entries_of("/proc/self/task") > threads_ && now_ns() < end) std::this_thread::yield();
    EXPECT_LE(entries_of("/proc/self/task"), threads_) << "threads were leaked";
  }

 private:
  // What is made once in a process (a sanitizer's own thread, caches of libc) is no leak.
  static void warm_up() {
    static const bool done = [] {
      std::thread([] {}).join();
      run(options{.procs = 2}, [] { go([] {}); });
      return true;
    }();
    (void)done;
  }
  int threads_;
  int fds_;
};

class SchedulerTest : public testing::TestWithParam<int> {
 protected:
  [[nodiscard]] int nprocs() const { return GetParam(); }
  [[nodiscard]] options opts() const { return options{.procs = GetParam()}; }

  template <class F>
  void in_fibers(F&& body) {
    in_fibers(opts(), std::forward<F>(body));
  }
  template <class F>
  void in_fibers(const options& o, F&& body) {
    const Resources before;
    const void* stack = nullptr;
    run(o, [&] {
      const char here = 0;
      stack = &here;
      body();
    });
    before.expect_unchanged();
    if (!kSanitizers) {
      EXPECT_TRUE(unmapped(stack)) << "stacks were leaked";
    }
  }
};

}  // namespace gort::test

#define GORT_ON_EVERY_PROCS(suite)               \
  INSTANTIATE_TEST_SUITE_P(                      \
      Procs, suite, testing::Values(1, 2, 4, 8), \
      [](const testing::TestParamInfo<int>& info) { return std::to_string(info.param); })
