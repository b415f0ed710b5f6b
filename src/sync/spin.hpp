// spin: whether it may pay to look again before one parks for a lock.
#pragma once

#include "base/mem.hpp"
#include "base/pause.hpp"
#include "sched/current.hpp"
#include "sched/sched.hpp"

namespace gort {

inline constexpr int64_t kPatienceNs = 1'000'000;    // Go's starvationThresholdNs
inline constexpr int kSpinRounds = Mem::tries(4);    // Go's active_spin
inline constexpr int kSpinPauses = Mem::delays(30);  // Go's active_spin_cnt

// Spinning pays only if the owner is running on another processor meanwhile and we keep nobody
// waiting. Who the owner is we do not know; Go's guess is that of several busy Ps one has it.
inline bool may_spin() noexcept {
  const M* m = current_m();
  if (m == nullptr) return os::system_info().cpus > 1;
  const P* p = m->p;
  if (p == nullptr || p->alone) return false;
  // relaxed: guesses, all of them.
  if (p->next.load(std::memory_order_relaxed) != nullptr || !p->runq.empty()) return false;
  const Sched& s = sched();
  // relaxed: guesses, too.
  return s.idle_p_count.load(std::memory_order_relaxed) +
             s.spinning.load(std::memory_order_relaxed) <
         s.procs_in_use.load(std::memory_order_relaxed) - 1;
}

inline void spin_round() noexcept {
  for (int i = 0; i < kSpinPauses; ++i) cpu_pause();
}

}  // namespace gort
