#include "sched/preempt.hpp"

#include <csignal>
#include <utility>

#include "base/mem.hpp"
#include "base/thread_safety.hpp"
#include "sched/find.hpp"
#include "sched/idle.hpp"
#include "sched/idle_list.hpp"
#include "sched/loop.hpp"
#include "sched/netpoll_internal.hpp"
#include "sched/park.hpp"
#include "sched/procs.hpp"
#include "sched/sched.hpp"
#include "sched/signal_m.hpp"
#include "sched/spares.hpp"

namespace gort {
namespace {

// Whether anybody waits for this P.
bool others_wait(Sched& s, const P* p) noexcept {
  return holds_fibers(*p) || s.globq_size() != 0;
}

// Back to where it was taken from, more or less: it comes next.
void push_front(P* p, G* g) noexcept {
  // release: publishes the fiber to thieves; whoever takes the P over knows of it anyway. unmodelled: a region's light fence, which
  // the tick has come by, is a whole one in models.
  G* const old = p->next.exchange(g, std::memory_order_release);
  if (old != nullptr) push_queue(p, old);
}

// The fiber that comes next, if it is bound, taken out of its queue. One that is not is put back, in front, or stays in the global
// queue, where other Ps come by.
G* next_if_bound(Sched& s, P* p) noexcept {
  G* const g = take_next(p, UINT32_MAX);
  if (g == nullptr) {
    LockGuard guard(s.lock);
    return s.globq.pop_if_bound();
  }
  if (g->bound_to != nullptr) return g;
  push_front(p, g);
  // An M on its way to sleep may have looked while the fiber was out. seq_cst: I1. unmodelled: who is passed over here
  // comes with the next tick.
  Mem::fence(std::memory_order_seq_cst);
  wake_if_idle();
  return nullptr;
}

// The same for the first of those whose time has come.
G* timely_if_bound(Sched& s) noexcept {
  LockGuard guard(s.lock);
  return s.globq.take_timely_bound();
}

// M is about to be given our P, and we sleep then.
void pull_here(M* m) noexcept {
  // relaxed: it sleeps, and has had it for long.
  os::pull_here(m->os.place, m->os.tid.load(std::memory_order_relaxed));
}

// PR1, PR8: g was taken out of its queue, and goes on where it is bound to. What its M does with it is told by where that one stands:
// it does not move until it has a P.
void set_dispatched(G* g) noexcept {
  if (static_cast<M*>(g->bound_to)->cur == g) set_state(g, GState::running);
}

// PR3: who goes on with the P, and how he sleeps.
struct Heir {
  M* m = nullptr;
  MSleep how = MSleep::note;
};

Heir find_heir(Sched& s, P* p, G* bound) noexcept GORT_REQUIRES(s.lock) {
  Heir heir;
  if (bound == nullptr) {
    heir.m = s.idle_m != nullptr ? s.idle_m : s.poller_m;
    if (heir.m != nullptr) {
      heir.how = heir.m->sleep;
      delist(s, heir.m);
      heir.m->search = MSearch::no;
      return heir;
    }
  }
  if (bound != nullptr) {
    p->counters.switches.add();
    set_dispatched(bound);
    heir.m = bound->bound_to;
  }
  return heir;
}

// M's fiber gets in line, and the P goes to somebody else, who may use it from here on. False: nobody is there.
bool bequeath(Sched& s, M* m, G* bound) noexcept {
  P* const p = m->p;
  Heir heir;
  bool few;
  {
    LockGuard guard(s.lock);
    heir = find_heir(s, p, bound);
    if (heir.m == nullptr) return false;
    p->counters.preempts.add();
    p->m.store(nullptr, std::memory_order_relaxed);  // relaxed: a hint (PR5)
    m->p = nullptr;
    p->lacked_heir.store(false, std::memory_order_relaxed);      // relaxed: under the lock
    p->global_is_own = s.globq_size() == 0 && holds_fibers(*p);  // F6
    m->cur->bound_to = m;                                        // PR1
    set_state(m->cur, GState::runnable);
    s.globq.push(m->cur);  // behind all who wait, as in Go
    heir.m->next_p = p;
    few = spares_short(s);
  }
  if (few) request_spares();
  if (heir.how == MSleep::poller) {
    netpoll_break();
  } else {
    pull_here(heir.m);
    heir.m->note.wake();
  }
  // An M may have looked while who comes next was out of its queue. seq_cst: I1. unmodelled: as in next_if_bound().
  Mem::fence(std::memory_order_seq_cst);
  wake_if_idle();
  return true;
}

// M's fiber goes on by another P.
void go_on_by(M* m, P* mine) noexcept {
  const uint64_t turns = mine->turns();
  // Its timer has gone on from the tick that interrupted it: the next comes after half a slice, and does not count.
  m->seen_turns = turns - 1;
  // relaxed, all: sysmon's looks are looks.
  mine->long_cpu_ns.store(os::thread_cpu_ns(0), std::memory_order_relaxed);
  mine->long_since_ns.store(os::nanotime(), std::memory_order_relaxed);
  mine->long_turns.store(turns, std::memory_order_relaxed);
}

// PR2. M's fiber is in line, bound to it.
P* await_p(M* m) noexcept {
  m->note.sleep();
  os::settle_place(m->os.place);
  P* const mine = m->next_p;
  m->next_p = nullptr;
  hold(m, mine);
  return mine;
}

// The same for one that was interrupted.
void sleep_for_p(M* m) noexcept {
  P* const mine = await_p(m);
  if (m->bond == Bond::no) m->cur->bound_to = nullptr;
  go_on_by(m, mine);
}

// PR3: no M has come from one tick to the next, or none is to be had. A bound fiber, which has one, comes before its turn then;
// who waited in P's own queue does so where other Ps come by. nullptr: there is none.
G* bound_before_its_turn(Sched& s, P* p) noexcept {
  G* bound = nullptr;
  {
    LockGuard guard(s.lock);
    // relaxed: under the lock.
    if (!p->lacked_heir.exchange(true, std::memory_order_relaxed) && !s.no_thread) return nullptr;
    spill(s, p);
    bound = s.globq.take_bound();
  }
  Mem::fence(std::memory_order_seq_cst);  // seq_cst: I1. unmodelled: as in next_if_bound()
  wake_if_idle();
  return bound;
}

// PR4. The fiber gives its P away, if anybody wants it, and sleeps until it has one again. Inside a region.
void give_way(M* m) noexcept {
  Sched& s = sched();
  P* const p = m->p;
  if (p == nullptr || m->cur->kind != GKind::fiber) return;
  note_long_turn(p);
  wake_expired(p);
  if (!others_wait(s, p)) return;
  count_lost_turn(p);
  const bool ladder_first = p->countdown == 0 && s.timely_size() != 0;  // F7
  if (!bequeath(s, m, ladder_first ? timely_if_bound(s) : next_if_bound(s, p))) {
    if (p->countdown == 0) p->countdown = 1;  // the fiber goes on, to its next scheduling point
    request_spares();
    G* const bound = bound_before_its_turn(s, p);
    if (bound == nullptr || !bequeath(s, m, bound)) return;
  }
  sleep_for_p(m);
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
    sleep_for_p(m);
  }
  LockGuard guard(s.lock);
  m->retake.store(Retake::no, std::memory_order_relaxed);  // relaxed: under the lock
  --s.blocking_count;
}

// RP7: m's P rests.
P* change_p(Sched& s, M* m) noexcept GORT_REQUIRES(s.lock) {
  P* const p = m->p;
  m->p = nullptr;
  p->counters.preempts.add();
  rest(s, p);
  if (P* const other = pop_idle_p(s); other != nullptr) {
    hold(m, other);
    other->counters.switches.add();
    return other;
  }
  m->cur->bound_to = m;  // PR1
  set_state(m->cur, GState::runnable);
  s.globq.push(m->cur);
  return nullptr;
}

// RP3, in the middle of a fiber.
void heed_changes_here(M* m) noexcept {
  Sched& s = sched();
  P* mine = m->p;
  const P* const before = mine;
  {
    LockGuard guard(s.lock);
    if (!fits(s, mine)) mine = change_p(s, m);
  }
  look_for_takers(s);
  if (mine == nullptr) return sleep_for_p(m);
  if (mine != before) go_on_by(m, mine);
}

// At the second tick that finds it, or when it is kicked (PR6). Takes down that it was found.
bool slice_is_over(M* m, const P* p) noexcept {
  const uint64_t turns = p->turns();
  // relaxed: between a thread and a handler that runs on it.
  if (m->seen_turns == turns || m->kicked.load(std::memory_order_relaxed) == turns + 1) return true;
  m->seen_turns = turns;
  return false;
}

// F2: turns of half a slice, where the interval between ladders is still that of short ones.
void look_at_others_soon(P* p) noexcept {
  note_long_turn(p);
  if (p->countdown > 1) p->countdown = 1;
}

// The slice will be over at the next tick. Whoever goes on then needs an M, which takes longer to come than to ask for.
void ask_ahead(Sched& s, const P* p) noexcept {
  if (!others_wait(s, p) && p->timers.next_when() == kNever) return;
  bool few;
  {
    LockGuard guard(s.lock);
    few = spares_short(s);
  }
  if (few) request_spares();
}

}  // namespace

