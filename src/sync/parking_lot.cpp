#include "sync/parking_lot.hpp"

#include <functional>
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

namespace {

bool is_before(const void* a, const void* b) noexcept {
  return std::less<>()(a, b);
}

// Finalized as MurmurHash3 does: what objects in an array, or at the same place of each stack, have in common must not show in
// the tree's shape, and all in a bucket have the high bits of the other hash in common.
uint32_t priority_of(const void* address) noexcept {
  auto h = static_cast<uint64_t>(reinterpret_cast<uintptr_t>(address));
  h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdULL;
  h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53ULL;
  return static_cast<uint32_t>(h >> 32);
}

// What hangs in the slot, less its root.
void take_root(Plain<Parked*>& slot) noexcept {
  const Parked& root = *slot;
  Parked* left = root.left;
  Parked* right = root.right;
  Plain<Parked*>* to = &slot;
  while (left != nullptr && right != nullptr) {
    if (left->priority >= right->priority) {
      *to = left;
      to = &left->right;
      left = *to;
    } else {
      *to = right;
      to = &right->left;
      right = *to;
    }
  }
  *to = left != nullptr ? left : right;
}

}  // namespace

Plain<Parked*>* ParkingBucket::find(const void* address) noexcept {
  Plain<Parked*>* slot = &top;
  for (Parked* at = *slot; at != nullptr && at->address != address; at = *slot) {
    slot = is_before(address, at->address) ? &at->left : &at->right;
  }
  return slot;
}

// PL6. Comes in where the first of lower priority stands, and takes what was there apart.
void ParkingBucket::insert(Parked& w) noexcept {
  w.priority = priority_of(w.address);
  Plain<Parked*>* slot = &top;
  for (Parked* at = *slot; at != nullptr && at->priority >= w.priority; at = *slot) {
    slot = is_before(w.address, at->address) ? &at->left : &at->right;
  }
  Parked* at = *slot;
  *slot = &w;
  Plain<Parked*>* smaller = &w.left;
  Plain<Parked*>* greater = &w.right;
  while (at != nullptr) {
    if (is_before(w.address, at->address)) {
      *greater = at;
      greater = &at->left;
      at = *greater;
    } else {
      *smaller = at;
      smaller = &at->right;
      at = *smaller;
    }
  }
  *smaller = nullptr;
  *greater = nullptr;
}

void ParkingBucket::replace_first(Plain<Parked*>& slot, Parked& first, Parked& to) noexcept {
  to.last = first.last;
  to.left = first.left;
  to.right = first.right;
  to.priority = first.priority;
  slot = &to;
}

void ParkingBucket::take_first(Plain<Parked*>& slot, Parked& first) noexcept {
  first.queued = false;
  Parked* second = first.next;
  if (second == nullptr) return take_root(slot);
  second->prev = nullptr;
  replace_first(slot, first, *second);
}

void ParkingBucket::push_back(Parked& w) noexcept {
  w.queued = true;
  w.next = nullptr;
  Parked* first = *find(w.address);
  if (first == nullptr) {
    w.prev = nullptr;
    w.last = &w;
    return insert(w);
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
  first->prev = &w;
  replace_first(*slot, *first, w);
}

bool ParkingBucket::take_out(Parked& w) noexcept {
  if (Mem::recheck(!w.queued)) return false;  // K2
  Plain<Parked*>* slot = find(w.address);
  if (*slot == &w) {
    take_first(*slot, w);
    return true;
  }
  w.queued = false;
  w.prev->next = w.next;
  // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): w is queued, so its queue is there
  (w.next != nullptr ? w.next->prev : (*slot)->last) = w.prev;
  return true;
}

Parked* ParkingBucket::pop(const void* address) noexcept {
  Plain<Parked*>* slot = find(address);
  for (;;) {
    Parked* w = *slot;
    if (w == nullptr || w->address != address) return nullptr;
    take_first(*slot, *w);
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
