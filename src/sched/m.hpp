// M: an OS thread that runs fibers. Never freed while the runtime lives.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/mem.hpp"
#include "os/os.hpp"
#include "sched/g.hpp"
#include "sched/note.hpp"

namespace gort {

struct P;

// Whether an M is looking for work without having any (idle.cpp, invariant I2).
enum class MSearch : uint8_t { no, spinning };

// Where an idle M sleeps. Written under Sched::lock.
enum class MSleep : uint8_t { awake, note, poller };

// The P of an M whose fiber blocks its thread (PR5, PR7 in preempt.hpp). Any but `no` is looked at before the P is used.
//
//     no -> asked         sysmon, under Sched::lock
//     asked -> taken, no  the same; no: also the M, under the lock
//     no, asked -> lent   the M, in a region (blocking())
//     lent -> taken       who wants a P, under the lock
//     lent -> no          the M
//     taken -> no         the M, once it has a P again
enum class Retake : uint8_t { no, asked, lent, taken };

// Whether an M is one fiber's alone (PR8 in preempt.hpp). Owner: the M itself.
//
//     no -> locked    the fiber, by lock_os_thread()
//     locked -> no    the fiber, by unlock_os_thread(); or its end, on the thread that called run()
//     locked -> over  its end elsewhere: the thread ends
//     over -> no      the M, which leaves its loop
enum class Bond : uint8_t { no, locked, over };

struct alignas(64) M {
  // Touched by every switch. Owner: the M itself.
  G* cur = nullptr;  // the G that runs on it, g0 included
  P* p = nullptr;
  EhGlobals* eh = nullptr;            // this thread's __cxa_get_globals()
  Atomic<bool> in_runtime{true};      // RG1 in region.hpp
  Atomic<bool> give_way{false};       // RG3
  Atomic<Retake> retake{Retake::no};  // PR5
  uint64_t seen_turns = 0;            // of its P, at the last tick
  // One more than its P's turns when somebody found its fiber too long at it and signals the M (PR6 in preempt.hpp).
  Atomic<uint64_t> kick{0};
  Atomic<uint64_t> kicked{0};  // the same, once the signal is here
  // Set to have a fiber that calls checkpoint() give way: others wait for its P (WA3 in watch.hpp).
  Atomic<bool> yield_wanted{false};
  Bond bond = Bond::no;
  G* bonded = nullptr;  // whose it is, while it is locked
  G* found = nullptr;   // taken from a queue without being run: it is bound to another M
  // What the far side of the next switch does for the G that was left.
  void (*after)(M*, G* left, void* arg) = nullptr;
  void* after_arg = nullptr;
  G* left = nullptr;

  G g0;
  MSearch search = MSearch::no;
  int id = 0;
  bool retired_before = false;  // its record has served another thread
  bool is_new_spare = false;    // it has not been idle yet (Sched::spare_m_coming)

  // Sleeping and waking (idle.cpp).
  Note note;
  Plain<MSleep> sleep = MSleep::awake;  // Sched::lock
  Plain<P*> next_p = nullptr;           // handed over by the waker before note.wake()
  M* idle_prev = nullptr;               // Sched::lock
  Plain<M*> idle_next = nullptr;        // Sched::lock
  P* woken_by = nullptr;                // the P whose lonely ready() woke us, or nullptr
  M* all_link = nullptr;                // Sched::lock
  M* retired_link = nullptr;            // Sched::lock

  os::mOS os;

  // The roll's (roll.hpp), under its lock.
  M* roll_next = nullptr;
  M** roll_link = nullptr;  // what points to it
  int profile_tid = 0;
  int profile_signal = 0;                 // 0: none reaches it
  Atomic<os::TimerId> profile_timer{-1};  // also read by handlers on its thread
};

}  // namespace gort
