#include "sched/park_lock.hpp"

#include "base/mem.hpp"
#include "base/pause.hpp"
#include "sched/sched.hpp"

namespace gort {

namespace {
// As in Lock: a holder runs a few instructions, unless the kernel has descheduled it.
constexpr int kSpins = Mem::tries(100);
constexpr int64_t kSleepNs = 50'000;
constinit Atomic<uint32_t> nobody_wakes{0};
}  // namespace

[[gnu::cold]] void ParkLock::end_bias() noexcept {
  // relaxed: ordered by the fence. If somebody is faster we wait with him (H4).
  bias_.store(Bias::ending, std::memory_order_relaxed);
  chaos_point(ChaosPoint::bias_ending);
  os::fence_heavy();  // H3
  // acquire: pairs with the P's release; learns what was done under the bias.
  for (int i = 0; Mem::recheck(own_.load(std::memory_order_acquire)); ++i) {
    // Sleeping, not yielding: a holder of lower priority must get to run.
    if (i < kSpins) {
      cpu_pause();
    } else if (after_fork) {
      fatal_after_fork();  // FK1: its holder is not there
    } else {
      os::futexsleep(&nobody_wakes, 0, kSleepNs);
    }
  }
  // release: who reads `none` has seen what we have (H4).
  bias_.store(Bias::none, std::memory_order_release);
}

}  // namespace gort
