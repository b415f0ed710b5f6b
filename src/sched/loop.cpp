#include "sched/loop.hpp"

#include <cxxabi.h>

namespace gort {
void switch_final(M* m, G* from, G* to, After after) noexcept {
  depart(m, from, to, after, nullptr, SwitchKind::final);
  switch_context(from->context, to->context, m);
  fatal("G1: a dead fiber was continued", __FILE__, __LINE__);
}

void schedule_loop(M* m) noexcept {
  while (G* g = find_runnable(m)) {
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
  set_current_m(m);
}

void m_leave() noexcept {
  set_current_m(nullptr);
}

}  // namespace gort