void preempt_tick(M* m) noexcept {
  // relaxed: between a thread and a handler that runs on it, or is called at the end of a region.
  if (m->in_runtime.load(std::memory_order_relaxed)) {
    m->give_way.store(true, std::memory_order_relaxed);  // relaxed: as above
    return;
  }
  m->in_runtime.store(true, std::memory_order_relaxed);  // relaxed: as in Region
  os::fence_light();                                     // PR5
  // relaxed: as in Region. A fiber whose P was taken has run long enough without one.
  if (m->retake.load(std::memory_order_relaxed) != Retake::no) {
    settle_retake(m);
  } else if (P* const p = m->p; p != nullptr) {  // none: inside blocking()
    if (procs_changed(sched(), *p) && m->cur->kind == GKind::fiber) {
      heed_changes_here(m);
    } else if (slice_is_over(m, p)) {
      give_way(m);
    } else {
      look_at_others_soon(p);
      ask_ahead(sched(), p);
    }
  }
  // release: as in Region. unmodelled: what a tick does with a P is nothing that the next holder reads.
  m->in_runtime.store(false, std::memory_order_release);
}

bool preempt_kicked(M* m) noexcept {
  // relaxed, both: the number says which turn is meant, and nothing else is read by it.
  const uint64_t turn = m->kick.exchange(0, std::memory_order_relaxed);
  if (turn == 0) return false;
  m->kicked.store(turn, std::memory_order_relaxed);  // relaxed: as above
  preempt_tick(m);
  return true;
}

