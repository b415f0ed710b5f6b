// countdown: a count, a mark that somebody may wait, and a queue in the parking lot.
//
//   CD1  The word is twice the count, plus 1 while somebody may wait. The mark is set under the
//        bucket's lock. With the mark set, the count becomes zero under the bucket's lock only, in
//        one step with the mark, and all who are queued are taken out under that same hold of it.
//   CD2  The step that makes the count zero is the last access of add() to the object: from there
//        on a wait may return and the object be gone. Waiters that are woken do not touch it
//        again, nor do those that leave early (the mark they leave costs a look into the queue).
//        Who takes and waits in one step has set the mark, and stands in the queue, when others see what he
//        has taken.
//
// Rejected: fetch_sub instead of compare-and-swap (the count could be seen below zero before it is
// put right, and could be zero before the waiters are released); waiters that look at the count
// again when they run (it may have risen for the next round by then, and the object may be gone).
#include "gort/detail/countdown.hpp"

#include <exception>

#include "base/mem.hpp"
#include "sched/timer.hpp"
#include "sync/parking_lot.hpp"

namespace gort::detail {
namespace {

constexpr uint64_t kMark = 1;
constexpr uint64_t kOne = 2;
constexpr uint64_t kNoSuchCount = UINT64_MAX;

int64_t count_of(uint64_t word) noexcept {
  return static_cast<int64_t>(word / kOne);
}

// The word after n more.
uint64_t word_after(uint64_t word, std::ptrdiff_t n) noexcept {
  const int64_t count = count_of(word);
  if (n < -count || n > countdown::count_max - count) return kNoSuchCount;
  const auto sum = static_cast<uint64_t>(count + n);
  return sum == 0 ? 0 : sum * kOne + word % kOne;
}

WaitReason reason_of(countdown::role as) noexcept {
  switch (as) {
    case countdown::role::group:
      return WaitReason::wait_group;
    case countdown::role::latch:
      return WaitReason::latch;
    case countdown::role::future:
      return WaitReason::future;
  }
  return WaitReason::none;
}

// CD2: by the address only.
void take_out_all(ParkingBucket& bucket, const void* address, GList& woken) noexcept
    GORT_REQUIRES(bucket.lock) {
  while (Parked* w = bucket.pop(address)) {
    w->cause = WakeCause::notified;
    woken.push_back(w->g);
  }
}

}  // namespace

bool countdown::add(std::ptrdiff_t n) noexcept {
  // relaxed: the exchange decides.
  uint64_t word = word_.load(std::memory_order_relaxed);
  for (;;) {
    const uint64_t next = word_after(word, n);
    if (next == kNoSuchCount) return false;
    if (next == 0 && word % kOne == kMark) break;
    // release: what came before this add() is published to the waiters; what came before the
    // earlier ones goes with it, since exchanges continue a release sequence.
    if (word_.compare_exchange_weak(word, next, std::memory_order_release,
                                    std::memory_order_relaxed)) {
      return true;  // CD2
    }
  }

  const Region in;
  ParkingBucket& bucket = parking_lot.bucket_for(this);
  GList woken;
  {
    const LockGuard guard(bucket.lock);
    uint64_t next;
    do {
      next = word_after(word, n);
      if (next == kNoSuchCount) return false;
      // release: as above. acquire: we wake the waiters, who learn from us what the earlier ones did.
    } while (!word_.compare_exchange_weak(word, next, std::memory_order_acq_rel,
                                          std::memory_order_relaxed));
    if (Mem::recheck(next != 0)) return true;  // raised again meanwhile
    take_out_all(bucket, this, woken);
  }
  chaos_point(ChaosPoint::sync_waking);
  ready_list(woken);
  return true;
}

bool countdown::wait_until_ns(int64_t until_ns, role as) {
  // acquire: pairs with add(); learns what was done.
  if (count_of(word_.load(std::memory_order_acquire)) == 0) return true;
  const bool cancellable = as != role::latch;
  const Region in;
  if (has_passed(until_ns)) return false;
  if (cancellable && stop_pending()) deliver_stop();

  Parked w;
  ParkingBucket& bucket = prepare_to_queue(w, this, reason_of(as));
  // A wait in a destructor must not throw while the stack is unwound.
  if (cancellable && std::uncaught_exceptions() == 0) w.cancel = cancel_queued;
  bucket.lock.lock();
  // acquire: as above.
  uint64_t word = word_.load(std::memory_order_acquire);
  do {
    if (Mem::recheck(count_of(word) == 0)) {
      bucket.lock.unlock();
      return true;
    }
    // acquire if it fails: as above. On success the mark is for add(), which takes the lock.
    // unmodelled: g++ takes no order that is weaker on success.
  } while (!word_.compare_exchange_weak(word, word | kMark, std::memory_order_acquire,
                                        std::memory_order_acquire));
  bucket.push_back(w);
  const WakeCause cause = park_queued(bucket, w, until_ns);
  if (cause == WakeCause::stopped) deliver_stop();
  return cause == WakeCause::notified;
}

bool countdown::take_and_wait(std::ptrdiff_t n, role as) noexcept {
  const Region in;
  Parked w;
  ParkingBucket& bucket = prepare_to_queue(w, this, reason_of(as));
  GList woken;
  bucket.lock.lock();
  // relaxed: the exchange decides.
  uint64_t word = word_.load(std::memory_order_relaxed);
  uint64_t next;
  do {
    next = word_after(word, -n);
    if (next == kNoSuchCount) {
      bucket.lock.unlock();
      return false;
    }
    if (next != 0) next |= kMark;
    // release and acquire: as in add(). CD2. modelled in LatchModel.
  } while (!word_.compare_exchange_weak(word, next, std::memory_order_acq_rel,
                                        std::memory_order_relaxed));
  if (next != 0) {
    bucket.push_back(w);
    park_queued(bucket, w, kNever);
    return true;
  }
  take_out_all(bucket, this, woken);
  bucket.lock.unlock();
  ready_list(woken);
  return true;
}

}  // namespace gort::detail
