// ParkingLot: the queues in which fibers and threads wait for small objects, in a static table
// keyed by the object's address. Used by everything in src/sync but channels; the objects
// themselves are a word or two.
//
// After WebKit's ParkingLot (Pizlo, "Locking in WebKit", 2016), with one queue per address as in
// Go's semaRoot, so that a hundred thousand waiters of one object do not slow a neighbour in its
// bucket. The addresses of a bucket stand in a treap (Seidel and Aragon, "Randomized search trees",
// 1996), so that a million objects with a waiter each do not, either.
//
//   PL1  A Parked is in its bucket's queue exactly while `queued` is set. Both are read and written
//        under the bucket's lock only.
//   PL2  Who wakes decides under the bucket's lock: takes the Parked out, claims it if it has a
//        timer (W1 in park.hpp), writes its cause, unlocks, and then calls ready(). A waiter whose
//        time limit has passed takes the lock and looks at `queued` before it leaves: who took it
//        out in vain is done with it by then.
//   PL3  The table outlives every object. So a waker's last steps, unlocking the bucket and
//        ready(), touch no object, and the object may be destroyed as soon as its word says that it
//        is free, or that its waiters are released.
//   PL4  A waiter may queue itself before it sleeps (condition_variable releases its mutex in
//        between). Until it sleeps, Wait::g is nullptr; who takes it out then does not call
//        ready(), and the waiter finds itself out of the queue when it takes the lock again.
//   PL5  Nobody holds two buckets' locks, nor calls ready() under one.
//   PL6  The first waiter of each address, and no other, is a node of its bucket's tree: smaller
//        addresses to the left, greater ones to the right, no node above one of greater
//        priority. The priority is a hash of the address, so the tree has one shape whatever came and
//        went, and is as deep as one grown in random order: 2 ln n at the mean.
//
// The table is one of the few globals beside Sched: objects in static storage wait here, also where
// no runtime is alive.
//
// Rejected: a lock and a list in each object (24 bytes or more each; and the unlocker of the list's
// lock touches an object that its next owner may have destroyed already); one list per bucket for
// all its addresses, as WebKit's (a popular object slows its neighbours); a futex per object
// (fibers have no futex, and a futex wake by address is this same table, kept by the kernel); a list of a
// bucket's addresses, as here until a walk through it was measured: each step is a miss of the cache, on
// another fiber's stack; a larger table (as many misses for those who use it little, and linear all the same).
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/thread_safety.hpp"
#include "sched/park.hpp"
#include "sched/park_lock.hpp"
#include "sched/region.hpp"

namespace gort {

struct ParkingBucket;

// One waiter, on its own stack.
struct Parked : Wait {
  Plain<const void*> address = nullptr;  // what it waits for
  Plain<ParkingBucket*> bucket = nullptr;

  // PL1: the bucket's lock.
  Plain<Parked*> prev = nullptr;  // towards the front of the address's queue; nullptr: the first
  Plain<Parked*> next = nullptr;
  // Of the first only (PL6).
  Plain<Parked*> last = nullptr;  // the queue's end
  Plain<Parked*> left = nullptr;
  Plain<Parked*> right = nullptr;
  Plain<uint32_t> priority = 0;
  Plain<bool> queued = false;
};

// The queues of the addresses that share one place in the table. Everything is done under its lock.
struct alignas(64) ParkingBucket {
  ParkLock lock;
  Plain<Parked*> top GORT_GUARDED_BY(lock) = nullptr;  // the tree's root

  void push_back(Parked& w) noexcept GORT_REQUIRES(lock);
  // For one that was woken and lost the race for the object.
  void push_front(Parked& w) noexcept GORT_REQUIRES(lock);
  // False: it is not in any more.
  bool take_out(Parked& w) noexcept GORT_REQUIRES(lock);
  // Takes out the first waiter that the caller has thereby won the right to wake (PL2), or nullptr.
  [[nodiscard]] Parked* pop(const void* address) noexcept GORT_REQUIRES(lock);
  // The first waiter, still queued, and perhaps not to be won any more; or nullptr.
  [[nodiscard]] Parked* front(const void* address) noexcept GORT_REQUIRES(lock) {
    return *find(address);
  }
  [[nodiscard]] bool has(const void* address) noexcept GORT_REQUIRES(lock) {
    return front(address) != nullptr;
  }

 private:
  // Where the first waiter of the address hangs; nullptr hangs there if there is none.
  Plain<Parked*>* find(const void* address) noexcept GORT_REQUIRES(lock);
  // A node for an address that has none.
  void insert(Parked& w) noexcept GORT_REQUIRES(lock);
  // `to` becomes the first where `first` was.
  static void replace_first(Plain<Parked*>& slot, Parked& first, Parked& to) noexcept;
  // Takes out the first, which hangs in the slot.
  static void take_first(Plain<Parked*>& slot, Parked& first) noexcept;
};

class ParkingLot {
 public:
  ParkingBucket& bucket_for(const void* address) noexcept;
  // In the child of a fork: makes those anew that another thread had in its hands.
  void forget_held() noexcept;

 private:
  static constexpr unsigned kBits = 9;  // 32 KiB; what collides shares a lock, no more
  ParkingBucket buckets_[size_t{1} << kBits];
};

extern ParkingLot parking_lot;

// Fills in the parts of w that concern the table. Called before the bucket is locked: a fiber
// inside blocking() gets its P back here, and may have to wait in line for it.
ParkingBucket& prepare_to_queue(Parked& w, const void* address, WaitReason reason) noexcept;

// Parks w, which is queued in `bucket` (w.bucket), until it is woken or until_ns (kNever: no limit).
// Releases the lock. Afterwards w is out of the queue.
WakeCause park_queued(ParkingBucket& bucket, Parked& w, int64_t until_ns) noexcept
    GORT_RELEASE(bucket.lock);

// Wait::cancel of a Parked.
bool cancel_queued(Wait* w) noexcept;

}  // namespace gort
