// What preemption promises about time: with a fiber in an empty loop on every P, another one that wants to run every
// millisecond is late by 1.5 slices at the 99th percentile and by 3 at the most. bench/hog_bench.cpp goes on for longer,
// with more hogs, and with Go beside it. What the whole machine stood still meanwhile is not counted.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <future>
#include <thread>
#include <vector>

#include "gort/spawn.hpp"
#include "gort/stats.hpp"
#include "support/scheduler_test.hpp"
#include "support/standstill.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr auto kSlice = 10ms;
constexpr auto kTime = 2s;
constexpr double kP99SlicesMax = 1.5;
constexpr double kSlicesMax = 3;

// Ends the hogs if nobody else does: without preemption, whoever would is never run.
class LastResort {
 public:
  explicit LastResort(std::atomic<bool>& over)
      : thread_([&over, ended = ended_.get_future()] {
          if (ended.wait_for(test::kPatience) == std::future_status::timeout)
            over.store(true, std::memory_order_relaxed);
        }) {}
  ~LastResort() {
    ended_.set_value();
    thread_.join();
  }
  LastResort(const LastResort&) = delete;
  LastResort& operator=(const LastResort&) = delete;

 private:
  std::promise<void> ended_;
  std::thread thread_;
};

void one_hog_for_each_of(int procs) {
  if (test::kSanitizers) GTEST_SKIP() << "a sanitizer takes its time";
  run({.procs = procs, .slice = kSlice}, [procs] {
    std::atomic<bool> over{false};
    const LastResort last_resort(over);
    test::Standstills standstills;
    std::vector<task<void>> hogs;
    for (int i = 0; i < procs; ++i) {
      hogs.push_back(spawn([&over] {
        while (!over.load(std::memory_order_relaxed)) {
        }
      }));
    }
    struct Wish {
      int64_t due_ns, granted_ns;
    };
    std::vector<Wish> wishes;
    for (const auto end = steady_clock::now() + kTime; steady_clock::now() < end;) {
      const auto due = steady_clock::now() + 1ms;
      sleep_until(due);
      wishes.push_back({due.time_since_epoch().count(), test::now_ns()});
    }
    over.store(true, std::memory_order_relaxed);
    for (auto& h : hogs) h.join();
    std::vector<double> slices;  // the delays
    for (const Wish& w : wishes) {
      const int64_t late_ns = w.granted_ns - w.due_ns - standstills.within(w.due_ns, w.granted_ns);
      slices.push_back(static_cast<double>(late_ns) /
                       static_cast<double>(std::chrono::nanoseconds(kSlice).count()));
    }
    std::sort(slices.begin(), slices.end());
    const double p99 = slices[slices.size() * 99 / 100];
    std::printf(
        "%d Ps: %zu wishes, delays in slices of 10 ms: p50 %.2f, p99 %.2f, longest %.2f; %llu "
        "preemptions\n",
        procs, slices.size(), slices[slices.size() / 2], p99, slices.back(),
        static_cast<unsigned long long>(stats().preemptions));
    EXPECT_GT(stats().preemptions, 0U);
    EXPECT_LE(p99, kP99SlicesMax) << "p99 of the delay, in slices";
    EXPECT_LE(slices.back(), kSlicesMax) << "the longest delay, in slices";
  });
}

TEST(HogAlone, OneOnOneP) {
  one_hog_for_each_of(1);
}
TEST(HogAlone, OneOnEachOfTwoPs) {
  one_hog_for_each_of(2);
}

}  // namespace
}  // namespace gort
