#include "sched/loop.hpp"

#include <cxxabi.h>

#include <utility>

#include "sched/preempt.hpp"
#include "sched/roll.hpp"

namespace gort {
void switch_final(M* m, G* from, G* to, After after) noexcept {
  depart(m, from, to, after, nullptr, SwitchKind::final);
  switch_context(from->context, to->context, m);
  fatal("G1: a dead fiber was continued", __FILE__, __LINE__);
}

void schedule_loop(M* m) noexcept {
  for (;;) {
    if (__builtin_expect(m->bond != Bond::no, 0)) {
      if (m->bond == Bond::over) return leave_with_thread(m);
      switch_to(m, &m->g0, next_of_locked(m), nullptr, nullptr);
      continue;
    }
    G* g = std::exchange(m->found, nullptr);
    if (g == nullptr) g = find_runnable(m);
    if (g == nullptr) return;
    if (__builtin_expect(g->bound_to != nullptr, 0)) {
      dispatch_bound(m, g);  // PR1
      continue;
    }
    P* p = m->p;
    p->counters.switches.add();
    switch_to(m, &m->g0, g, nullptr, nullptr);
  }
}

void m_enter(M* m) noexcept {
  m->g0.kind = GKind::g0;
  m->g0.state.store(GState::running, std::memory_order_relaxed);  // relaxed: nobody else looks
  m->cur = &m->g0;
  static_assert(sizeof(EhGlobals) == 16, "as large as abi::__cxa_eh_globals");
  // __cxa_get_globals() is declared const, so its value is taken once per M and kept there.
  m->eh = reinterpret_cast<EhGlobals*>(abi::__cxa_get_globals());
  sanitizer_thread_init(m->g0.sanitizer);
  set_current_m(m);  // in_runtime is set (RG1)
  roll_enter(m);
}

void m_leave() noexcept {
  roll_leave(current_m());
  set_current_m(nullptr);
}

}  // namespace gort