bool kick(P* p, uint64_t turns) noexcept {
  // acquire: pairs with hold() in idle_list.cpp. unmodelled: as there.
  M* const m = p->m.load(std::memory_order_acquire);
  if (m == nullptr) return false;
  m->kick.store(turns + 1, std::memory_order_relaxed);  // relaxed: PR6, the signal follows
  signalM(m, SIGURG);
  return true;
}

void give_way_late(M* m) noexcept {
  m->give_way.store(false, std::memory_order_relaxed);  // relaxed: as above
  preempt_tick(m);
}

void settle_retake(M* m) noexcept {
  if (end_lending(m)) return;
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
    // acquire: pairs with hold() in idle_list.cpp. unmodelled: as there.
    m = p->m.load(std::memory_order_acquire);
    Retake was = Retake::no;
    // relaxed, both: the fence follows. Not if the P is lent: whoever needs it takes it (PR7).
    if (m == nullptr ||
        !m->retake.compare_exchange_strong(was, Retake::asked, std::memory_order_relaxed,
                                           std::memory_order_relaxed)) {
      return false;
    }
  }
  os::fence_heavy();  // PR5
  {
    LockGuard guard(s.lock);
    // acquire: pairs with the release at the end of a region (PR5). unmodelled: the light fence there is a whole one in models, and P's
    // next holder comes by another.
    const bool outside = !m->in_runtime.load(std::memory_order_acquire);
    const bool take = outside && m->p == p && p->turns() == turns;
    Retake was = Retake::asked;
    // relaxed, both: under the lock, but for an M that lends. One change only: an M that saw `no` between would go on with
    // its P. If it is not `asked` any more, the M has been here before us.
    if (!m->retake.compare_exchange_strong(was, take ? Retake::taken : Retake::no,
                                           std::memory_order_relaxed, std::memory_order_relaxed) ||
        !take) {
      return false;
    }
    m->p = nullptr;
    ++s.blocking_count;
    if (spares_short(s)) request_spares();
  }
  count_lost_turn(p);
  hand_over_p(p);
  return true;
}

void dispatch_bound(M* m, G* g) noexcept {
  P* const p = m->p;
  m->p = nullptr;
  pull_here(g->bound_to);
  give_to_bound(p, g);
}

void give_to_bound(P* p, G* g) noexcept {
  p->counters.switches.add();
  set_dispatched(g);
  p->m.store(nullptr, std::memory_order_relaxed);  // relaxed: a hint (PR5)
  M* const to = g->bound_to;
  to->next_p = p;
  to->note.wake();
}

G* next_of_locked(M* m) noexcept {
  Sched& s = sched();
  if (m->p != nullptr && procs_changed(s, *m->p)) heed_changes(m);  // RP3
  P* const p = m->p;
  if (p != nullptr) {
    wake_expired(p);
    // Others' turn comes first where there are any (F1).
    G* const g = s.globq_size() == 0 ? next_if_bound(s, p) : nullptr;
    if (g == m->bonded && g != nullptr) {
      p->counters.switches.add();
      p->countdown = 1;
      return g;
    }
    if (g != nullptr) {
      dispatch_bound(m, g);
    } else {
      alternate_ladder(p);  // the countdown is at its end for another reason (PR8)
      hand_off_p(m);
    }
  }
  (void)await_p(m);
  return m->bonded;
}

void leave_with_thread(M* m) noexcept {
  m->bond = Bond::no;
  alternate_ladder(m->p);
  hand_off_p(m);
  retire_m(m);
}

}  // namespace gort
