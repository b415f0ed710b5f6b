// The models' loop: takes the place of src/sched/loop.hpp for park.cpp and what is built on it.
//
// Each fiber of a program is a thread under the checker, and has an M and a P of its own. Its M is another
// thread, which does what the far side does: so the fiber may be woken, and go on, while the far side
// is still at work, as it may on another M in life.
#pragma once

#include "port/fiber.hpp"
#include "port/machine.hpp"
#include "sched/current.hpp"
#include "sched/find.hpp"
#include "sched/idle.hpp"
#include "sched/p.hpp"
#include "sched/sched.hpp"

namespace gort {

using After = void (*)(M* m, G* left, void* arg);

[[nodiscard]] inline G* next_or_g0(M* m) noexcept {
  return &m->g0;
}

// Fibers that spawn.cpp has made run on machines (port/machine.hpp), whose switches are those of life.
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

inline M* switch_to(M* m, G* from, G* to, After after, void* arg) noexcept {
  if (!on_machine(m)) {
    ModelFiber& fiber = ModelFiber::of(from);
    fiber.leave_to_far_side(after, arg);  // comes back when somebody has made it ready
    set_state(from, GState::running);
    return m;
  }
  depart(m, from, to, after, arg, SwitchKind::returns);
  M* now = static_cast<M*>(switch_context(from->context, to->context, m));
  arrive(now);
  return now;
}

[[noreturn]] inline void switch_final(M* m, G* from, G* to, After after) noexcept {
  depart(m, from, to, after, nullptr, SwitchKind::final);
  switch_context(from->context, to->context, m);
  fatal("G1: a dead fiber was continued", __FILE__, __LINE__);
}

}  // namespace gort
