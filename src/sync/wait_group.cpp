// wait_group: a count, a mark that somebody may wait, and a queue in the parking lot.
//
//   WG1  The word is twice the count, plus 1 while somebody may wait. The mark is set under the
//        bucket's lock. With the mark set, the count becomes zero under the bucket's lock only, in
//        one step with the mark, and all who are queued are taken out under that same hold of it.
//   WG2  The step that makes the count zero is the last access of add() to the object: from there
//        on a wait() may return and the object be gone. Waiters that are woken do not touch it
//        again, nor do those that leave early (the mark they leave costs a look into the queue).
//
// Rejected: fetch_sub instead of compare-and-swap (the count could be seen below zero before it is
// put right, and could be zero before the waiters are released); waiters that look at the count
// again when they run (it may have risen for the next round by then, and the object may be gone).
#include "gort/wait_group.hpp"

#include <exception>
#include <stdexcept>

#include "base/mem.hpp"
#include "sync/parking_lot.hpp"

namespace gort {
namespace {

constexpr uint64_t kMark = 1;
constexpr uint64_t kOne = 2;
constexpr int64_t kCountMax = int64_t{1} << 62;

int64_t count_of(uint64_t word) noexcept {
  return static_cast<int64_t>(word / kOne);
}

// The word after n more. Throws if there is no such count.
uint64_t word_after(uint64_t word, std::ptrdiff_t n) {
  const int64_t count = count_of(word);
  if (n < -count || n > kCountMax - count) leave_region();
  if (n < -count) throw std::logic_error("gort::wait_group: the count would fall below zero");
  if (n > kCountMax - count) throw std::logic_error("gort::wait_group: the count is too large");
  const auto sum = static_cast<uint64_t>(count + n);
  return sum == 0 ? 0 : sum * kOne + word % kOne;
}

}  // namespace

void wait_group::add(std::ptrdiff_t n) {
  // relaxed: the exchange decides.
  uint64_t word = word_.load(std::memory_order_relaxed);
  for (;;) {
    const uint64_t next = word_after(word, n);
    if (next == 0 && word % kOne == kMark) break;
    // release: what came before this done() is published to the waiters; what came before the
    // earlier ones goes with it, since exchanges continue a release sequence.
    if (word_.compare_exchange_weak(word, next, std::memory_order_release,
                                    std::memory_order_relaxed)) {
      return;  // WG2
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
      // release: as above. acquire: we wake the waiters, who learn from us what the earlier ones did.
    } while (!word_.compare_exchange_weak(word, next, std::memory_order_acq_rel,
                                          std::memory_order_relaxed));
    if (Mem::recheck(next != 0)) return;  // raised again meanwhile
    // WG2: from here on the address only.
    while (Parked* w = bucket.pop(this)) {
      w->cause = WakeCause::notified;
      woken.push_back(w->g);
    }
  }
  ready_list(woken);
}

bool wait_group::wait_until_ns(int64_t until_ns) {
  // acquire: pairs with add(); learns what was done.
  if (count_of(word_.load(std::memory_order_acquire)) == 0) return true;
  const Region in;
  if (stop_pending()) deliver_stop();

  Parked w;
  ParkingBucket& bucket = prepare_to_queue(w, this, WaitReason::wait_group);
  // A wait in a destructor must not throw while the stack is unwound.
  if (std::uncaught_exceptions() == 0) w.cancel = cancel_queued;
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

}  // namespace gort
