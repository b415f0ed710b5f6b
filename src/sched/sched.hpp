// Sched: the one mutable global of gort. Reached through sched(); alive between start and stop.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/mem.hpp"
#include "base/thread_safety.hpp"
#include "os/os.hpp"
#include "sched/chaos.hpp"
#include "sched/globq.hpp"
#include "sched/lock.hpp"
#include "sched/m.hpp"
#include "sched/note.hpp"
#include "sched/p.hpp"

namespace gort {

inline constexpr int kMaxProcs = 1024;
inline constexpr int kStackClassFirst = 14;  // 16 KiB
inline constexpr int kStackClasses = 17;     // up to 1 GiB
inline constexpr size_t kStackBytesMax = size_t{1} << (kStackClassFirst + kStackClasses - 1);

// How run() ends: `stopping` once the main fiber has returned (every fiber is asked to stop),
// `exiting` once the last fiber has ended (every M leaves its loop).
enum class Phase : uint8_t { running, stopping, exiting };

enum class DeadlockMode : uint8_t { on, strict, off };

struct Poller;    // netpoll.cpp
class StackPool;  // stack.hpp

struct Sched {
  Lock lock;  // order of taking: StackPool (walks), locks of objects, TimerHeap, this one

  // Under lock.
  GlobalQueue globq GORT_GUARDED_BY(lock);
  P* idle_p GORT_GUARDED_BY(lock) = nullptr;
  int idle_p_listed GORT_GUARDED_BY(lock) = 0;
  // Ms asleep on their notes, the latest first.
  M* idle_m GORT_GUARDED_BY(lock) = nullptr;
  // The M asleep in netpoll, or nullptr.
  M* poller_m GORT_GUARDED_BY(lock) = nullptr;
  // The same, but until it has left netpoll (I7 in idle.cpp).
  M* polling_m GORT_GUARDED_BY(lock) = nullptr;
  M* all_m GORT_GUARDED_BY(lock) = nullptr;
  int m_count GORT_GUARDED_BY(lock) = 0;
  int m_gone GORT_GUARDED_BY(lock) = 0;
  // Ms whose thread is being made (start_m).
  int m_starting GORT_GUARDED_BY(lock) = 0;
  // The last attempt to make one failed, and that has been said.
  bool no_thread GORT_GUARDED_BY(lock) = false;
  // No other attempt before.
  int64_t no_thread_until_ns GORT_GUARDED_BY(lock) = 0;
  // Fibers that threads without a P have counted and not yet queued (D7 in deadlock.cpp).
  int foreign_births GORT_GUARDED_BY(lock) = 0;
  // Fibers inside blocking(): they will be back.
  int blocking_count GORT_GUARDED_BY(lock) = 0;

  // How many fibers are in globq, as it was a moment ago. Not checked: it is an atomic in there.
  [[nodiscard]] uint32_t globq_size() const noexcept GORT_NO_THREAD_SAFETY_ANALYSIS {
    return globq.approx_size();
  }
  // The same for those whose time has come (F7 in find.cpp).
  [[nodiscard]] uint32_t timely_size() const noexcept GORT_NO_THREAD_SAFETY_ANALYSIS {
    return globq.approx_timely();
  }

  // All Ps that have ever been in use. Those that rest hold no fiber, but timers, perhaps (RP4).
  [[nodiscard]] std::span<P> all_procs() const noexcept {
    // acquire: pairs with make_procs(), for what a P is. unmodelled: no P of a model is half made.
    return {procs, static_cast<size_t>(procs_made.load(std::memory_order_acquire))};
  }

  // Read without the lock by those who make work (idle.cpp, I1).
  // Ps on the list idle_p, and those that are lent (PR7 in preempt.hpp).
  alignas(64) Atomic<int> idle_p_count{0};
  Atomic<int> spinning{0};
  Atomic<int64_t> poll_until_ns{0};  // until when the poller sleeps; 0: nobody polls
  Atomic<Phase> phase{Phase::running};
  Atomic<bool> sysmon_asleep{false};
  Atomic<bool> sysmon_polls{false};  // fibers may be in sysmon's hands (D6 in deadlock.cpp)

  // Ps, as procs.cpp has it. All but the numbers' readers hold the lock.
  alignas(64) P* procs = nullptr;     // room for as many as there may be
  Atomic<int> procs_made{0};          // so many of them have been made; it only rises
  Atomic<int> procs_in_use{0};        // do not rest (RP2)
  Atomic<int> procs_limit{0};         // RP1
  Atomic<uint32_t> procs_changes{0};  // counts what holders of Ps have to look at (RP3)
  bool procs_follow GORT_GUARDED_BY(lock) = false;  // RP6
  bool may_be_alone = true;                         // RP5; not in every run under chaos (constant)
  uint64_t procs_seed = 0;                          // constant
  int max_threads = 0;
  size_t stack_bytes = 0;
  DeadlockMode deadlock = DeadlockMode::on;
  int64_t schedtrace_ns = 0;

  Poller* poller = nullptr;
  StackPool* stacks = nullptr;  // the default size's
  Atomic<StackPool*> pools[kStackClasses] = {};
  Atomic<uint64_t> next_gid{1};  // runtime.cpp begins where the runtime before has ended
  Atomic<int> main_runs{0};      // run() calls under way: a deadlock concerns them

  // Written under the lock, read by count_fibers() without it (B4 in census.hpp).
  Counter foreign_ended;    // of those, never started
  Counter foreign_spawned;  // fibers started by foreign threads
  Counter handoffs GORT_GUARDED_BY(lock);

