// mutex: one word, and a queue in the parking lot. Go's mutex is the model of its fairness. timed_mutex is the same
// with limits, and the recursive ones have it inside.
//
//   bit      set                               cleared
//   locked   by the new owner                  by the owner's unlock, unless it hands over
//   parked   by a waiter that queues itself    by the unlock that takes out the last one
//   woken    by the unlock that wakes one      by that one, once it owns the mutex or queues again
//
//   M1  `parked` is set while somebody is queued. It changes under the bucket's lock only. Waiters that leave by their
//       time limit (timed_mutex) leave it set, and an unlock that finds nobody clears it.
//   M2  At most one waiter is awake by a wake-up, and `woken` is set while it is: other unlocks
//       wake nobody. It clears the bit in the step in which it takes the mutex or queues again.
//   M3  If somebody is queued, the mutex is locked or `woken` is set: a waiter queues in a step
//       that finds `locked`, under the bucket's lock, and the unlock that clears `locked` while
//       `parked` is set sets `woken` or finds it. So somebody will look after those who wait.
//   M4  Bounded waiting: a waiter that was woken and lost to a running fiber queues at the front,
//       and the unlock that takes out one that has waited for kPatienceNs leaves `locked` set:
//       the mutex is that waiter's, and nobody can overtake.
//   M5  The step of an unlock that lets another owner in (the store or exchange that clears
//       `locked`; where it hands over, ready()) comes after its last access to the mutex, or is
//       it. What follows touches the bucket and the waiter only (PL3 in parking_lot.hpp).
//
// Rejected: always handing over (fair, but each contended turn costs a switch, and a fiber that
// waits in a queue holds the mutex without using it: Go measured this and left it for the overdue
// only); never handing over, as glibc (a waiter starves beside fibers that lock in a loop); giving
// way in the unlock that hands over, as Go does (a caller may hold a std::mutex, and unlock() is
// not a place where fibers expect to change threads); an owner field (8 bytes more to write on each
// lock, for the sake of a better guess whether to spin, and of detecting a lock() by the owner).
#include "gort/mutex.hpp"

#include <system_error>

#include "base/mem.hpp"
#include "sync/parking_lot.hpp"
#include "sync/spin.hpp"

namespace gort {
namespace {

struct MutexWait : Parked {
  Plain<int64_t> since_ns = 0;
  Plain<bool> granted = false;  // written by the unlock that hands over, before ready()
};

}  // namespace

bool mutex::lock_slow(int64_t until_ns) noexcept {
  const Region in;
  MutexWait w;
  uint32_t own_woken = 0;  // `woken` while we are the one that M2 speaks of
  int rounds = 0;
  for (;;) {
    // relaxed: the exchange decides.
    uint32_t word = word_.load(std::memory_order_relaxed);
    if ((word & locked) == 0) {
      // acquire: pairs with the release in unlock(). M2.
      if (word_.compare_exchange_weak(word, (word | locked) & ~own_woken, std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
        return true;
      }
      continue;
    }
    if (rounds < kSpinRounds && may_spin()) {
      ++rounds;
      spin_round();
      continue;
    }

    if (w.bucket == nullptr) {
      const int64_t now_ns = os::nanotime();
      if (until_ns <= now_ns) return false;
      prepare_to_queue(w, this, WaitReason::mutex);
      w.since_ns = now_ns;
    }
    ParkingBucket& bucket = *w.bucket;
    bucket.lock.lock();
    word = word_.load(std::memory_order_relaxed);  // relaxed: the exchange decides
    bool still_locked;
    // relaxed: the bit is for unlocks, which learn the queue from the bucket's lock. M3, M2.
    while ((still_locked = !Mem::recheck((word & locked) == 0)) &&
           !word_.compare_exchange_weak(word, (word | parked) & ~own_woken,
                                        std::memory_order_relaxed, std::memory_order_relaxed)) {
    }
    if (!still_locked) {
      bucket.lock.unlock();
      continue;
    }
    if (own_woken != 0) {
      bucket.push_front(w);  // M4
    } else {
      bucket.push_back(w);
    }
    // A limit that has passed while we were awake ends this wait at once, from within the queue (M3).
    const WakeCause cause = park_queued(bucket, w, until_ns);
    if (w.granted) return true;
    if (cause == WakeCause::timeout) return false;  // M1
    own_woken = woken;
    rounds = 0;
    w.claimed.store(0, std::memory_order_relaxed);  // relaxed: ours until the lock publishes it
  }
}

bool mutex::release_slow() noexcept {
  const Region in;
  // relaxed: `locked` is ours; of the rest the exchange decides.
  uint32_t word = word_.load(std::memory_order_relaxed);
  while ((word & (parked | woken)) != parked) {
    if ((word & locked) == 0) return false;
    // release: pairs with the acquire in lock(). M5.
    if (word_.compare_exchange_weak(word, word & ~locked, std::memory_order_release,
                                    std::memory_order_relaxed)) {
      return true;
    }
  }
  if ((word & locked) == 0) return false;

  const int64_t now_ns = os::nanotime();
  ParkingBucket& bucket = parking_lot.bucket_for(this);
  bucket.lock.lock();
  auto* w = static_cast<MutexWait*>(bucket.pop(this));
  if (w == nullptr) {
    // M1: whoever waited has left. release: pairs with the acquire of whoever takes it. M5.
    word_.store(0, std::memory_order_release);
    bucket.lock.unlock();
    return true;
  }
  w->granted = now_ns - w->since_ns > kPatienceNs;
  G* g = w->g;
  // Nobody else writes the word meanwhile: it is locked, by us, and so is the bucket.
  // release: pairs with the acquire of whoever takes it; a hand-over is published by ready().
  word_.store((w->granted ? locked : woken) | (bucket.has(this) ? parked : 0),
              std::memory_order_release);  // M5
  bucket.lock.unlock();
  chaos_point(ChaosPoint::sync_waking);
  ready(g);
  return true;
}

void mutex::throw_not_locked() {
  leave_region();
  throw std::system_error(std::make_error_code(std::errc::operation_not_permitted),
                          "gort::mutex: unlock of a mutex that is not locked");
}

}  // namespace gort
