// outcomes: how waits with a limit have ended, for stresses that must see both ends.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>

#include "support/random.hpp"
#include "support/scheduler_test.hpp"

namespace gort::test {

// Waits go on until the time is over and both ends have been seen; patience ends them in any case.
class Outcomes {
 public:
  bool add(bool in_time) {
    ++(in_time ? in_time_ : too_late_);
    return in_time;
  }
  [[nodiscard]] bool both() const { return in_time_.load() != 0 && too_late_.load() != 0; }
  [[nodiscard]] bool wanted() const {
    return clock_.running() || (!both() && std::chrono::steady_clock::now() < patience_);
  }
  void expect_both() const {
    EXPECT_GT(in_time_.load(), 0);
    EXPECT_GT(too_late_.load(), 0);
  }
  [[nodiscard]] int64_t in_time() const { return in_time_.load(); }

 private:
  StressClock clock_;
  std::chrono::steady_clock::time_point patience_ = std::chrono::steady_clock::now() + kPatience;
  std::atomic<int64_t> in_time_{0};
  std::atomic<int64_t> too_late_{0};
};

}  // namespace gort::test
