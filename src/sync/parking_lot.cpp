#include "sync/parking_lot.hpp"

#include <new>

#include "base/mem.hpp"
#include "sched/fork.hpp"
#include "sched/syscall.hpp"
#include "sched/timer.hpp"

namespace gort {

constinit ParkingLot parking_lot;

namespace {
// FK2. After a runtime whoever comes to such a bucket ends (FK1), which says more than an empty one.
const bool forgets_waiters = on_fork([]() noexcept {
  if (!after_fork) parking_lot.forget_held();
});
}  // namespace

void ParkingLot::forget_held() noexcept {
  for (ParkingBucket& bucket : buckets_) {
    if (bucket.lock.held()) new (&bucket) ParkingBucket;
  }
}

ParkingBucket& ParkingLot::bucket_for(const void* address) noexcept {
  // Fibonacci hashing: the product's high bits depend on every bit of the address.
  const auto key = static_cast<uint64_t>(reinterpret_cast<uintptr_t>(address));
  return buckets_[(key * 0x9e3779b97f4a7c15ULL) >> (64 - kBits)];
}

Plain<Parked*>* ParkingBucket::find(const void* address) noexcept {
  Plain<Parked*>* slot = &top;
  while (*slot != nullptr && (*slot)->address != address) slot = &(*slot)->below;
  return slot;
}

void ParkingBucket::push_back(Parked& w) noexcept {
  w.queued = true;
  w.next = nullptr;
  Plain<Parked*>* slot = find(w.address);
  Parked* first = *slot;
  if (first == nullptr) {
    w.prev = nullptr;
    w.last = &w;
    w.below = nullptr;
    *slot = &w;
    return;
  }
  w.prev = first->last;
  first->last->next = &w;
  first->last = &w;
}

void ParkingBucket::push_front(Parked& w) noexcept {
  Plain<Parked*>* slot = find(w.address);
  Parked* first = *slot;
  if (first == nullptr) return push_back(w);
  w.queued = true;
  w.prev = nullptr;
  w.next = first;
  w.last = first->last;
  w.below = first->below;
  first->prev = &w;
  *slot = &w;
}

bool ParkingBucket::take_out(Parked& w) noexcept {
  if (Mem::recheck(!w.queued)) return false;  // K2
  w.queued = false;
  Plain<Parked*>* slot = find(w.address);
  if (*slot != &w) {
    w.prev->next = w.next;
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): w is queued, so its queue is there
    (w.next != nullptr ? w.next->prev : (*slot)->last) = w.prev;
  } else if (w.next != nullptr) {
    w.next->prev = nullptr;
    w.next->last = w.last;
    w.next->below = w.below;
    *slot = w.next;
  } else {
    *slot = w.below;
  }
  return true;
}

Parked* ParkingBucket::pop(const void* address) noexcept {
  for (;;) {
    Parked* w = *find(address);
    if (w == nullptr) return nullptr;
    take_out(*w);
    if (w->timer == nullptr || claim(*w)) return w;
    // Its time limit came first; PL2 keeps it here until we unlock.
  }
}

ParkingBucket& prepare_to_queue(Parked& w, const void* address, WaitReason reason) noexcept {
  if (lacks_p()) reenter_from_blocking();
  chaos_preempt();
  w.address = address;
  w.reason = reason;
  w.bucket = &parking_lot.bucket_for(address);
  return *w.bucket;
}

WakeCause park_queued(ParkingBucket& bucket, Parked& w, int64_t until_ns) noexcept {
  w.lock = &bucket.lock;
  bucket.lock.released_by_park();
  if (until_ns == kNever) return park(w);
  // Times before the clock's beginning are as good as its beginning, and safe to subtract from.
  TimedPark timed(w, until_ns < 0 ? 0 : until_ns);
  const WakeCause cause = timed.park();
  if (cause == WakeCause::timeout) {
    const LockGuard guard(bucket.lock);  // PL2
    bucket.take_out(w);
  }
  return cause;
}

bool cancel_queued(Wait* wait) noexcept {
  auto* w = static_cast<Parked*>(wait);
  const LockGuard guard(w->bucket->lock);
  return w->bucket->take_out(*w) && (w->timer == nullptr || claim(*w));
}

}  // namespace gort
