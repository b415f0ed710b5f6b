// find: where an M looks for its next fiber, rung by rung.
#pragma once

#include "sched/m.hpp"
#include "sched/p.hpp"

namespace gort {

// The next fiber from P's own queues, or nullptr. After streak_max turns in a row for P::next the
// queue's head goes first.
[[nodiscard]] inline G* take_next(P* p, uint32_t streak_max) noexcept {
  // relaxed: a hint; the exchange below decides against thieves.
  G* g = p->next.load(std::memory_order_relaxed);
  if (g != nullptr && (p->next_streak < streak_max || p->runq.empty_for_owner())) {
    // With an empty queue the count starts anew, too: who comes then waits for streak_max at most.
    p->next_streak = p->next_streak < streak_max ? p->next_streak + 1 : 0;
    if (p->alone) {
      p->next.store(nullptr, std::memory_order_relaxed);  // relaxed: no thief exists
      return g;
    }
    // relaxed: decides between us and a thief; what we take this P has put there.
    g = p->next.exchange(nullptr, std::memory_order_relaxed);
    if (g != nullptr) return g;
  }
  p->next_streak = 0;
  return p->alone ? p->runq.take_alone() : p->runq.take();
}

// Puts a runnable fiber at the tail of P's queue; half of a full queue goes to the global one.
void push_queue(P* p, G* g) noexcept;

// F7.
void note_long_turn(P* p) noexcept;
// F3: P is about to go to an M on g0; a ladder comes first unless the turn that ends was a ladder's.
void alternate_ladder(P* p) noexcept;
// F6: P's fiber has been interrupted, or its thread waits in the kernel, and P goes on elsewhere.
void count_lost_turn(P* p) noexcept;

// By M with this P: makes runnable whom a timer or a descriptor has woken (F7).
void ready_woken(P* p, GList& woken) noexcept;

// Fires P's timers that are due, and polls if nobody does. True if something was woken.
bool wake_expired(P* p) noexcept;

// The ladder, until a fiber is found. Sleeps meanwhile if need be. nullptr: the runtime exits.
[[nodiscard]] G* find_runnable(M* m) noexcept;

}  // namespace gort
