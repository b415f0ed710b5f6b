#include "sched/lock.hpp"

#include "base/mem.hpp"
#include "base/pause.hpp"
#include "sched/sched.hpp"

namespace gort {

alignas(64) constinit Atomic<uint32_t> lock_sleepers[64] = {};

namespace {
// Holders run a few instructions, so a short spin nearly always suffices; what ends it is a holder
// that the kernel has descheduled. 100 pauses are 1 to 4 us on the processors this was tried on.
constexpr int kSpins = Mem::tries(100);
}  // namespace

void Lock::lock_slow() noexcept {
  for (int i = 0; i < kSpins; ++i) {
    if (try_lock()) return;
    cpu_pause();
  }
  Atomic<uint32_t>& sleepers = sleepers_of(this);
  if (after_fork) fatal_after_fork();  // FK1: its holder is not there
  // relaxed: the heavy fence below orders it before our look at the word (L1).
  sleepers.fetch_add(1, std::memory_order_relaxed);
  chaos_point(ChaosPoint::lock_slow);
  os::fence_heavy();
  // acquire: as in lock().
  while (word_.exchange(1, std::memory_order_acquire) != 0) {
    os::futexsleep(&word_, 1, os::kForever);
  }
  // relaxed: a stale higher count costs a needless wake only.
  sleepers.fetch_sub(1, std::memory_order_relaxed);
}

void Lock::wake(Atomic<uint32_t>* word) noexcept {
  os::futexwakeup(word, 1);
}

}  // namespace gort
