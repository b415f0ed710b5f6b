// condition_variable: a mark that somebody may wait, and a queue in the parking lot.
//
//   CV1  `waited_` is set while somebody is queued. It is set under the bucket's lock by waiters,
//        before they release the mutex, and cleared under the bucket's lock by the notify that
//        leaves no one. So a notify that finds it clear needs no lock. Waiters that leave by their
//        time limit leave it set: they must not touch the object (CV2), and a needless look into
//        the queue is all it costs.
//   CV2  A waiter touches the object before it releases the mutex, and never after; a notify never
//        after it has unlocked the bucket. So the object may go once its waiters were notified.
//   CV3  A waiter is queued when it releases the mutex, and goes to sleep in a second step, which a
//        notify may precede (PL4 in parking_lot.hpp): no notification is lost.
//
// Rejected: a sequence number that waiters compare before they sleep, as in a futex's condition
// variable (they would touch the object after they have released the mutex, against CV2, and every
// notify would write, whether or not somebody waits); releasing the mutex under the bucket's lock
// (an unlock wakes fibers, and may start a thread for them: far too much to do under a lock);
// moving the notified from here to the mutex's queue (wait morphing: what it spares is a switch
// where a notifier holds the mutex for long, and it ties every mutex to what its waiters came
// from).
#include "gort/condition_variable.hpp"

#include <system_error>

#include "base/mem.hpp"
#include "sync/parking_lot.hpp"

namespace gort {

std::cv_status condition_variable::wait_until_ns(std::unique_lock<mutex>& lock, int64_t until_ns) {
  if (!lock.owns_lock()) {
    throw std::system_error(std::make_error_code(std::errc::operation_not_permitted),
                            "gort::condition_variable: wait without the lock");
  }
  const Region in;
  Parked w;
  ParkingBucket& bucket = prepare_to_queue(w, this, WaitReason::condition);
  {
    const LockGuard guard(bucket.lock);
    waited_.store(1, std::memory_order_relaxed);  // relaxed: published by the mutex (CV1)
    bucket.push_back(w);
  }
  mutex* const m = lock.mutex();
  chaos_point(ChaosPoint::cv_queued);
  if (!m->release()) {
    {
      const LockGuard guard(bucket.lock);
      bucket.take_out(w);
    }
    mutex::throw_not_locked();
  }

  chaos_point(ChaosPoint::cv_queued);
  WakeCause cause = WakeCause::notified;
  bucket.lock.lock();
  if (Mem::recheck(!w.queued)) {
    bucket.lock.unlock();  // CV3: the notification came first
  } else {
    cause = park_queued(bucket, w, until_ns);
  }
  m->lock();
  return cause == WakeCause::timeout ? std::cv_status::timeout : std::cv_status::no_timeout;
}

void condition_variable::notify_one_slow() noexcept {
  const Region in;
  ParkingBucket& bucket = parking_lot.bucket_for(this);
  bucket.lock.lock();
  Parked* w = bucket.pop(this);
  if (!bucket.has(this)) waited_.store(0, std::memory_order_relaxed);  // relaxed: CV1
  G* g = nullptr;
  if (w != nullptr) {
    w->cause = WakeCause::notified;
    g = w->g;
  }
  bucket.lock.unlock();
  if (g != nullptr) ready(g);
}

void condition_variable::notify_all_slow() noexcept {
  const Region in;
  ParkingBucket& bucket = parking_lot.bucket_for(this);
  GList woken;
  bucket.lock.lock();
  while (Parked* w = bucket.pop(this)) {
    w->cause = WakeCause::notified;
    if (w->g != nullptr) woken.push_back(w->g);
  }
  waited_.store(0, std::memory_order_relaxed);  // relaxed: CV1
  bucket.lock.unlock();
  ready_list(woken);
}

}  // namespace gort
