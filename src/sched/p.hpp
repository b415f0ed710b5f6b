// P: the right to run fibers, and what goes with it: a run queue, timers, free fibers, counters.
//
// Everything here belongs to the M that holds the P, except what a comment gives to others. A P
// does not know how to schedule.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/mem.hpp"
#include "base/random.hpp"
#include "sched/globq.hpp"
#include "sched/runq.hpp"
#include "sched/timerheap.hpp"

namespace gort {

struct M;

// A count that its owner raises and anybody reads.
template <class Value>
class CounterOf {
 public:
  void add(uint64_t n = 1) noexcept {
    // relaxed: single writer, readers want a number and nothing else.
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  // For the counts by which the end of all fibers is seen (B4 in census.hpp). release: publishes
  // what the owner has counted before.
  void add_release(uint64_t n = 1) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_release);
  }
  // relaxed: as in add().
  [[nodiscard]] uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }
  // acquire: pairs with add_release().
  [[nodiscard]] uint64_t get_acquire() const noexcept {
    return value_.load(std::memory_order_acquire);
  }

 private:
  Value value_{0};
};
using Counter = CounterOf<Atomic<uint64_t>>;
using Statistic = CounterOf<Tally<uint64_t>>;

struct PCounters {
  Counter spawned, ended;
  Statistic switches, parks, wakes, steals, ladders, preempts;
};

// Where a P is. Written under Sched::lock.
//
//     resting -> idle         the limit rises (bring_up)
//     idle -> resting         the limit falls (set_limit)
//     idle -> held            pop_idle_p
//     held -> idle, resting   give_back_p, and rest for who holds one too many
//
// One that is lent (PR7 in preempt.hpp) is held.
enum class PUse : uint8_t { resting, idle, held };

// As in Go: overflow moves half to the global queue.
inline constexpr uint32_t kRunqSlots = Mem::capacity(256);

struct alignas(64) P {
  int id = 0;
  bool alone = false;         // the only P in use: nobody steals (RP5 in procs.cpp)
  PUse use = PUse::resting;   // Sched::lock
  uint32_t seen_changes = 0;  // of Sched::procs_changes (RP3)
  Atomic<M*> m{nullptr};      // who holds it; for sysmon, which asks M::p (PR5 in preempt.hpp)
  // A fiber that was interrupted goes on: P's turns then, when, and what its thread had used by then. For sysmon: it need not wait to see
  // how long that one takes.
  Atomic<uint64_t> long_turns{UINT64_MAX};
  Atomic<int64_t> long_since_ns{0};
  Atomic<int64_t> long_cpu_ns{0};
  P* idle_link = nullptr;  // Sched::lock

  // The fiber made ready last: it runs next, before the queue (its data is hot). Written by the
  // owner; a thief may take it out (find.cpp).
  Atomic<G*> next{nullptr};
  uint32_t next_streak = 0;  // how often in a row `next` went before the queue
  uint32_t countdown = 1;    // scheduling points until the full ladder (find.cpp)
  uint32_t ladder_interval = 2;
  uint32_t timely_ladders = 0;  // in a row, before their time (F7 in find.cpp)
  uint64_t ladder_turn = 0;     // the turn of whom the last ladder has found
  // Nobody was there to go on with it when its fiber was last to give way (PR3). Written under Sched::lock.
  Atomic<bool> lacked_heir{false};
  bool global_is_own =
      false;  // only the fiber that has just given this P away is in the global queue (F6)
  int64_t ladder_at_ns = 0;  // when the full ladder last ran

  // How many lonely ready() calls pass before an idle M is woken for one (idle.cpp). Raised by an M
  // that was woken and found nothing, zeroed by a thief that found something; races are harmless.
  Atomic<uint32_t> lonely_limit{0};
  uint32_t lonely_count = 0;

  G* free = nullptr;  // dead fibers with their stacks, last in first out
  uint32_t free_count = 0;
  uint64_t next_id = 0;  // fiber numbers taken from Sched::next_gid and not given out yet
  uint64_t end_id = 0;

  RunQueue<G, kRunqSlots> runq;
  TimerHeap timers;
  PCounters counters;
  Random random;

  // Any thread. Fibers that this P has begun to run: two equal readings say that it has not moved.
  [[nodiscard]] uint64_t turns() const noexcept { return counters.switches.get(); }
};

// As it was a moment ago. Any thread.
[[nodiscard]] inline bool holds_fibers(const P& p) noexcept {
  return p.next.load(std::memory_order_relaxed) != nullptr || !p.runq.empty();  // relaxed: a look
}

}  // namespace gort
