// How many Ps are in use: as many as processors, while that number changes, or as many as the program says.
//
// Ps are made when they are first wanted and stay until the runtime ends. What there is too many of rests.
//
//   RP1  A P whose number is not below procs_limit is one too many. It rests as soon as nobody runs a fiber by it: an idle or
//        lent one at once, others when their Ms give them back, come to the ladder, or are interrupted. P 0 never rests.
//   RP2  A P that rests is held by nobody, is on no list, is not counted by idle_p_count, and has no fibers: those that
//        were queued in it are in the global queue. procs_in_use counts the others. Both change under Sched::lock. So
//        "all idle" is idle_p_count == procs_in_use, read under the lock: two numbers that change one after the other
//        would be equal for a moment in between.
//   RP3  Who holds a P looks at procs_changes, without the lock, where he looks at the clock anyway (the ladder, a tick), and, if
//        it is not what he has seen, under the lock at everything. He sees it in time: of two turns on the ladder
//        at most kLadderMax scheduling points apart one comes behind the change. Where a P passes from hand to hand, or goes
//        back, it is looked at under the lock (give_back_p, hand_over_p).
//   RP4  Timers of a P stay in its heap when it rests. The poller looks after them, and an M that looks for work, as they do for
//        an idle P's (I6 in idle.cpp); while every P in use is busy, sysmon fires them itself. It is told when such a P lies down.
//        Nobody adds one: a thread without a P uses P 0.
//   RP5  A P is `alone` only while all others rest. It is always P 0, and the word is changed by who has P 0 in hands, on g0 or in
//        the handler, outside of every region of a fiber; or under the lock while it is idle. The others are brought up behind
//        that: who may steal from P 0 has its P by the lock from somebody who has seen the change. So what an owner who is alone
//        does with plain stores (take_alone, a biased ParkLock) meets no thief: H1 in park_lock.hpp.
//   RP6  The number follows the machine from the start, if nobody has given one, until somebody does. sysmon looks once
//        a second, while it is awake, and not at all while nothing runs.
//   RP7  A fiber that runs by a P that is to rest goes on by an idle one. There is none: it gets in line in the same step, under
//        the lock, so that a look for a deadlock finds the fiber in the queue if it does not find its P (D1).
//
// An idle P that comes into use is to I1 and I2 in idle.cpp as one that is given back: whoever brings it up fences, looks at the queues,
// and wakes an M. One that is put to rest while somebody wants to wake an M for it is missing there; those that are in
// use are held then, and their Ms look at every queue before they sleep.
//
// Rejected: stopping all Ms for the change, as Go does (there is no way to stop them here, and no need); resting Ps that count as idle
// (who makes work would try to wake an M for them, each time); to move the timers (under two locks, with all who
// disarm them meanwhile, for what ends by itself); any P may rest, as it comes (fewer fibers change P at a change, but P 0 would
// need a word of its own at each look, and who is alone could be anyone).
#include "sched/procs.hpp"

#include <algorithm>
#include <memory>
#include <new>
#include <utility>

#include "base/mem.hpp"
#include "base/thread_safety.hpp"
#include "os/os.hpp"
#include "sched/chaos.hpp"
#include "sched/find.hpp"
#include "sched/idle.hpp"
#include "sched/idle_list.hpp"
#include "sched/m.hpp"
#include "sched/wait.hpp"

