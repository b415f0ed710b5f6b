// ParkLock: the lock of objects in which fibers wait; the one that park() releases on the far side.
//
// It is a Lock that may be biased. Where a runtime has one P, objects made by its fibers are mostly
// used by nobody else, and the P's fibers, which run one at a time, need no atomic exchange among
// themselves: the P takes a biased lock by a plain store. The first one to come from elsewhere (a
// foreign thread, a fiber inside blocking(), another runtime) ends the bias for good, and from then on it is
// a Lock like any other.
//
//   H1  Who holds the only P in use of a runtime (holds_only_p()) is one thread at a time, and who takes
//       the P over has seen all that was done under it before. No lock is held across the loss of a P, nor while the P
//       begins or ends to be the only one (RP5 in procs.cpp).
//   H2  own_ is written by the holder of the only P alone. So what it reads there is exact: set
//       exactly while it holds the lock by its bias. For others it is a snapshot.
//   H3  The P sets own_, then looks at the bias behind a light fence; who ends the bias changes it,
//       then looks at own_ behind a heavy fence, and does not go on before it is clear. One of them
//       sees the other: a P that finds the bias changed takes its mark back and goes by the word.
//   H4  The bias moves from `biased` to `ending` to `none`, where it stays (`ending` again is
//       possible, by one who began before, and harmless: it means none to the P, and the same work
//       for others). Nobody but the P goes by the word before he has read `none`, by acquire, or
//       has ended the bias himself: so he sees what was done under the bias.
//   H5  The store that clears own_ is the releaser's last access, as in Lock (L2).
//
// Biased locking after Kawachiya, Koseki and Onodera, "Lock reservation" (OOPSLA 2002); the
// asymmetric handshake after Dice, Huang and Yang, "Asymmetric Dekker synchronization" (2001).
//
// Rejected: no lock where there is one P (foreign threads use the same objects); a bias that comes
// back (a channel between a fiber and a thread would pay for a heavy fence every time); a bias towards a P
// among several (a channel is there to connect fibers, which Ps steal from each other).
#pragma once

#include <atomic>
#include <cstdint>

#include "base/mem.hpp"
#include "base/thread_safety.hpp"
#include "sched/current.hpp"
#include "sched/lock.hpp"
#include "sched/p.hpp"

namespace gort {

// True on an M that holds the P of a runtime that has no other.
[[nodiscard]] inline bool holds_only_p() noexcept {
  const M* m = current_m();
  return m != nullptr && m->p != nullptr && m->p->alone;
}

class GORT_CAPABILITY("park lock") ParkLock {
 public:
  constexpr ParkLock() noexcept = default;
  ParkLock(const ParkLock&) = delete;
  ParkLock& operator=(const ParkLock&) = delete;

  // Biases the lock, where that is possible. By its maker, before anybody else knows it, inside a region.
  void bias() noexcept {
    // Where light fences are real ones the bias would cost what it saves. relaxed: once false for
    // good.
    if (holds_only_p() && !os::light_fence_is_real.load(std::memory_order_relaxed)) {
      bias_.store(Bias::biased, std::memory_order_relaxed);  // relaxed: nobody else knows it
    }
  }

  // Not followed: whether it is the word or own_ that is taken depends on the bias (H3).
  void lock() noexcept GORT_ACQUIRE() GORT_NO_THREAD_SAFETY_ANALYSIS {
    if constexpr (kChecked) check_in_region();
    // acquire: H4.
    if (bias_.load(std::memory_order_acquire) != Bias::none) {
      if (!holds_only_p()) {
        end_bias();
      } else if (take_by_bias()) {
        return;
      }
    }
    word_.lock();
  }

  // Waits for nobody, so who ends a bias must not come this way.
  [[nodiscard]] bool try_lock() noexcept GORT_TRY_ACQUIRE(true) GORT_NO_THREAD_SAFETY_ANALYSIS {
    if constexpr (kChecked) check_in_region();
    // acquire: H4.
    if (bias_.load(std::memory_order_acquire) != Bias::none) {
      if (!holds_only_p()) return false;
      if (take_by_bias()) return true;
    }
    return word_.try_lock();
  }

  void unlock() noexcept GORT_RELEASE() GORT_NO_THREAD_SAFETY_ANALYSIS {
    // relaxed: H2, exact for the P; others do not go by it.
    if (own_.load(std::memory_order_relaxed) && holds_only_p()) {
      // release: pairs with end_bias(); publishes what was done under the lock.
      own_.store(false, std::memory_order_release);
    } else {
      word_.unlock();
    }
  }

  // Does nothing: says to the analysis that the park() which follows releases the lock, on the far
  // side of the switch (R1 in park.hpp).
  void released_by_park() const noexcept GORT_RELEASE() GORT_NO_THREAD_SAFETY_ANALYSIS {}
  // The far side's half: releases what the fiber that has left its stack has taken.
  void unlock_for_parked() noexcept GORT_NO_THREAD_SAFETY_ANALYSIS { unlock(); }

  // In the child of a fork, where nobody else is.
  [[nodiscard]] bool held() const noexcept {
    return own_.load(std::memory_order_relaxed) || word_.held();  // relaxed: there is one thread
  }

 private:
  enum class Bias : uint8_t { none, biased, ending };

  // By the holder of the only P; false: the bias has ended.
  [[nodiscard]] bool take_by_bias() noexcept {
    own_.store(true, std::memory_order_relaxed);  // relaxed: ordered by the fence
    chaos_point(ChaosPoint::bias_marked);
    Mem::compiler_fence();  // H3: the light fence, which is free here
    // relaxed: what the P itself did before it knows (H1).
    const bool still = bias_.load(std::memory_order_relaxed) == Bias::biased;
    if (!__builtin_expect(Mem::recheck(!still), 0)) return true;
    // release: as in unlock(); we have done nothing, but pass on what we have seen.
    own_.store(false, std::memory_order_release);
    return false;
  }

  void end_bias() noexcept;

  Lock word_;
  Atomic<bool> own_{false};
  Atomic<Bias> bias_{Bias::none};
};

}  // namespace gort
