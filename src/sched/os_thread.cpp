// Fibers that are locked to their threads (gort/os_thread.hpp): how the bond of PR8 in preempt.hpp is made and ends. What
// follows from it is in preempt.cpp.
#include "gort/os_thread.hpp"

#include "sched/current.hpp"
#include "sched/preempt.hpp"
#include "sched/region.hpp"
#include "sched/sched.hpp"

namespace gort {

void lock_to_m(M* m) noexcept {
  G* const g = m->cur;
  if (g->thread_locks++ != 0) return;
  g->bound_to = m;
  m->bonded = g;
  m->bond = Bond::locked;
  if (m->p != nullptr) m->p->countdown = 1;
}

void unlock_from_m(M* m) noexcept {
  G* const g = m->cur;
  if (g->thread_locks == 0 || --g->thread_locks != 0) return;
  g->bound_to = nullptr;
  m->bonded = nullptr;
  m->bond = Bond::no;
}

void end_lock(M* m, G* g) noexcept {
  g->thread_locks = 0;
  g->bound_to = nullptr;
  m->bonded = nullptr;
  m->bond = m == sched().main_m ? Bond::no : Bond::over;
}

void lock_os_thread() noexcept {
  const Region in;
  if (current_fiber() != nullptr) lock_to_m(current_m());
}

void unlock_os_thread() noexcept {
  const Region in;
  if (current_fiber() != nullptr) unlock_from_m(current_m());
}

}  // namespace gort
