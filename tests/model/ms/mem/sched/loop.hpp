// The loop of a world of Ms (ms/world.hpp): takes the place of src/sched/loop.hpp. Only what switches stacks is
// other: a fiber is a thread of the checker, which the M's thread waits for while the fiber runs.
#pragma once

#include "ms/world.hpp"
#include "sched/current.hpp"
#include "sched/find.hpp"
#include "sched/idle.hpp"
#include "sched/p.hpp"
#include "sched/sched.hpp"

namespace gort {

using After = void (*)(M* m, G* left, void* arg);

inline constexpr uint32_t kNextStreakMax = 16;

// As in src/sched/loop.hpp.
[[nodiscard]] inline G* next_or_g0(M* m) noexcept {
  P* p = m->p;
  if (--p->countdown == 0) return &m->g0;
  G* g = take_next(p, kNextStreakMax);
  if (g == nullptr) return &m->g0;
  p->counters.switches.add();
  if (!p->alone && !p->runq.empty_for_owner()) wake_if_idle();
  if (g->bound_to != nullptr) {
    m->found = g;  // PR1
    return &m->g0;
  }
  return g;
}

inline M* switch_to(M* m, G* from, G* to, After after, void* arg) noexcept {
  m->after = after;
  m->after_arg = arg;
  m->cur = to;
  return MsFiber::of(from).leave(m);
}

void m_enter(M* m) noexcept;
void m_leave() noexcept;
void schedule_loop(M* m) noexcept;

}  // namespace gort
