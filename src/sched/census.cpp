#include "sched/census.hpp"

#include "base/thread_safety.hpp"
#include "sched/chaos.hpp"
#include "sched/current.hpp"
#include "sched/idle.hpp"
#include "sched/sysmon.hpp"

namespace gort {

uint64_t count_fibers() noexcept {
  Sched& s = sched();
  uint64_t ended = 0;
  uint64_t spawned = 0;
  ended += s.foreign_ended.get_acquire();
  for (const P& p : s.all_procs()) ended += p.counters.ended.get_acquire();  // B4: first
  // Asked for anew: what an end that was counted knows of may have begun on a P that has been made since.
  for (const P& p : s.all_procs()) spawned += p.counters.spawned.get_acquire();
  spawned += s.foreign_spawned.get_acquire();
  return spawned - ended;
}

void exit_if_last() noexcept {
  Sched& s = sched();
  chaos_point(ChaosPoint::last_fiber);
  {
    LockGuard guard(s.lock);
    // relaxed: under the lock.
    if (s.phase.load(std::memory_order_relaxed) != Phase::stopping || count_fibers() != 0) return;
    // relaxed: others look under the lock, or behind a note.
    s.phase.store(Phase::exiting, std::memory_order_relaxed);
  }
  chaos_point(ChaosPoint::run_ending);
  wake_all_idle();
  chaos_point(ChaosPoint::run_ending);
  s.exit_note.wake();
}

bool admit_foreign() noexcept {
  Sched& s = sched();
  LockGuard guard(s.lock);
  const Phase phase = s.phase.load(std::memory_order_relaxed);  // relaxed: under the lock
  if (phase == Phase::exiting || (phase != Phase::running && current_m() == nullptr)) return false;
  s.foreign_spawned.add();
  ++s.foreign_births;
  return true;
}

void end_birth() noexcept {
  Sched& s = sched();
  {
    LockGuard guard(s.lock);
    --s.foreign_births;
  }
  wake_sysmon();
}

void dismiss_foreign() noexcept {
  Sched& s = sched();
  {
    LockGuard guard(s.lock);
    s.foreign_ended.add_release();  // B4
    --s.foreign_births;
  }
  wake_sysmon();  // as in end_birth()
  // As in count_end(): the count, a light fence, and behind it a relaxed look.
  os::fence_light();
  if (s.phase.load(std::memory_order_relaxed) != Phase::running) exit_if_last();
}

}  // namespace gort
