// Lock: the mutual exclusion inside the runtime, held for a few instructions and never across user
// code.
//
// Who may take it: fibers, g0, foreign threads. A fiber that parks may hand the lock to the far
// side of the switch, which releases it there (park.hpp, invariant R1).
//
// Taking costs one atomic exchange, releasing one plain store: the usual third state ("there are
// sleepers"), which makes every release an atomic exchange too, is replaced by a count of sleepers
// in a static table. The releaser stores 0 and then looks at the count behind a light fence; a
// sleeper raises the count and then looks at the word behind a heavy fence (os.hpp).
//
//   L1  Of a release and a sleeper's last look, one sees the other: the sleeper finds the word
//       free, or the releaser finds the count raised and wakes.
//   L2  The store of 0 is the releaser's last access to the Lock: whoever takes it next may destroy
//       it. (That is why the count is not a member. A futex wake on a freed address wakes nobody,
//       or wakes somebody early, which futexsleep allows.)
//
// Rejected: a ticket or MCS lock (a preempted waiter blocks those behind it; 2 cores); std::mutex
// (its release is a locked instruction, and pthread code may not run on g0); the three-state futex
// lock of Drepper's "Futexes are tricky" (5.7 ns more on every release on the machine this was
// measured on).
#pragma once

#include <atomic>
#include <cstdint>

#include "base/mem.hpp"
#include "base/thread_safety.hpp"
#include "os/os.hpp"
#include "sched/chaos.hpp"

namespace gort {

// In checked builds: the fiber that is about to take a lock stands in a region (RG1 in region.hpp).
void check_in_region() noexcept;

class GORT_CAPABILITY("lock") Lock {
 public:
  constexpr Lock() noexcept = default;
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

  void lock() noexcept GORT_ACQUIRE() {
    if constexpr (kChecked) check_in_region();
    // acquire: pairs with the release in unlock(); learns everything done under the lock before.
    if (__builtin_expect(word_.exchange(1, std::memory_order_acquire) != 0, 0)) lock_slow();
    chaos_point(ChaosPoint::lock_held);
  }

  [[nodiscard]] bool try_lock() noexcept GORT_TRY_ACQUIRE(true) {
    // relaxed look first, so that a failing attempt does not take the cache line; acquire as in
    // lock().
    return word_.load(std::memory_order_relaxed) == 0 &&
           word_.exchange(1, std::memory_order_acquire) == 0;
  }

  void unlock() noexcept GORT_RELEASE() {
    Atomic<uint32_t>& sleepers = sleepers_of(this);  // L2: nothing of *this after the store
    // release: pairs with the acquire in lock(); publishes everything done under the lock.
    word_.store(0, std::memory_order_release);
    chaos_point(ChaosPoint::lock_released);
    os::fence_light();  // L1: the store before the look
    // relaxed: the fence orders it; the count guards no data.
    const bool sleeper = sleepers.load(std::memory_order_relaxed) != 0;
    if (__builtin_expect(Mem::recheck(sleeper), 0)) wake(&word_);
  }

  // In the child of a fork, where nobody else is.
  [[nodiscard]] bool held() const noexcept {
    return word_.load(std::memory_order_relaxed) != 0;  // relaxed: there is one thread
  }

 private:
  static constexpr unsigned kSleeperSlots = 64;  // collisions cost a needless futex wake, no more

  static Atomic<uint32_t>& sleepers_of(const Lock* l) noexcept;
  static void wake(Atomic<uint32_t>* word) noexcept;
  // Not checked: it makes what try_lock() promises.
  void lock_slow() noexcept GORT_NO_THREAD_SAFETY_ANALYSIS;

  Atomic<uint32_t> word_{0};  // 0 free, 1 held
};

// Scoped ownership of a Lock or a ParkLock.
template <class L>
class GORT_SCOPED_CAPABILITY LockGuard {
 public:
  explicit LockGuard(L& l) noexcept GORT_ACQUIRE(l) : lock_(l) { lock_.lock(); }
  ~LockGuard() GORT_RELEASE() { lock_.unlock(); }
  LockGuard(const LockGuard&) = delete;
  LockGuard& operator=(const LockGuard&) = delete;

 private:
  L& lock_;
};

extern Atomic<uint32_t> lock_sleepers[64];

inline Atomic<uint32_t>& Lock::sleepers_of(const Lock* l) noexcept {
  // Locks live in objects of at least a cache line, or in arrays of such; drop the low bits.
  return lock_sleepers[(reinterpret_cast<uintptr_t>(l) >> 6) % kSleeperSlots];
}

}  // namespace gort
