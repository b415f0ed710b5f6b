// once_flag: a state, a mark that somebody may wait, and a queue in the parking lot.
//
//     idle --> running --> done
//       ^         |
//       +---------+  the call threw, and nobody waits
//
//   ON1  `running` belongs to one caller, from begin() to finish() or give_up(); he alone moves it on. `parked` is set
//        beside `running` only, under the bucket's lock, by those who queue, and while it is set `running` is left under that
//        lock, in one step with it: by finish(), which takes all of them out, or by give_up(), which hands `running` to the
//        first of them and leaves the others.
//   ON2  The step that says `done` is the last access of finish() to the flag (PL3 in parking_lot.hpp); who waited
//        goes by what he is told, and does not look at it again.
//
// Rejected: waking all when a call has thrown, to let them race for the next one (all but one queue again).
#include "gort/once.hpp"

#include "base/check.hpp"
#include "base/mem.hpp"
#include "sync/parking_lot.hpp"

namespace gort {
namespace {

struct OnceWait : Parked {
  Plain<bool> granted = false;  // written by give_up(): the next call is ours
};

}  // namespace

bool once_flag::begin() noexcept {
  uint32_t word = idle;
  // acquire: what a call that threw has done comes before the next one; or, what the one did that is done.
  if (word_.compare_exchange_strong(word, running, std::memory_order_acquire,
                                    std::memory_order_acquire)) {
    return true;
  }
  if (word == done) return false;

  const Region in;
  OnceWait w;
  ParkingBucket& bucket = prepare_to_queue(w, this, WaitReason::once);
  bucket.lock.lock();
  word = word_.load(std::memory_order_acquire);  // acquire: as above
  for (;;) {
    if (Mem::recheck(word == done)) {
      bucket.lock.unlock();
      return false;
    }
    const bool free = Mem::recheck(word == idle);
    // acquire: as above. On marking, the mark is for the caller, who takes the lock (ON1).
    if (word_.compare_exchange_weak(word, free ? running : word | parked, std::memory_order_acquire,
                                    std::memory_order_acquire)) {
      if (!free) break;
      bucket.lock.unlock();
      return true;
    }
  }
  bucket.push_back(w);
  park_queued(bucket, w, kNever);
  return w.granted;
}

void once_flag::finish() noexcept {
  uint32_t word = running;
  // release: pairs with the acquires of all who find it done. relaxed: a failure learns nothing.
  if (word_.compare_exchange_strong(word, done, std::memory_order_release,
                                    std::memory_order_relaxed)) {
    return;  // ON2
  }
  const Region in;
  ParkingBucket& bucket = parking_lot.bucket_for(this);
  GList woken;
  bucket.lock.lock();
  word_.store(done, std::memory_order_release);  // release: as above. ON1, ON2
  while (Parked* w = bucket.pop(this)) woken.push_back(w->g);
  bucket.lock.unlock();
  chaos_point(ChaosPoint::sync_waking);
  ready_list(woken);
}

void once_flag::give_up() noexcept {
  uint32_t word = running;
  // release: pairs with the acquire of who calls next. relaxed: a failure learns nothing.
  if (word_.compare_exchange_strong(word, idle, std::memory_order_release,
                                    std::memory_order_relaxed)) {
    return;
  }
  const Region in;
  ParkingBucket& bucket = parking_lot.bucket_for(this);
  bucket.lock.lock();
  auto* w = static_cast<OnceWait*>(bucket.pop(this));
  GORT_CHECK(w != nullptr, "ON1: a once_flag says that somebody waits, and nobody does");
  w->granted = true;
  G* g = w->g;
  // relaxed: who comes now queues, and ready() tells the next caller. ON1
  word_.store(running | (bucket.has(this) ? parked : 0), std::memory_order_relaxed);
  bucket.lock.unlock();
  chaos_point(ChaosPoint::sync_waking);
  ready(g);
}

}  // namespace gort
