// When the whole machine stood still: a virtual one is now and then not run for some 20 to 40 ms, on all of its processors at once, and
// no clock of its own tells. A thread of its own, which only ever sleeps for a millisecond, is that late then.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "support/scheduler_test.hpp"

namespace gort::test {

// What a thread with nothing to do is late by among busy ones is less: no kernel leaves a sleeper waiting behind its equals for so long.
inline constexpr int64_t kStandstillNs = 10'000'000;

class Standstills {
 public:
  Standstills() : thread_([this] { watch(); }) {}
  ~Standstills() { end(); }
  Standstills(const Standstills&) = delete;
  Standstills& operator=(const Standstills&) = delete;

  // How much of the time between the two the machine stood still. Ends the watch.
  int64_t within(int64_t from_ns, int64_t to_ns) {
    end();
    int64_t sum = 0;
    for (const Span& s : seen_) {
      sum += std::max<int64_t>(0, std::min(to_ns, s.to_ns) - std::max(from_ns, s.from_ns));
    }
    return sum;
  }

 private:
  struct Span {
    int64_t from_ns, to_ns;
  };

  void watch() {
    while (!over_.load()) {
      const int64_t due = now_ns() + 1'000'000;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      if (const int64_t now = now_ns(); now - due >= kStandstillNs) seen_.push_back({due, now});
    }
  }
  void end() {
    over_.store(true);
    if (thread_.joinable()) thread_.join();
  }

  std::atomic<bool> over_{false};
  std::vector<Span> seen_;
  std::thread thread_;
};

}  // namespace gort::test
