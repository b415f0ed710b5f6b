// condition_variable_any: the wait of condition_variable.cpp, cut in two, with the caller's lock in between.
//
//   CA1  A waiter is queued before it gives up the lock, goes to sleep in a second step, which a notify may precede (CV3), and
//        does not touch the condition variable after the first (CV2): it takes itself out by its bucket, if the lock throws.
//   CA2  wake() is a notification for this waiter alone. It touches the record up to the step that takes it out, and then the
//        fiber only, like every notify. It belongs to a stop callback, which is unregistered before the record's end: that
//        waits for one which is running, or, on the thread that runs it, knows that it touches nothing any more.
//   CA3  Up to the unlock of the caller's lock the fiber stays on its thread, also inside blocking(), where it may have no P: the lock may be one
//        that belongs to a thread. It gets its P back before it sleeps.
//
// Between the two steps the program's own code runs, outside of any region. The fiber may have been on several threads, and
// may have lost its P in there, before it sleeps.
//
// Rejected: a mutex inside, held by notifies and shared with the waiters that leave, as in libstdc++ (an allocation, and a
// second lock on each wait); a stop callback that notifies all (it would touch the condition variable, which may be gone).
#include "gort/condition_variable_any.hpp"

#include <exception>
#include <new>

#include "base/mem.hpp"
#include "sched/syscall.hpp"
#include "sync/parking_lot.hpp"

namespace gort::detail {

struct any_wait::record : Parked {};

any_wait::record& any_wait::self() noexcept {
  return *std::launder(static_cast<record*>(static_cast<void*>(memory_)));
}

any_wait::any_wait(condition_variable& c, stops how) {
  static_assert(sizeof(record) <= record_bytes && alignof(record) <= alignof(void*));
  const Region in;
  if (how == stops::by_request && stop_pending()) deliver_stop();
  record& w = *new (memory_) record;
  // CA3: not by prepare_to_queue().
  w.address = &c;
  w.reason = WaitReason::condition;
  ParkingBucket& bucket = parking_lot.bucket_for(&c);
  w.bucket = &bucket;
  // A wait in a destructor must not throw while the stack is unwound.
  if (how == stops::by_request && std::uncaught_exceptions() == 0) w.cancel = cancel_queued;
  const LockGuard guard(bucket.lock);
  c.waited_.store(1, std::memory_order_relaxed);  // relaxed: published by the caller's lock (CV1)
  bucket.push_back(w);
}

any_wait::~any_wait() {
  record& w = self();
  if (w.g == nullptr) {  // the lock has thrown
    const Region in;
    const LockGuard guard(w.bucket->lock);
    w.bucket->take_out(w);
  }
  w.~record();
}

any_wait::outcome any_wait::sleep(int64_t until_ns) noexcept {
  Region in;
  chaos_point(ChaosPoint::cv_queued);
  record& w = self();
  if (lacks_p()) reenter_from_blocking();
  ParkingBucket& bucket = *w.bucket;
  bucket.lock.lock();
  if (Mem::recheck(!w.queued)) {
    bucket.lock.unlock();  // CA1: the notification came first
    return outcome::woken;
  }
  switch (park_queued(bucket, w, until_ns)) {
    case WakeCause::timeout:
      return outcome::timeout;
    case WakeCause::stopped:
      // Now: the lock that follows may be one that a request ends, too, and one that a callback takes.
      mark_stop_delivered();
      in.leave();
      ask_own_token();
      return outcome::stopped;
    default:
      return outcome::woken;
  }
}

void any_wait::wake() noexcept {
  const Region in;
  record& w = self();
  ParkingBucket& bucket = *w.bucket;
  G* g = nullptr;
  bucket.lock.lock();
  if (bucket.take_out(w) && (w.timer == nullptr || claim(w))) g = w.g;
  bucket.lock.unlock();
  chaos_point(ChaosPoint::sync_waking);
  if (g != nullptr) ready(g);  // CA2
}

}  // namespace gort::detail
