// TimerHeap: pending timers of one P, the earliest first.
//
// A 4-ary heap of (when, timer) pairs; a timer knows its index, so that it can be taken out.
// Anybody may use any heap under its lock: the owner P at each turn of the ladder, other Ms when
// the owner is busy.
//
//   T1  A timer is in at most one heap; Timer::heap and Timer::index are written under that heap's
//       lock.
//   T2  fire() is called under the heap's lock, and stop() takes it: after stop() returns, nobody
//       touches the timer any more.
//   T3  next_when() never is later than the earliest timer that was in the heap when the lock was
//       last released.
//   T5  What must not be done under the heap's lock, because it takes locks that are held while timers are added, is
//       done by TimerOps::finish() behind it. The timer is gone by then, or armed anew, unless its fire() has seen to it.
//   T4  No timer is refused: without memory for a bigger heap it waits in a list beside it, which is slow
//       and moves into the heap as soon as there is room.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/mem.hpp"
#include "base/thread_safety.hpp"
#include "sched/lock.hpp"

namespace gort {

struct G;
class TimerHeap;

struct Timer;

struct TimerOps {
  // Called once after each fire(), by the same thread, when the heap's lock is free (T5): on g0, with a P or without, or
  // in a handler. Returns as fire() does.
  G* (*finish)(Timer*) noexcept;
  // Called instead of fire() for a timer that is armed when its runtime ends, behind everything else, on a foreign thread,
  // which may run the program's code. The timer is disarmed. nullptr: nothing is to be done.
  void (*orphan)(Timer*) noexcept;
};

struct Timer {
  Plain<int64_t> when_ns = 0;
  // Called when due, under the heap's lock (T2), with the timer already out of the heap. Returns
  // the fiber that it has won the right to wake, or nullptr. May re-arm by setting when_ns and
  // returning with `again` set. Must not take a lock that is held while timers are added.
  Plain<G* (*)(Timer*) noexcept> fire = nullptr;
  void* arg = nullptr;
  Plain<const TimerOps*> ops = nullptr;  // nullptr: fire() is all
  Plain<bool> again = false;
  Atomic<TimerHeap*> heap{nullptr};  // T1
  Plain<uint32_t> index = 0;         // T1; kOutside: in the list beside the heap (T4)
  Plain<Timer*> next = nullptr;      // of that list, under the heap's lock; at the end, of orphans
};

class TimerHeap {
 public:
  TimerHeap() noexcept = default;
  ~TimerHeap();
  TimerHeap(const TimerHeap&) = delete;
  TimerHeap& operator=(const TimerHeap&) = delete;

  // Arms t for t->when_ns. True if it is now the earliest of this heap.
  [[nodiscard]] bool add(Timer* t) noexcept;

  // Disarms. False if it was not armed (has fired, is firing on another M until the lock is free,
  // or was never added); after return nobody touches t (T2).
  static bool stop(Timer* t) noexcept;

  // True if t is armed for when_ns or earlier.
  [[nodiscard]] static bool fires_by(Timer* t, int64_t when_ns) noexcept;

  // Fires what is due at now_ns, at most max timers; wake(ctx, g) is called for each fiber won,
  // after the lock is released. Returns how many fired.
  template <class Wake>
  uint32_t run(int64_t now_ns, Wake&& wake) noexcept {
    uint32_t total = 0;
    Fired list[kBatch];
    for (;;) {
      uint32_t fired = 0;
      const uint32_t n = run_batch(now_ns, list, &fired);
      chaos_point(ChaosPoint::timer_fired);
      for (uint32_t i = 0; i < n; ++i) {
        Timer* t = list[i].unfinished;
        G* g = t == nullptr ? list[i].won : t->ops->finish(t);  // T5
        if (g != nullptr) wake(g);
      }
      total += fired;
      if (fired < kBatch) return total;
    }
  }

  // Disarms all, at the end of the runtime, when nobody else uses the heap any more. Those that are to be ended become part of the list.
  void disarm_all(Timer*& orphans) noexcept;
  // Once no heap of the runtime holds a timer: what a function owns may be another one.
  static void end_orphans(Timer* orphans) noexcept;

  // The earliest deadline or kNever.
  [[nodiscard]] int64_t next_when() const noexcept {
    // relaxed: T3 is about the number alone, and run() looks again under the lock. A sleeper orders
    // its look against those who add by a fence, or by a lock (I6 in idle.cpp).
    return next_when_.load(std::memory_order_relaxed);
  }
  // relaxed: statistics, and the deadlock check, behind the lock under which the P went idle.
  [[nodiscard]] uint32_t size() const noexcept { return size_.load(std::memory_order_relaxed); }

 private:
  static constexpr uint32_t kBatch = 64;  // fibers woken per hold of the lock
  static constexpr uint32_t kOutside = UINT32_MAX;

  struct Entry {
    int64_t when;
    Timer* timer;
  };

  // What is left to do for a timer that has fired: one of the two.
  struct Fired {
    G* won;
    Timer* unfinished;
  };

  // Returns how many of the list are filled in.
  uint32_t run_batch(int64_t now_ns, Fired* list, uint32_t* fired) noexcept;
  // Any, taken out; nullptr: the heap is empty.
  Timer* take_any() noexcept;
  void insert(Timer* t) noexcept GORT_REQUIRES(lock_);
  void remove(Timer* t) noexcept GORT_REQUIRES(lock_);
  [[nodiscard]] Timer* due(int64_t now_ns) const noexcept GORT_REQUIRES(lock_);
  [[nodiscard]] int64_t earliest() const noexcept GORT_REQUIRES(lock_);
  void move_in() noexcept GORT_REQUIRES(lock_);
  void remove_at(uint32_t i) noexcept GORT_REQUIRES(lock_);
  void sift_up(uint32_t i) noexcept GORT_REQUIRES(lock_);
  void sift_down(uint32_t i) noexcept GORT_REQUIRES(lock_);
  void place(uint32_t i, Entry e) noexcept GORT_REQUIRES(lock_);
  [[nodiscard]] bool grow() noexcept GORT_REQUIRES(lock_);
  void publish() noexcept GORT_REQUIRES(lock_);

  Lock lock_;
  Plain<Entry*> entries_ GORT_GUARDED_BY(lock_) = nullptr;  // own mapping: no malloc on g0
  Plain<uint32_t> capacity_ GORT_GUARDED_BY(lock_) = 0;
  Plain<uint32_t> count_ GORT_GUARDED_BY(lock_) = 0;
  Plain<Timer*> outside_ GORT_GUARDED_BY(lock_) = nullptr;  // T4
  Plain<uint32_t> outside_count_ GORT_GUARDED_BY(lock_) = 0;
  Atomic<uint32_t> size_{0};
  Atomic<int64_t> next_when_{INT64_MAX};
};

}  // namespace gort
