// barrier: a phase, how many are to come in it, a mark that somebody may wait, and a queue in the parking lot.
//
//   BA1  The word is the phase's number (upper half), and below it twice the number of those who are still to come, plus 1
//        while somebody may wait. Who brings the number to zero owns the phase's end: until his complete() nobody else
//        changes the word but waiters, who set the mark under the bucket's lock. With the mark set the phase ends under that
//        lock, in one step with it, and all who are queued are taken out under that same hold of it. So whoever is queued
//        waits for the present phase.
//   BA2  expected_ is what the next phase begins with. It changes under the bucket's lock only, by one whose arrival is counted under
//        the same hold of it, with the mark: the phase can not end before he lets go of the lock, nor without it. Whoever is
//        refused has changed nothing.
//   BA3  An arrival that is not the last touches the object up to the exchange by which it is counted, or up to the end of his hold of
//        the bucket's lock, if he has set the mark with it: who drops out, and who arrives and waits in one step, and stands in
//        the queue when others see him counted. The last one's last access is the step that ends the phase.
//
// A phase's number goes round after 2^32 of them. A token is for the present phase or the one before, as the standard has
// it, so no two meet.
//
// Rejected: a drop that takes itself off expected_ first, and gives it back if it is refused (a phase that ends in between begins with too
// few). A tree of counters, as libstdc++ has (fibers meet at one word as fast as the bucket's lock lets them park,
// and its nodes would be an allocation); waiters that look at the word again when they run (the object may be gone).
#include "gort/barrier.hpp"

#include "base/mem.hpp"
#include "sync/parking_lot.hpp"

namespace gort::detail {

void barrier_core::throw_not_expected() {
  throw std::logic_error("gort::barrier: more arrive than are expected, or none");
}

barrier_core::arrival barrier_core::arrive(std::ptrdiff_t n) {
  // relaxed: the exchange decides.
  uint64_t word = word_.load(std::memory_order_relaxed);
  uint64_t next;
  do {
    if (n <= 0 || static_cast<uint64_t>(n) > pending_of(word)) throw_not_expected();
    next = word - static_cast<uint64_t>(n) * one;
    // release: what we did is published to the last one, and by him to all. acquire: we may be the last one.
    // relaxed: a failure learns nothing.
  } while (!word_.compare_exchange_weak(word, next, std::memory_order_acq_rel,
                                        std::memory_order_relaxed));
  return {phase_of(word), pending_of(next) == 0};  // BA3
}

barrier_core::arrival barrier_core::drop() {
  Region in;
  ParkingBucket& bucket = parking_lot.bucket_for(this);
  bucket.lock.lock();
  // relaxed: the exchange decides.
  uint64_t word = word_.load(std::memory_order_relaxed);
  uint64_t next;
  do {
    if (pending_of(word) == 0) {
      bucket.lock.unlock();
      in.leave();
      throw_not_expected();
    }
    next = (word - one) | mark;  // BA2
    // release and acquire: as in arrive(). relaxed: a failure learns nothing.
  } while (!word_.compare_exchange_weak(word, next, std::memory_order_acq_rel,
                                        std::memory_order_relaxed));
  expected_ = expected_ - 1;
  bucket.lock.unlock();
  return {phase_of(word), pending_of(next) == 0};  // BA3
}

bool barrier_core::arrive_and_wait() {
  Region in;
  Parked w;
  ParkingBucket& bucket = prepare_to_queue(w, this, WaitReason::barrier);
  bucket.lock.lock();
  // relaxed: the exchange decides.
  uint64_t word = word_.load(std::memory_order_relaxed);
  uint64_t next;
  do {
    if (pending_of(word) == 0) {
      bucket.lock.unlock();
      in.leave();
      throw_not_expected();
    }
    next = word - one;
    if (pending_of(next) != 0) next |= mark;
    // release and acquire: as in arrive(). relaxed: a failure learns nothing.
  } while (!word_.compare_exchange_weak(word, next, std::memory_order_acq_rel,
                                        std::memory_order_relaxed));
  if (pending_of(next) == 0) {
    bucket.lock.unlock();
    return true;
  }
  bucket.push_back(w);
  park_queued(bucket, w, kNever);  // BA3
  return false;
}

void barrier_core::wait(uint32_t phase) noexcept {
  // acquire: pairs with complete(); learns what all did before.
  if (phase_of(word_.load(std::memory_order_acquire)) != phase) return;
  const Region in;
  Parked w;
  ParkingBucket& bucket = prepare_to_queue(w, this, WaitReason::barrier);
  bucket.lock.lock();
  // acquire: as above.
  uint64_t word = word_.load(std::memory_order_acquire);
  do {
    if (Mem::recheck(phase_of(word) != phase)) {
      bucket.lock.unlock();
      return;
    }
    // acquire if it fails: as above. On success the mark is for complete(), which takes the lock (BA1).
    // unmodelled: g++ takes no order that is weaker on success.
  } while (!word_.compare_exchange_weak(word, word | mark, std::memory_order_acquire,
                                        std::memory_order_acquire));
  bucket.push_back(w);
  park_queued(bucket, w, kNever);
}

void barrier_core::complete() noexcept {
  // relaxed: the exchange decides.
  uint64_t word = word_.load(std::memory_order_relaxed);
  const auto next = [this, phase = phase_of(word) + 1] {
    return (uint64_t{phase} << phase_shift) | uint64_t{expected_} * one;
  };
  // BA2: without the mark nobody has dropped out, and nobody does as long as there is none.
  // release: pairs with wait(), and begins the next phase's arrivals. relaxed: a failure learns nothing.
  if ((word & mark) == 0 && word_.compare_exchange_strong(word, next(), std::memory_order_release,
                                                          std::memory_order_relaxed)) {
    return;  // BA3
  }
  const Region in;
  ParkingBucket& bucket = parking_lot.bucket_for(this);
  GList woken;
  bucket.lock.lock();
  word_.store(next(), std::memory_order_release);  // release: as above. BA1, BA3
  while (Parked* w = bucket.pop(this)) woken.push_back(w->g);
  bucket.lock.unlock();
  chaos_point(ChaosPoint::sync_waking);
  ready_list(woken);
}

}  // namespace gort::detail