  M* main_m = nullptr;                // the thread that called run(), if it serves as an M
  Note exit_note;                     // the phase is exiting: for a runtime object's destructor
  void (*check_signals)() = nullptr;  // the signal layer's look at its handlers, for sysmon
  // Of processor time: between two looks at a running fiber's slice; 0: no preemption. And who looks.
  int64_t tick_ns = 0;
  os::TickSource tick_source = os::TickSource::none;
  // spares.hpp
  bool spare_m_coming GORT_GUARDED_BY(lock) = false;  // one has been made and has not been idle yet
  Atomic<int> spares_wanted{1};
  int idle_m_count GORT_GUARDED_BY(lock) = 0;   // on the list idle_m
  int idle_m_least GORT_GUARDED_BY(lock) = 0;   // since sysmon's last look
  M* retiring GORT_GUARDED_BY(lock) = nullptr;  // about to end
  M* retired GORT_GUARDED_BY(lock) = nullptr;   // ended
  int64_t retire_at_ns GORT_GUARDED_BY(lock) = 0;
  os::mOS spares_os;
  Note spares_note;
  Atomic<bool> spares_over{false};
  os::mOS sysmon_os;
  Note sysmon_note;
};

// Foreign threads asleep in our objects without a time limit, and how often one was woken (D3 in deadlock.cpp). Raised
// by the thread, lowered by its waker before the wake-up, so that a thread that is about to run counts as alive. Not
// part of Sched: a thread may sleep across runtimes.
class ForeignParked {
 public:
  // relaxed: who counts the threads and finds one of them gone knows of its end, and of what was before it; who looks by
  // now() sees the newest.
  void parks() noexcept { word_.fetch_add(1, std::memory_order_relaxed); }
  // relaxed: as in parks().
  void is_woken() noexcept { word_.fetch_add(kWake - 1, std::memory_order_relaxed); }
  // Equal words: nobody was woken or has gone to sleep between them.
  // relaxed: it changes nothing, and reads the newest because it might.
  [[nodiscard]] uint64_t now() noexcept { return word_.fetch_add(0, std::memory_order_relaxed); }
  // May be one short for a moment, even negative (park_thread).
  [[nodiscard]] static int asleep(uint64_t word) noexcept { return static_cast<int>(word % kWake); }
  void forget() noexcept { word_.store(0, std::memory_order_relaxed); }  // relaxed: in_child()

 private:
  static constexpr uint64_t kWake = uint64_t{1} << 32;
  Atomic<uint64_t> word_{0};
};
extern ForeignParked foreign_parked;

// Threads of gort that belong to no runtime: the profile's. Raised by who has made one, lowered by who will end it. So
// between two equal words at least so many were there (D3 in deadlock.cpp).
class HouseThreads {
 public:
  // relaxed: as ForeignParked.
  void made() noexcept { word_.fetch_add(kChange + 1, std::memory_order_relaxed); }
  // relaxed: as ForeignParked.
  void will_end() noexcept { word_.fetch_add(kChange - 1, std::memory_order_relaxed); }
  // relaxed: it reads the newest because it might change it.
  [[nodiscard]] uint64_t now() noexcept { return word_.fetch_add(0, std::memory_order_relaxed); }
  [[nodiscard]] static int threads(uint64_t word) noexcept {
    return static_cast<int>(word % kChange);
  }
  void forget() noexcept { word_.store(0, std::memory_order_relaxed); }  // relaxed: in_child()

 private:
  static constexpr uint64_t kChange = uint64_t{1} << 32;
  Atomic<uint64_t> word_{0};
};
extern HouseThreads house_threads;

// Threads of gort's that wake fibers because of what comes from outside of the process: a signal that somebody wants to be
// told of (D8 in deadlock.cpp).
extern Atomic<int> outside_wakers;

// The runtime that is alive, or nullptr. Written by runtime.cpp only.
extern Atomic<Sched*> live_sched;
// One runtime at a time: held from the check to the publication and over the whole end.
extern Atomic<bool> runtime_taken;

// FK1 in fork.hpp. Written while the process has one thread.
extern bool after_fork;
// This is the child of a fork, whether there was a runtime or not (FK2): threads that waited are the parent's.
extern bool forked;
[[noreturn]] void fatal_after_fork() noexcept;

// A thread that is no M holds one of these while it touches the runtime.
//
//   U1  Sched is not freed before every visitor has left. The end of run() closes the door
//       (open_for_visitors), then waits until nobody is in; a visitor raises the count, then looks
//       at the door (runtime_alive), unless a fiber that it has won to wake keeps the runtime
//       alive.
class Visitor {
 public:
  Visitor() noexcept {
    count.fetch_add(1, std::memory_order_seq_cst);  // seq_cst: U1
    chaos_point(ChaosPoint::visitor_entered);
  }
  ~Visitor() { count.fetch_sub(1, std::memory_order_release); }  // release: U1, our accesses
  Visitor(const Visitor&) = delete;
  Visitor& operator=(const Visitor&) = delete;
  // For the end of run(): lets nobody in any more, and returns once nobody is in.
  static void close_the_door() noexcept;
  static void forget_all() noexcept;  // FK1 in fork.hpp

 private:
  static Atomic<int> count;
};

// relaxed: whoever runs on one of our Ms started after it was written; foreign threads that use a
// runtime have been told of it.
[[nodiscard]] inline Sched& sched() noexcept {
  return *live_sched.load(std::memory_order_relaxed);
}
// True from the start of a runtime until its last M has ended. A foreign thread asks as a Visitor.
extern Atomic<bool> open_for_visitors;
[[nodiscard]] inline bool runtime_alive() noexcept {
  // seq_cst: U1, behind the visitor's count; a foreign thread may learn of the runtime from here
  // alone.
  return open_for_visitors.load(std::memory_order_seq_cst);
}

}  // namespace gort
