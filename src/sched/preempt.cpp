#include "sched/preempt.hpp"

#include "base/mem.hpp"
#include "base/thread_safety.hpp"
#include "sched/find.hpp"
#include "sched/idle.hpp"
#include "sched/loop.hpp"
#include "sched/netpoll_internal.hpp"
#include "sched/park.hpp"
#include "sched/sched.hpp"

namespace gort {
namespace {

constexpr size_t kSparesStackBytes = 128 * 1024;

// Whether anybody waits for this P.
bool others_wait(Sched& s, const P* p) noexcept {
  return p->next.load(std::memory_order_relaxed) != nullptr ||
         !p->runq.empty() ||  // relaxed: a look
         s.globq_size() != 0;
}

// Back to where it was taken from, more or less: it comes next.
void push_front(P* p, G* g) noexcept {
  // release: publishes the fiber to thieves; whoever takes the P over knows of it anyway.
  G* const old = p->next.exchange(g, std::memory_order_release);
  if (old != nullptr) push_queue(p, old);
}

// An idle M, taken off its list, or nullptr.
M* take_sleeper(Sched& s, MSleep* how) noexcept GORT_REQUIRES(s.lock) {
  M* const m = s.idle_m != nullptr ? s.idle_m : s.poller_m;
  if (m == nullptr) return nullptr;
  *how = m->sleep;
  take_off_idle_list(s, m);
  m->search = MSearch::no;
  return m;
}

// The M that takes the P next, or nullptr (PR3). The fiber that comes next is taken out if it is bound.
M* next_holder(Sched& s, P* p, MSleep* how) noexcept {
  *how = MSleep::note;
  G* g = take_next(p, UINT32_MAX);
  M* m = nullptr;
  {
    LockGuard guard(s.lock);
    if (g == nullptr) g = s.globq.pop();
    if (g == nullptr || g->bound_to == nullptr) m = take_sleeper(s, how);
  }
  if (g == nullptr) return m;
  if (g->bound_to != nullptr) {
    set_state(g, GState::running);
    return g->bound_to;
  }
  push_front(p, g);
  if (m == nullptr) {
    // An M on its way to sleep may have looked while the fiber was out. seq_cst: I1.
    Mem::fence(std::memory_order_seq_cst);
    wake_if_idle();
  }
  return m;
}

void give(P* p, M* to, MSleep how) noexcept {
  p->m.store(nullptr, std::memory_order_relaxed);  // relaxed: a hint (PR5)
  to->next_p = p;
  if (how == MSleep::poller) {
    netpoll_break();
  } else {
    to->note.wake();
  }
}

// PR4. The fiber gives its P away, if anybody wants it, and sleeps until it has one again. Inside a region.
void give_way(M* m) noexcept {
  Sched& s = sched();
  P* const p = m->p;
  G* const g = m->cur;
  if (p == nullptr || g->kind != GKind::fiber) return;
  wake_expired(p);
  if (!others_wait(s, p)) return;
  MSleep how;
  M* const to = next_holder(s, p, &how);
  if (to == nullptr) return request_spare();
  p->counters.preempts.add();
  m->p = nullptr;
  g->bound_to = m;  // PR1
  set_state(g, GState::runnable);
  {
    LockGuard guard(s.lock);
    s.globq.push(g);  // behind all who wait, as in Go
  }
  give(p, to, how);
  m->note.sleep();  // PR2
  P* const mine = m->next_p;
  m->next_p = nullptr;
  g->bound_to = nullptr;
  take_p(m, mine);
  m->seen_turns = mine->turns();
}

// A fiber without a P, whose thread has been let go on: gets one, or waits in line for it.
void get_p_again(M* m) noexcept {
  Sched& s = sched();
  if (try_take_idle_p(m) == nullptr) {
    G* const g = m->cur;
    g->bound_to = m;  // PR1
    GList one;
    one.push_back(g);
    ready_list_global(one);
    m->note.sleep();  // PR2
    P* const mine = m->next_p;
    m->next_p = nullptr;
    g->bound_to = nullptr;
    take_p(m, mine);
  }
  LockGuard guard(s.lock);
  m->retake.store(Retake::no, std::memory_order_relaxed);  // relaxed: under the lock
  --s.blocking_count;
}

}  // namespace

void preempt_tick(M* m) noexcept {
  // relaxed: between a thread and a handler that runs on it, or is called at the end of a region.
  if (m->in_runtime.load(std::memory_order_relaxed)) {
    m->give_way.store(true, std::memory_order_relaxed);  // relaxed: as above
    return;
  }
  P* const p = m->p;
  if (p ==
      nullptr) {  // inside blocking(), or its P was taken: then it has run long enough without one
    // relaxed: whoever took it did so long ago; else the next tick sees it.
    if (m->retake.load(std::memory_order_relaxed) != Retake::taken) return;
  } else if (m->seen_turns != p->turns()) {
    m->seen_turns = p->turns();  // it has not run for a whole tick yet
    return;
  }
  m->in_runtime.store(true, std::memory_order_relaxed);  // relaxed: as in Region
  os::fence_light();                                     // PR5
  // relaxed: as in Region.
  if (m->retake.load(std::memory_order_relaxed) != Retake::no) settle_retake(m);
  give_way(m);
  // release: as in Region. unmodelled: what a tick does with a P is nothing that the next holder reads.
  m->in_runtime.store(false, std::memory_order_release);
}

void give_way_late(M* m) noexcept {
  m->give_way.store(false, std::memory_order_relaxed);  // relaxed: as above
  preempt_tick(m);
}

void settle_retake(M* m) noexcept {
  bool taken;
  {
    LockGuard guard(sched().lock);
    // relaxed, both: under the lock.
    taken = m->retake.load(std::memory_order_relaxed) == Retake::taken;
    if (!taken) m->retake.store(Retake::no, std::memory_order_relaxed);
  }
  if (taken) get_p_again(m);
}

bool retake(P* p, uint64_t turns) noexcept {
  Sched& s = sched();
  M* m;
  {
    LockGuard guard(s.lock);
    // acquire: pairs with hold() in idle.cpp. unmodelled: as there.
    m = p->m.load(std::memory_order_acquire);
    if (m == nullptr) return false;
    m->retake.store(Retake::asked, std::memory_order_relaxed);  // relaxed: the fence follows
  }
  os::fence_heavy();  // PR5
  MSleep how;
  M* to = nullptr;
  {
    LockGuard guard(s.lock);
    // relaxed: under the lock. The M has been here before us.
    if (m->retake.load(std::memory_order_relaxed) != Retake::asked) return false;
    // acquire: pairs with the release at the end of a region (PR5).
    const bool outside = !m->in_runtime.load(std::memory_order_acquire);
    if (outside && m->p == p && p->turns() == turns) to = take_sleeper(s, &how);
    // relaxed: under the lock. One store only: an M that saw `no` between would go on with its P.
    m->retake.store(to != nullptr ? Retake::taken : Retake::no, std::memory_order_relaxed);
    if (to != nullptr) {
      m->p = nullptr;
      ++s.blocking_count;
      s.handoffs.add();
    } else if (outside) {
      request_spare();
    }
  }
  if (to == nullptr) return false;
  give(p, to, how);
  return true;
}

void dispatch_bound(M* m, G* g) noexcept {
  P* const p = m->p;
  m->p = nullptr;
  p->counters.switches.add();
  if (p->countdown > 1) --p->countdown;
  set_state(g, GState::running);
  give(p, g->bound_to, MSleep::note);
}

// ---- Spares -------------------------------------------------------------------------------------------

namespace {

void spares_main(void*) noexcept {
  Sched& s = sched();
  os::minit(s.spares_os);
  for (;;) {
    s.spares_note.sleep();
    if (s.spares_over.load(std::memory_order_relaxed)) return;  // relaxed: behind the note
    {
      LockGuard guard(s.lock);
      if (s.idle_m != nullptr || s.poller_m != nullptr || s.spare_m_coming) continue;
      s.spare_m_coming = true;
    }
    start_spare_m();
  }
}

}  // namespace

void request_spare() noexcept {
  sched().spares_note.wake();
}

int start_spares() noexcept {
  return os::newosproc0(sched().spares_os, kSparesStackBytes, spares_main, nullptr);
}

void stop_spares() noexcept {
  Sched& s = sched();
  s.spares_over.store(true, std::memory_order_relaxed);  // relaxed: the note follows
  s.spares_note.wake();
  os::mdestroy(s.spares_os);
}

}  // namespace gort
