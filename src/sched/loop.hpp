// loop: the switch between fibers, and the way every M goes round.
//
// The switch is inline, and what calls it is flat, so that a fiber that comes back returns through
// as few frames as possible (context.hpp says why that matters).
#pragma once

#include "sched/chaos.hpp"
#include "sched/current.hpp"
#include "sched/find.hpp"
#include "sched/idle.hpp"
#include "sched/p.hpp"
#include "sched/sched.hpp"

namespace gort {

// What the far side does for the G that was left; runs on the stack that was entered.
using After = void (*)(M* m, G* left, void* arg);

// A pair of fibers that wake each other through P::next must not starve the queue: after this many
// turns in a row the queue's head goes first. 16 keeps the pair's data hot and costs the others
// little.
inline constexpr uint32_t kNextStreakMax = 16;

// Under chaos: how often the ladder is due at once.
inline constexpr unsigned kLadderOneIn = 8;

// First thing on the stack that was entered: completes the switch (R1 in park.hpp).
inline void arrive(M* m) noexcept {
  G* left = m->left;
  sanitizer_after_switch(m->cur->sanitizer, left->sanitizer);
  if (After after = m->after; after != nullptr) after(m, left, m->after_arg);
}

inline void depart(M* m, G* from, G* to, After after, void* arg, SwitchKind kind) noexcept {
  from->eh = *m->eh;
  m->left = from;
  m->after = after;
  m->after_arg = arg;
  m->cur = to;
  if (to->kind == GKind::fiber) set_state(to, GState::running);
  *m->eh = to->eh;
  sanitizer_before_switch(from->sanitizer, to->sanitizer, kind);
}

// Leaves `from` (the current G) for `to`, which must be runnable or this M's g0. Comes back when
// somebody switches to `from` again; returns the M it then runs on, perhaps another: the caller
// reads nothing of the old one afterwards. Inside a region on both sides (RG2).
inline M* switch_to(M* m, G* from, G* to, After after, void* arg) noexcept {
  depart(m, from, to, after, arg, SwitchKind::returns);
  M* now = static_cast<M*>(switch_context(from->context, to->context, m));
  arrive(now);
  return now;
}

// The last switch of a fiber that ends.
[[noreturn]] void switch_final(M* m, G* from, G* to, After after) noexcept;

// The next fiber to run without leaving fiber context, or g0 when the ladder is due or nothing is
// here.
[[nodiscard]] inline G* next_or_g0(M* m) noexcept {
  P* p = m->p;
  if (chaos_one_in(kLadderOneIn)) p->countdown = 1;
  if (--p->countdown == 0) return &m->g0;
  G* g = take_next(p, kNextStreakMax);
  if (g == nullptr) return &m->g0;
  p->counters.switches.add();
  if (!p->alone && !p->runq.empty_for_owner()) wake_if_idle();
  if (__builtin_expect(g->bound_to != nullptr, 0)) {
    m->found = g;  // PR1: g0 gives its M the P
    return &m->g0;
  }
  return g;
}

// Makes this thread the M, and undoes it.
void m_enter(M* m) noexcept;
void m_leave() noexcept;

// The loop of an M: finds a fiber, runs it, until the runtime exits. On g0.
void schedule_loop(M* m) noexcept;

}  // namespace gort