namespace gort {
namespace {

constexpr size_t kArrayBytes = sizeof(P) * kMaxProcs;

// Untouched memory becomes Ps, which rest.
void make_procs(Sched& s, int n) noexcept GORT_REQUIRES(s.lock) {
  // relaxed: under the lock.
  for (int i = s.procs_made.load(std::memory_order_relaxed); i < n; ++i) {
    P* const p = std::construct_at(s.procs + i);
    p->id = i;
    p->random.seed(s.procs_seed + static_cast<uint64_t>(i));
    // release: pairs with all_procs(). unmodelled: as there.
    s.procs_made.store(i + 1, std::memory_order_release);
  }
}

// RP5: P 0 is not alone. I1 is the caller's.
void bring_up(Sched& s) noexcept GORT_REQUIRES(s.lock) {
  // relaxed, all: under the lock.
  const int limit = s.procs_limit.load(std::memory_order_relaxed);
  for (int i = limit - 1; i >= 0; --i) {
    P* const p = s.procs + i;
    if (p->use != PUse::resting) continue;
    s.procs_in_use.fetch_add(1, std::memory_order_relaxed);  // relaxed: as above
    list_idle_p(s, p);
  }
}

// RP1: those that nobody runs a fiber by.
void rest_idle_ones(Sched& s, int n) noexcept GORT_REQUIRES(s.lock) {
  for (P& p : s.all_procs().subspan(static_cast<size_t>(n))) {
    if (p.use == PUse::idle) {
      take_idle_p(s, &p);
      rest(s, &p);
    } else if (P* const lent = take_if_lent(s, p); lent != nullptr) {
      give_back_p(s, lent);  // another one, perhaps
    }
  }
}

void set_limit(Sched& s, int n) noexcept GORT_REQUIRES(s.lock) {
  s.procs_limit.store(n, std::memory_order_relaxed);  // relaxed: RP3
  make_procs(s, n);
  rest_idle_ones(s, n);
  P* const first = s.procs;
  if (first->use == PUse::idle && n > 1) first->alone = false;
  if (!first->alone) bring_up(s);
  // relaxed: RP3.
  s.procs_changes.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

void look_for_takers(Sched& s) noexcept {
  chaos_point(ChaosPoint::procs_changed);
  Mem::fence(std::memory_order_seq_cst);  // seq_cst: I1
  if (Mem::recheck(work_waits(s))) wake_if_idle();
}

bool init_procs(Sched& s, int n, uint64_t seed) noexcept {
  s.procs = static_cast<P*>(os::mem_reserve(kArrayBytes, os::system_info().page_bytes));
  if (s.procs == nullptr) return false;
  s.procs_seed = seed;
  LockGuard guard(s.lock);
  set_limit(s, n);
  s.procs->alone = n == 1 && s.may_be_alone;
  return true;
}

void fini_procs(Sched& s) noexcept {
  for (P& p : s.all_procs()) std::destroy_at(&p);
  os::mem_unmap(s.procs, kArrayBytes);
}

int set_procs_by_hand(int n) noexcept {
  Sched& s = sched();
  int before;
  {
    LockGuard guard(s.lock);
    s.procs_follow = false;
    before = s.procs_limit.load(std::memory_order_relaxed);  // relaxed: under the lock
    // X4 in exit.cpp. relaxed: under the lock.
    if (s.phase.load(std::memory_order_relaxed) == Phase::exiting) return before;
    if (n != before) set_limit(s, n);
  }
  look_for_takers(s);
  return before;
}

void follow_machine() noexcept {
  Sched& s = sched();
  {
    LockGuard guard(s.lock);
    if (!s.procs_follow) return;
  }
  const int n = std::clamp(os::getproccount(), 1, kMaxProcs);
  {
    LockGuard guard(s.lock);
    // X4 in exit.cpp. relaxed: under the lock.
    if (s.phase.load(std::memory_order_relaxed) == Phase::exiting) return;
    // Somebody may have set it since. relaxed: under the lock.
    if (Mem::recheck(!s.procs_follow) || n == s.procs_limit.load(std::memory_order_relaxed)) return;
    set_limit(s, n);
  }
  look_for_takers(s);
}

void heed_changes(M* m) noexcept {
  Sched& s = sched();
  P* const p = m->p;
  {
    LockGuard guard(s.lock);
    if (!fits(s, p)) {
      m->p = nullptr;
      rest(s, p);
      if (P* const other = pop_idle_p(s); other != nullptr) hold(m, other);
    }
  }
  look_for_takers(s);
}

bool fits(Sched& s, P* p) noexcept {
  // relaxed, all: under the lock.
  p->seen_changes = s.procs_changes.load(std::memory_order_relaxed);
  const int limit = s.procs_limit.load(std::memory_order_relaxed);
  if (p->id >= limit) return false;
  if (p->id != 0) return true;
  // RP5.
  if (limit == 1) {
    p->alone = s.may_be_alone && s.procs_in_use.load(std::memory_order_relaxed) == 1;
  } else if (std::exchange(p->alone, false)) {
    bring_up(s);
  }
  return true;
}

void spill(Sched& s, P* p) noexcept {
  // relaxed: who put it there had P before us; others only take.
  if (G* const g = p->next.exchange(nullptr, std::memory_order_relaxed); g != nullptr) {
    s.globq.push(g);
  }
  while (G* const g = p->runq.take()) s.globq.push(g);
}

void rest(Sched& s, P* p) noexcept {
  spill(s, p);
  p->m.store(nullptr, std::memory_order_relaxed);  // relaxed: a hint (PR5)
  p->use = PUse::resting;
  p->lacked_heir.store(false, std::memory_order_relaxed);  // relaxed: under the lock
  // relaxed, both: under the lock. With one left, it may be alone (RP3, RP5).
  if (s.procs_in_use.fetch_sub(1, std::memory_order_relaxed) == 2) {
    s.procs_changes.fetch_add(1, std::memory_order_relaxed);
  }
  // RP4. Under the lock, which costs little where it happens.
  if (p->timers.next_when() != kNever) s.sysmon_note.wake();
}

}  // namespace gort
