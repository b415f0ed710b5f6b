// The ladder that every M goes down to find a fiber:
//
//   when due (every ladder_interval turns, see below):
//     1. timers of this P that have expired
//     2. one fiber of the global queue
//     3. ready descriptors, without waiting
//     4. the head of P's queue, before P::next
//   always:
//     5. P::next, P's queue
//     6. the global queue, a fair share of it
//     7. expired timers; ready descriptors
//     8. half of a neighbour's queue; in the last round its expired timers, or its P::next
//     9. P is given back and the M sleeps (idle.cpp)
//
//   F1  No runnable fiber waits for ever: every kLadderMax turns at most the global queue's head,
//       the expired timers, the ready descriptors and the queue's head get their turn, whatever the
//       others do.
//   F3  Of two turns in a row at most one is a ladder's, however long turns are (but for F7): on a ladder
//       the global queue and the queue's head go first, in between P::next and the queue do, so none
//       starves another.
//   F2  A turn of the ladder costs a clock reading, so it is taken every 61 turns (Go's number)
//       when turns are short, and more often when they are long: the interval adapts so that a
//       ladder comes about every kLadderNs while P is busy. Timers of a busy P are late by that
//       much.
//   F4  What a busy P polls goes to the tail of its queue, so polling early gains nothing but system
//       calls, and polling into a queue without room moves the oldest half to the global queue, behind
//       the youngest. So a P with a long queue leaves events where they are, in the kernel's own
//       queue, until it has worked its own down, but not for more than kPollGapLongNs (F1).
//   F5  While the global queue holds fibers, those that a busy P polls go there, too: P's own queue,
//       refilled again and again, would keep the others waiting for one turn of the ladder each.
//   F6  A turn that ends away from a scheduling point, as its fiber is interrupted or its thread waits in the kernel, is a long
//       one: the ladder comes then, or after the next turn. P's countdown goes with P. It does not give P back to the fiber that was
//       interrupted if nobody else is in the global queue, but others in P's.
//   F7  Where turns are long, a queue's tail is far away. There, fibers that a timer or a descriptor has woken go to the global
//       queue, before the others that wait in it, but for one after each GlobalQueue::kTimelyMax of them. And if some are
//       there, or timers are due, where a long turn ends, the ladder comes at once, kTimelyLadders times in a row at most.
//       So such a fiber waits for the turn that is under way, not for one of each that is ready. Rejected: P::next, as in
//       Go (the next ready() takes it, and the fiber is at the tail after all); the head of P's queue (thieves are there).
#include "sched/find.hpp"

#include <utility>

#include "base/pause.hpp"
#include "sched/chaos.hpp"
#include "sched/idle.hpp"
#include "sched/netpoll_internal.hpp"
#include "sched/park.hpp"
#include "sched/procs.hpp"
#include "sched/sched.hpp"

