#include "sched/syscall.hpp"

#include <utility>

#include "sched/chaos.hpp"
#include "sched/find.hpp"
#include "sched/idle.hpp"
#include "sched/loop.hpp"
#include "sched/park.hpp"

namespace gort {
namespace {

// On g0 of an M without a P: the fiber gets in line for one, as one that a thread makes ready (I1).
void queue_after(M*, G* g, void*) noexcept {
  GList one;
  one.push_back(g);
  ready_list_global(one);
}

void count(int change) noexcept {
  Sched& s = sched();
  LockGuard guard(s.lock);
  s.blocking_count += change;
}

}  // namespace

bool enter_blocking() noexcept {
  chaos_preempt();
  M* m = current_m();
  if (m == nullptr || m->cur->kind != GKind::fiber || m->p == nullptr) return false;
  m->cur->reason = WaitReason::blocking;
  // PR7. It ends with the next region: where f calls gort, or leave_blocking() does.
  if (lend_p(m)) return true;
  m->cur->handed_off = true;
  count(+1);
  count_lost_turn(m->p);
  hand_off_p(m);
  return true;
}

M* reenter_from_blocking() noexcept {
  M* m = current_m();
  if (m->p != nullptr) return m;
  chaos_point(ChaosPoint::blocking_back);
  if (try_take_idle_p(m) == nullptr) {
    switch_to(m, m->cur, &m->g0, queue_after, nullptr);
    m = current_m();
  }
  // D2: from here on it is a fiber like others, which may wait for ever.
  if (std::exchange(m->cur->handed_off, false)) count(-1);
  return m;
}

void leave_blocking() noexcept {
  const M* const m = current_m();
  if (m == nullptr) return;  // FK1: in the child of a fork
  if (m->cur->handed_off) reenter_from_blocking();
}

}  // namespace gort
