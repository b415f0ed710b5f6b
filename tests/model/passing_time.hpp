// For programs on machines whose fibers wait with time limits.
#pragma once

#include <cstdint>

#include "checker/checker.hpp"
#include "sched/park.hpp"
#include "sched/sched.hpp"

namespace gort {

// Time passes as long as this lives: whatever is armed on that machine before `now_ns` fires, sooner or later.
class PassingTime {
 public:
  PassingTime(size_t machine, int64_t now_ns)
      : thread_([this, machine, now_ns] {
          // relaxed: it is no news.
          while (!over_.load(std::memory_order_relaxed)) {
            {
              const Visitor visit;
              if (runtime_alive()) {
                (void)sched().procs[machine].timers.run(now_ns, [](G* g) { ready(g); });
              }
            }
            model::pause();
          }
        }) {}
  ~PassingTime() {
    over_.store(true, std::memory_order_relaxed);  // relaxed: as above
    thread_.join();
  }
  PassingTime(const PassingTime&) = delete;
  PassingTime& operator=(const PassingTime&) = delete;

 private:
  model::atomic<bool> over_{false};
  model::Thread thread_;
};

}  // namespace gort
