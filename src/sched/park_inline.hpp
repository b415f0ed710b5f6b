// The park of a fiber, inline, for waits where the frames in between are worth saving (channels).
// What it does and why is in park.hpp.
#pragma once

#include "sched/loop.hpp"
#include "sched/park.hpp"

namespace gort {

// The far side of a park (R1); `wait` is the Wait.
void complete_park(M* m, G* g, void* wait) noexcept;

// S1, the fiber's half: nobody looks at our Wait once this has returned.
inline void close_wait(G* g) noexcept {
  g->wait.store(nullptr, std::memory_order_relaxed);  // relaxed: ordered by the fence
  chaos_point(ChaosPoint::park_left);
  os::fence_light();  // S1: the clearing before the look
  // acquire: pairs with the inspectors' release.
  while (__builtin_expect(Mem::recheck(g->inspectors.load(std::memory_order_acquire) != 0), 0)) {
    os::osyield();
  }
}

// park() for the fiber g, which runs on m and has its P. w.g is set, and w.cancel is nullptr while
// the fiber unwinds: a request is then thrown by its next ordinary wait.
inline WakeCause park_fiber(M* m, G* g, Wait& w) noexcept {
  m->p->counters.parks.add();
  switch_to(m, g, next_or_g0(m), complete_park, &w);
  close_wait(g);
  return w.cause;
}

}  // namespace gort
