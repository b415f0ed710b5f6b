// How Ms end. The last fiber's end sets the phase to exiting, under Sched::lock, and then wakes every M that is
// idle (exit_if_last() in census.cpp); from there on:
//
//   X1  No M goes to sleep: idle() looks at the phase under the lock, where wake_all_idle() takes those off the
//       list that came before. Who has taken an M off the list for work still wakes it, with a P: such an M
//       comes by idle() when it has found nothing.
//   X2  No thread is made: start_m() looks at the phase under the lock, and is counted in m_starting before it lets
//       go of it. So once m_starting is 0, every M there will ever be is on the list all_m.
//   X3  An M is freed when its thread has ended. Others may be about to touch it until they have woken it, and it
//       does not end before.
//   X4  Ps change hands no more: a P may still name the M that has held it last, which may be gone.
//
// Rejected: joining Ms as they end (each would need somebody who waits for it); detached threads that count
// themselves out (the last steps of a thread come after the count, on a stack that is freed by then).
#include "sched/exit.hpp"

#include "base/mem.hpp"
#include "base/thread_safety.hpp"
#include "os/os.hpp"
#include "sched/sched.hpp"

namespace gort {
namespace {

// X2.
void await_starting(Sched& s) noexcept {
  for (;;) {
    {
      LockGuard guard(s.lock);
      if (!Mem::recheck(s.m_starting != 0)) return;
    }
    os::osyield();
  }
}

}  // namespace

void join_ms(Sched& s) noexcept {
  await_starting(s);
  for (;;) {
    M* m;
    {
      LockGuard guard(s.lock);
      m = s.all_m;
      if (m != nullptr) s.all_m = m->all_link;
    }
    if (m == nullptr) return;
    if (m != s.main_m) os::mdestroy(m->os);  // X3
    delete m;
  }
}

}  // namespace gort
