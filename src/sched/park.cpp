#include "sched/park.hpp"

#include "base/mem.hpp"
#include "base/pause.hpp"
#include "sched/find.hpp"
#include "sched/idle.hpp"
#include "sched/loop.hpp"
#include "sched/park_inline.hpp"
#include "sched/stop.hpp"
#include "sched/syscall.hpp"
#include "sched/timer.hpp"

namespace gort {
namespace {

// Shows a Wait to those who request a stop, before the look for a request that was made before.
inline void publish_wait(G* g, Wait* w) noexcept {
  // release: publishes the Wait to requesters (S1).
  g->wait.store(w, std::memory_order_release);
  chaos_point(ChaosPoint::park_published);
  os::fence_light();  // S2: the publication before the look at stop_requested
}

// A wait without a lock: from the moment that the timer or commit has put it in, it may be over,
// and a requester's cancel finds nothing to take out before. So the far side holds the Wait by an
// inspector's count, and looks for a stop request afterwards (S2).
[[gnu::noinline]] void park_by_commit(M* m, G* g, Wait* w) noexcept {
  g->inspectors.fetch_add(1, std::memory_order_relaxed);  // relaxed: before the release below
  // release: publishes the Wait to requesters (S1). modelled in ParkModel.
  if (w->cancel != nullptr) g->wait.store(w, std::memory_order_release);
  if (w->timer != nullptr) timer_add(m->p, w->timer);
  chaos_point(ChaosPoint::park_committing);
  if (!w->commit(w)) ready(g);  // the wake-up came first; nobody else has seen this Wait
  chaos_point(ChaosPoint::park_committed);
  os::fence_light();  // S2: the commit before the look at stop_requested
  // modelled in ParkModel.
  if (w->cancel != nullptr && __builtin_expect(Mem::recheck(stop_due(g)), 0)) return cancel_wait(g);
  // release: as in cancel_wait(). modelled in ParkModel.
  g->inspectors.fetch_sub(1, std::memory_order_release);
}

// Behind the publication of its Wait: a stop request was made before (S2).
[[gnu::noinline]] void unlock_and_cancel(G* g, ParkLock* lock) noexcept {
  g->inspectors.fetch_add(1, std::memory_order_relaxed);  // relaxed: before the release in unlock()
  lock->unlock_for_parked();
  cancel_wait(g);
}

// With a lock and a time limit. One that passes at once makes the fiber wait for this lock before it
// leaves its Wait.
[[gnu::noinline]] void park_timed(M* m, G* g, Wait* w) noexcept {
  ParkLock* const lock = w->lock;
  bool inspect = false;
  if (w->cancel != nullptr) {
    publish_wait(g, w);
    inspect = Mem::recheck(stop_due(g));
    // relaxed: before the release in unlock().
    if (inspect) g->inspectors.fetch_add(1, std::memory_order_relaxed);
  }
  timer_add(m->p, w->timer);
  chaos_point(ChaosPoint::park_unlocking);
  lock->unlock_for_parked();
  if (inspect) cancel_wait(g);
}

void yield_after(M* m, G* g, void*) noexcept {
  set_state(g, GState::runnable);
  push_queue(m->p, g);
}

// A foreign thread waits on a word of its own; there is no far side, and no timer but the futex's.
WakeCause park_thread(G* g, Wait& w) noexcept {
  if (after_fork) fatal_after_fork();  // FK1
  // Times before the clock's beginning are as good as its beginning, and safe to subtract from.
  int64_t until = kNever;
  if (w.timer != nullptr) until = w.timer->when_ns < 0 ? int64_t{0} : int64_t{w.timer->when_ns};
  // relaxed: the object's lock (or commit's own ordering) publishes both to the waker.
  g->thread_word.store(0, std::memory_order_relaxed);
  g->state.store(GState::waiting, std::memory_order_relaxed);
  g->thread_counted = until == kNever;
  bool asleep = true;
  // D3: who is counted sleeps for certain. With a lock that is so before it can be woken; a commit may still
  // refuse, so there the count comes behind it, and may be one short until then.
  if (w.lock != nullptr) {
    if (g->thread_counted) foreign_parked.parks();
    chaos_point(ChaosPoint::thread_parking);
    w.lock->unlock_for_parked();
  } else {
    chaos_point(ChaosPoint::thread_parking);
    asleep = w.commit(&w);
    if (asleep && g->thread_counted) foreign_parked.parks();
  }
  chaos_point(ChaosPoint::thread_unlocked);
  while (asleep) {
    // acquire: pairs with ready(); learns what the waker did for us.
    if (g->thread_word.load(std::memory_order_acquire) != 0) break;
    int64_t ns = os::kForever;
    if (until != kNever) {
      ns = until - os::nanotime();
      if (ns <= 0) {
        if (w.expire != nullptr ? w.expire(&w) : claim(w)) {
          w.cause = WakeCause::timeout;
          break;
        }
        ns = os::kForever;  // somebody else has won and is about to wake us
      }
    }
    os::futexsleep(&g->thread_word, 0, ns);
  }
  g->state.store(GState::running, std::memory_order_relaxed);  // relaxed: ours again
  return w.cause;
}

void ready_thread(G* g) noexcept {
  if (g->thread_counted) foreign_parked.is_woken();  // D3
  Atomic<uint32_t>* word = &g->thread_word;
  chaos_point(ChaosPoint::thread_waking);
  // release: pairs with park_thread(). The stand-in may be reused from here on; it is never freed,
  // so a late wake is a spurious one for its next user.
  word->store(1, std::memory_order_release);
  os::futexwakeup(word, 1);
}

// Under chaos every second fiber that is made ready goes another way than usual.
constexpr unsigned kElsewhereOneIn = 2;

void fence() noexcept {
  // seq_cst: I1 in idle.cpp. modelled in IdleModel.
  Mem::fence(std::memory_order_seq_cst);
}

enum class Line : uint8_t { usual, timely };

void ready_global(GList& list, Line line) noexcept {
  Sched& s = sched();
  {
    LockGuard guard(s.lock);
    while (G* g = list.pop_front()) {
      if (line == Line::timely) {
        s.globq.push_timely(g);
      } else {
        s.globq.push(g);
      }
    }
  }
  chaos_point(ChaosPoint::ready_queued);
  fence();  // I1 in idle.cpp
  wake_if_idle();
}

}  // namespace

// Without a frame of its own on the usual way: what is rare is left by a tail call.
void complete_park(M* m, G* g, void* wait) noexcept {
  auto* w = static_cast<Wait*>(wait);
  set_state(g, GState::waiting);
  g->reason = w->reason;
  chaos_point(ChaosPoint::park_unpublished);
  ParkLock* const lock = w->lock;
  if (lock == nullptr) return park_by_commit(m, g, w);
  if (w->timer != nullptr) return park_timed(m, g, w);
  if (w->cancel != nullptr) {
    publish_wait(g, w);
    if (__builtin_expect(Mem::recheck(stop_due(g)), 0)) return unlock_and_cancel(g, lock);
  }
  chaos_point(ChaosPoint::park_unlocking);
  lock->unlock_for_parked();
}

WakeCause park(Wait& w) noexcept {
  M* m = current_m();
  G* g = m != nullptr ? m->cur : foreign_g();
  w.g = g;
  if (__builtin_expect(g->kind != GKind::fiber, 0)) {
    GORT_CHECK(g->kind == GKind::thread, "R2: g0 never waits");
    return park_thread(g, w);
  }
  // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): only an M has a current fiber
  if (__builtin_expect(m->p == nullptr, 0)) {
    GORT_CHECK(w.lock == nullptr, "R3: a P is taken before an object's lock");
    m = reenter_from_blocking();
  }
  // A fiber that unwinds is not interrupted: the request is thrown by its next ordinary wait.
  if (__builtin_expect(m->eh->uncaught != 0, 0)) w.cancel = nullptr;
  return park_fiber(m, g, w);
}

namespace {

[[gnu::noinline]] void ready_from_outside(G* g) noexcept {
  if (after_fork) return;  // FK1: it is not there
  const Visitor visit;
  set_state(g, GState::runnable);
  GList one;
  one.push_back(g);
  ready_global(one, Line::usual);
}

// I1, where the fiber that was the P's next had to make room.
[[gnu::noinline]] void queue_displaced(P* p, G* old) noexcept {
  push_queue(p, old);
  chaos_point(ChaosPoint::ready_queued);
  fence();
  wake_if_idle();
}

// Under chaos: to the tail of the P's queue, or to whichever P comes first.
[[gnu::noinline]] void ready_elsewhere(P* p, G* g) noexcept {
  constexpr unsigned kTailOneIn = 3;
  set_state(g, GState::runnable);
  p->counters.wakes.add();
  if (chaos_one_in(kTailOneIn)) return queue_displaced(p, g);
  GList one;
  one.push_back(g);
  ready_global(one, Line::usual);
}

}  // namespace

// Without a frame of its own, as complete_park().
void ready(G* g) noexcept {
  chaos_point(ChaosPoint::ready_won);
  if (__builtin_expect(g->kind == GKind::thread, 0)) return ready_thread(g);
  M* m = current_m();
  P* p = m != nullptr ? m->p : nullptr;
  if (__builtin_expect(p == nullptr, 0)) return ready_from_outside(g);
  if (chaos_one_in(kElsewhereOneIn)) return ready_elsewhere(p, g);
  set_state(g, GState::runnable);
  p->counters.wakes.add();
  if (p->alone) {
    // relaxed: no thief exists.
    G* old = p->next.load(std::memory_order_relaxed);
    p->next.store(g, std::memory_order_relaxed);
    if (old != nullptr) push_queue(p, old);
    return;
  }
  // seq_cst: publishes the fiber to thieves; I1 with the looks of wake_if_idle_lonely().
  // modelled in IdleModel.
  G* old = p->next.exchange(g, std::memory_order_seq_cst);
  chaos_point(ChaosPoint::ready_queued);
  if (old == nullptr) return wake_if_idle_lonely(p);
  queue_displaced(p, old);
}

namespace {

// p: nullptr for the global queue.
void ready_list_on(P* p, GList& list, Line line) noexcept {
  GList global;
  while (G* g = list.pop_front()) {
    chaos_point(ChaosPoint::ready_won);
    if (g->kind == GKind::thread) {
      ready_thread(g);
      continue;
    }
    set_state(g, GState::runnable);
    if (p == nullptr || chaos_one_in(kElsewhereOneIn)) {
      global.push_back(g);
    } else {
      p->counters.wakes.add();
      push_queue(p, g);
    }
  }
  if (!global.empty()) return ready_global(global, line);
  if (p != nullptr && !p->alone) {
    fence();  // I1
    wake_if_idle();
  }
}

}  // namespace

void ready_list_global(GList& list) noexcept {
  const Visitor visit;
  ready_list_on(nullptr, list, Line::usual);
}

void ready_list_timely(GList& list) noexcept {
  if (list.empty()) return;
  const Visitor visit;
  ready_list_on(nullptr, list, Line::timely);
}

void ready_list(GList& list) noexcept {
  if (list.empty()) return;
  M* m = current_m();
  P* p = m != nullptr ? m->p : nullptr;
  if (p != nullptr) return ready_list_on(p, list, Line::usual);
  if (after_fork) return;  // FK1
  const Visitor visit;
  ready_list_on(nullptr, list, Line::usual);
}

void yield_fiber() noexcept {
  M* m = current_m();
  if (m == nullptr) return os::osyield();
  G* g = m->cur;
  if (__builtin_expect(m->p == nullptr, 0))
    return;  // inside blocking(): there is nothing to give way to
  G* next = next_or_g0(m);
  // Nothing else is here and the ladder is not due: go on. `found`: g0 has to give its M the P (PR1).
  if (next == &m->g0 && m->found == nullptr && m->p->countdown != 0) return;
  switch_to(m, g, next, yield_after, nullptr);
}

}  // namespace gort