namespace gort {
namespace {

constexpr uint32_t kLadderMax = 61;  // Go's schedtick % 61: prime, so that no pattern locks onto it
constexpr uint32_t kLadderMin = 2;   // F3
constexpr uint32_t kTimelyLadders = 8;   // F7
constexpr int64_t kLadderNs = 100'000;   // a tenth of a ms late at most for timers of a busy P
constexpr int64_t kPollGapNs = 250'000;  // a busy P asks for descriptors at most this often,
constexpr int64_t kPollGapLongNs = 5'000'000;  // and one with a long queue this often (F4)
constexpr uint32_t kShortQueue = 8;
constexpr uint32_t kGlobalShareMax = kRunqSlots / 2;
constexpr int kStealRounds = Mem::tries(4);  // as in Go
// Under chaos. Often enough that no order of the rungs is rare, and threads change hands some hundred
// times a second; a hand-off costs a futex wake or a new thread.
constexpr unsigned kOtherRungOneIn = 4;
constexpr unsigned kHandOffOneIn = 64;
// About 3 us: how long a neighbour's next may stay its own.
constexpr int kStalePauses = Mem::delays(100);

void adapt_ladder(P* p, int64_t now_ns) noexcept {
  const int64_t took = now_ns - p->ladder_at_ns;
  p->ladder_at_ns = now_ns;
  if (took > 2 * kLadderNs) {
    p->ladder_interval = p->ladder_interval / 2 > kLadderMin ? p->ladder_interval / 2 : kLadderMin;
  } else if (took < kLadderNs / 2) {
    p->ladder_interval = p->ladder_interval < kLadderMax / 2 ? p->ladder_interval * 2 : kLadderMax;
  }
  p->countdown = p->ladder_interval;
  p->ladder_turn = p->turns() + 1;
  p->counters.ladders.add();
}

uint32_t procs_in_use(const Sched& s) noexcept {
  // relaxed: a rule of thumb; at least 1.
  return static_cast<uint32_t>(s.procs_in_use.load(std::memory_order_relaxed));
}

GList run_timers(P* heap_of, int64_t now_ns) noexcept {
  GList woken;
  heap_of->timers.run(now_ns, [&woken](G* g) { woken.push_back(g); });
  return woken;
}

// F7: whoever is ready has long to wait.
bool turns_are_long(const P* p) noexcept {
  return p->ladder_interval == kLadderMin && (holds_fibers(*p) || sched().globq_size() != 0);
}

// A fair share of the global queue: the first is returned, the rest goes to P's (empty) queue.
G* take_global(P* p, uint32_t max) noexcept {
  Sched& s = sched();
  if (s.globq_size() == 0) return nullptr;
  GList rest;
  G* first;
  {
    LockGuard guard(s.lock);
    first = s.globq.pop();
    const uint32_t share = s.globq_size() / procs_in_use(s);
    for (uint32_t i = 0; i < share && i + 1 < max; ++i) {
      G* g = s.globq.pop();
      if (g == nullptr) break;
      rest.push_back(g);
    }
  }
  while (G* g = rest.pop_front()) push_queue(p, g);
  return first;
}

// Fibers wait for descriptors and no M sleeps in the kernel for them.
bool should_poll() noexcept {
  // relaxed: a hint; the poller itself, or the next ladder, will see the descriptors.
  return netpoll_wanted() && sched().poll_until_ns.load(std::memory_order_relaxed) == 0;
}

// F4.
bool poll_due(const P* p, int64_t now_ns) noexcept {
  if (!should_poll()) return false;
  const bool short_queue = p->runq.size() < kShortQueue && sched().globq_size() == 0;
  return now_ns - netpoll_last_ns() > (short_queue ? kPollGapNs : kPollGapLongNs);
}

void poll_now(P* p, int64_t now_ns) noexcept {
  GList ready_fibers;
  netpoll(0, now_ns, ready_fibers);
  if (ready_fibers.empty() || turns_are_long(p)) return ready_list_timely(ready_fibers);
  // F5: behind those that are there already.
  if (sched().globq_size() != 0) return ready_list_global(ready_fibers);
  ready_list(ready_fibers);
}

// Rungs 1 to 4.
G* ladder_due(P* p) noexcept {
  const int64_t now = os::nanotime();
  adapt_ladder(p, now);
  if (p->timers.next_when() <= now) {
    GList woken = run_timers(p, now);
    ready_woken(p, woken);
  }
  if (poll_due(p, now)) poll_now(p, now);
  if (!std::exchange(p->global_is_own, false)) {
    if (G* g = take_global(p, 1)) return g;
  }
  if (G* g = p->alone ? p->runq.take_alone() : p->runq.take()) return g;
  return nullptr;
}

// A neighbour's P::next is left alone as long as the neighbour moves on: its partner will take it
// in a moment, with warm caches. Only one that stays while nothing else happens there is taken.
G* steal_next(P* victim) noexcept {
  // relaxed: compared only.
  G* g = victim->next.load(std::memory_order_relaxed);
  if (g == nullptr) return nullptr;
  const uint64_t turns = victim->turns();
  for (int i = chaos_one_in(kOtherRungOneIn) ? kStalePauses : 0; i < kStalePauses; ++i) {
    cpu_pause();
    // relaxed: compared only.
    if (victim->next.load(std::memory_order_relaxed) != g || victim->turns() != turns) {
      return nullptr;
    }
  }
  chaos_point(ChaosPoint::next_stolen);
  // acquire: decides between thief and owner; what the owner knew of the fiber. unmodelled: the last M that
  // stops spinning gets it by I3's fence, and more than one spins with four Ps only.
  if (!victim->next.compare_exchange_strong(g, nullptr, std::memory_order_acquire,
                                            std::memory_order_relaxed)) {
    return nullptr;
  }
  return g;
}

// Rung 8.
G* steal(P* p) noexcept {
  const std::span<P> all = sched().all_procs();
  chaos_point(ChaosPoint::steal_begun);
  for (int round = 0; round < kStealRounds; ++round) {
    const uint64_t start = p->random.next() % all.size();
    for (size_t i = 0; i < all.size(); ++i) {
      P* victim = &all[(start + i) % all.size()];
      if (victim == p) continue;
      G* g = victim->runq.steal_into(p->runq);
      if (g == nullptr && round == kStealRounds - 1) {
        if (victim->timers.next_when() != kNever) {
          const int64_t now = os::nanotime();
          if (victim->timers.next_when() <= now) {
            GList woken = run_timers(victim, now);
            ready_list(woken);
          }
          g = take_next(p, UINT32_MAX);
        }
        if (g == nullptr) g = steal_next(victim);
      }
      if (g != nullptr) {
        p->counters.steals.add();
        victim->lonely_limit.store(0, std::memory_order_relaxed);  // relaxed: a heuristic
        return g;
      }
    }
  }
  return nullptr;
}

// Spinning is bounded: at most half as many Ms look for work as there are busy Ps (Go's rule).
bool may_spin(M* m) noexcept {
  if (m->search == MSearch::spinning) return true;
  if (chaos_one_in(kOtherRungOneIn)) return false;
  Sched& s = sched();
  const int spinning = s.spinning.load(std::memory_order_relaxed);  // relaxed: a bound, not a lock
  // relaxed: likewise.
  const int busy =
      static_cast<int>(procs_in_use(s)) - s.idle_p_count.load(std::memory_order_relaxed);
  if (2 * spinning >= busy) return false;
  start_spinning(m);
  return true;
}

// Under chaos the rungs come in any order, and a P with fibers in it may go to another M. nullptr:
// nothing was found this way.
[[gnu::noinline]] G* find_elsewhere(M* m) noexcept {
  P* p = m->p;
  if (m->search == MSearch::no && chaos_one_in(kHandOffOneIn)) {
    hand_off_p(m);
    return nullptr;
  }
  if (chaos_one_in(kOtherRungOneIn)) {
    if (G* g = ladder_due(p)) return g;
  }
  if (chaos_one_in(kOtherRungOneIn)) {
    if (G* g = take_global(p, 1)) return g;
  }
  // Thieves own an empty queue (steal_into).
  if (chaos_one_in(kOtherRungOneIn) && !p->alone && p->runq.empty_for_owner() && may_spin(m)) {
    if (G* g = steal(p)) return g;
  }
  // The queue's head before P::next.
  return chaos_one_in(kOtherRungOneIn) ? take_next(p, 0) : nullptr;
}

}  // namespace

void ready_woken(P* p, GList& woken) noexcept {
  if (turns_are_long(p)) return ready_list_timely(woken);
  ready_list(woken);
}

void note_long_turn(P* p) noexcept {
  p->ladder_interval = kLadderMin;
}

void count_lost_turn(P* p) noexcept {
  note_long_turn(p);
  p->global_is_own = false;
  const int64_t due_ns = p->timers.next_when();
  const bool timely = sched().timely_size() != 0 || (due_ns != kNever && due_ns <= os::nanotime());
  if (timely && p->timely_ladders < kTimelyLadders) {
    ++p->timely_ladders;
    p->countdown = 0;
  } else {
    p->timely_ladders = 0;
    alternate_ladder(p);
  }
}

void alternate_ladder(P* p) noexcept {
  p->countdown = p->turns() == p->ladder_turn ? 1 : 0;
}

// Rung 7.
bool wake_expired(P* p) noexcept {
  bool woke = false;
  if (p->timers.next_when() != kNever) {
    const int64_t now = os::nanotime();
    if (p->timers.next_when() <= now) {
      GList woken = run_timers(p, now);
      ready_woken(p, woken);
      woke = true;
    }
  }
  if (should_poll()) {
    GList ready_fibers;
    netpoll(0, 0, ready_fibers);
    if (!ready_fibers.empty()) {
      ready_woken(p, ready_fibers);
      woke = true;
    }
  }
  return woke;
}

void push_queue(P* p, G* g) noexcept {
  while (!p->runq.push(g)) {
    G* half[kRunqSlots / 2];
    const uint32_t n = p->runq.take_half(half);
    if (n == 0) continue;  // thieves made room
    Sched& s = sched();
    LockGuard guard(s.lock);
    for (uint32_t i = 0; i < n; ++i) s.globq.push(half[i]);
    s.globq.push(g);
    return;
  }
}

G* find_runnable(M* m) noexcept {
  Sched& s = sched();
  for (;;) {
    // RP3
    if (P* p = m->p; p != nullptr && p->countdown == 0 && procs_changed(s, *p)) heed_changes(m);
    if (P* p = m->p; p != nullptr) {
      // relaxed: the last fiber's end wakes every M after the phase was written.
      if (s.phase.load(std::memory_order_relaxed) == Phase::exiting) return nullptr;
      G* g = nullptr;
      if (chaos()) {
        g = find_elsewhere(m);
        if (m->p == nullptr) {  // given away
          if (idle(m) == IdleEnd::exit) return nullptr;
          continue;
        }
      }
      if (g == nullptr && p->countdown == 0) g = ladder_due(p);
      if (g == nullptr) g = take_next(p, UINT32_MAX);
      if (g == nullptr) g = take_global(p, kGlobalShareMax);
      if (g == nullptr && wake_expired(p)) g = take_next(p, UINT32_MAX);
      if (g == nullptr && !p->alone && may_spin(m)) g = steal(p);
      if (g != nullptr) {
        if (p->countdown == 0) p->countdown = 1;
        stop_spinning_found(m);
        return g;
      }
    }
    if (idle(m) == IdleEnd::exit) return nullptr;
  }
}

}  // namespace gort
