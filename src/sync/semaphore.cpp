// counting_semaphore: a count, a mark that somebody may wait, and a queue in the parking lot. What is released goes to
// those who wait, in their order, and only the rest to the count.
//
//   SM1  The word is twice the count, plus 1 (the mark) while somebody may wait. The mark is set under the bucket's
//        lock, in a step that finds the count zero, and while it is set the count stays zero and the word changes
//        under that lock only: who takes finds nothing, who releases goes by the lock.
//   SM2  Whoever is queued finds the mark set, and a release that clears it has emptied the queue. So nothing is in the
//        count while somebody waits, and nobody overtakes.
//   SM3  A waiter whose wait ends by a release has what he waited for: the count never had it. One whose time limit or
//        stop request comes first is out of the queue, or claimed, before that, and has nothing (W1 in park.hpp).
//   SM4  The step of a release that lets anybody take what it brings (its exchange or store) is its last access
//        to the object; what follows touches the bucket and the waiters only (PL3 in parking_lot.hpp). Waiters that leave
//        early leave the mark, which costs a look into the queue.
//
// Rejected: waking waiters who then compete for the count (each may find it taken, so a wait has no bound, and a wake-up
// that goes to one whose time has come must be passed on); fetch_add in release() (the count could rise beyond max()
// before that is seen, and while somebody waits). A mutex is not made like this, since there a turn that is handed over
// costs a switch; what a semaphore brings mostly comes from somewhere else.
#include "gort/semaphore.hpp"

#include <exception>

#include "base/mem.hpp"
#include "sched/timer.hpp"
#include "sync/parking_lot.hpp"

namespace gort::detail {

void semaphore_core::throw_too_many() {
  throw std::logic_error("gort::counting_semaphore: release of fewer than none, or beyond max()");
}

void semaphore_core::release_slow(std::ptrdiff_t n, std::ptrdiff_t max) {
  Region in;
  ParkingBucket& bucket = parking_lot.bucket_for(this);
  GList woken;
  bucket.lock.lock();
  // relaxed: the exchange decides, or nobody else writes it (SM1).
  uint64_t word = word_.load(std::memory_order_relaxed);
  while (Mem::recheck((word & mark) == 0)) {
    if (n > max - count_of(word)) {
      bucket.lock.unlock();
      in.leave();
      throw_too_many();
    }
    // release and relaxed: as in release().
    if (word_.compare_exchange_weak(word, word + static_cast<uint64_t>(n) * one,
                                    std::memory_order_release, std::memory_order_relaxed)) {
      bucket.lock.unlock();
      return;
    }
  }
  while (n > 0) {
    Parked* w = bucket.pop(this);
    if (w == nullptr) break;
    w->cause = WakeCause::notified;
    woken.push_back(w->g);
    --n;
  }
  // release: pairs with the acquire of who takes what is left. SM2, SM4.
  word_.store(bucket.has(this) ? mark : static_cast<uint64_t>(n) * one, std::memory_order_release);
  bucket.lock.unlock();
  chaos_point(ChaosPoint::sync_waking);
  ready_list(woken);
}

bool semaphore_core::acquire_slow(int64_t until_ns) {
  const Region in;
  if (has_passed(until_ns)) return false;
  if (stop_pending()) deliver_stop();
  Parked w;
  ParkingBucket& bucket = prepare_to_queue(w, this, WaitReason::semaphore);
  // A wait in a destructor must not throw while the stack is unwound.
  if (std::uncaught_exceptions() == 0) w.cancel = cancel_queued;
  bucket.lock.lock();
  // relaxed: the exchange decides.
  uint64_t word = word_.load(std::memory_order_relaxed);
  for (;;) {
    const bool some = Mem::recheck(word >= one);
    // acquire: pairs with release(). On marking, the mark is for release(), which takes the lock (SM1).
    if (word_.compare_exchange_weak(word, some ? word - one : mark, std::memory_order_acquire,
                                    std::memory_order_relaxed)) {
      if (!some) break;
      bucket.lock.unlock();
      return true;
    }
  }
  bucket.push_back(w);
  const WakeCause cause = park_queued(bucket, w, until_ns);  // SM3
  if (cause == WakeCause::stopped) deliver_stop();
  return cause == WakeCause::notified;
}

}  // namespace gort::detail
