// The models' loop: takes the place of src/sched/loop.hpp for park.cpp and what is built on it.
//
// Each fiber of a program is a thread under the checker, and has an M and a P of its own. Its M is another
// thread, which does what the far side does: so the fiber may be woken, and go on, while the far side
// is still at work, as it may on another M in life.
#pragma once

#include "port/fiber.hpp"
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

inline M* switch_to(M* m, G* from, G*, After after, void* arg) noexcept {
  ModelFiber& fiber = ModelFiber::of(from);
  fiber.leave_to_far_side(after, arg);  // comes back when somebody has made it ready
  set_state(from, GState::running);
  return m;
}

}  // namespace gort
