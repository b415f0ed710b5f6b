// shared_mutex: one word, and a line of waiters in the parking lot, readers and writers together. For its writers it is
// mutex.cpp.
//
//   bits     set or raised                      cleared or lowered
//   writer   by the new owner, or whoever       by the owner's unlock
//            hands over to him
//   parked   by a waiter that queues itself     under the bucket's lock by who finds the line empty
//   woken    by the unlock that wakes a writer  by that one, once he owns the mutex or queues again
//   readers  by readers, or whoever lets        by each reader's unlock
//            them in
//
//   SH1  `parked` is set while somebody is in line; it changes under the bucket's lock only. Waiters that leave by their
//        time limit may leave it set; whoever comes by that lock and finds nobody clears it.
//   SH2  Readers come in by themselves only while the mutex is free, or shared with nobody in line. So no writer
//        in line waits for readers that came after him, but for those that found the mutex free while he was on his way.
//   SH3  If somebody is in line, the mutex is owned or `woken` is set (M3 in mutex.cpp); and if the first in line is a
//        reader, a writer owns it, or `woken` is set, or somebody is about to look: the unlock of the last owner passes
//        the mutex on under the bucket's lock, and so does a writer who leaves the line by his time limit while readers
//        own it, to the readers behind him.
//   SH4  What is passed on: to readers, as many as stand first in line, all at once; to a writer, a wake-up, or, when he
//        has waited for kPatienceNs, the mutex itself. One who was woken and lost queues at the front.
//   SH5  The step of an unlock that lets another owner in comes after its last access to the mutex, or is it (M5).
//
// Two who both have to be right: whoever unlocks last may not look at the mutex behind the step by which it is free, so
// a reader who is the last one, with somebody in line and nobody woken, takes the bucket's lock while he still owns it.
// With `parked` set and not `woken`, nobody comes in or goes meanwhile but by that lock.
//
// Rejected: Go's RWMutex, a mutex for the writers and counts beside it (an unlock has two steps, and behind the one that lets
// readers in the other touches an object that may be gone; a writer pays twice the exchanges); always handing over (as in
// mutex.cpp); readers first, or writers first (the others starve); waking readers to let them race (each would
// take an exchange that the one who wakes them makes for all).
#include "gort/shared_mutex.hpp"

#include <system_error>

#include "base/mem.hpp"
#include "sync/parking_lot.hpp"
#include "sync/spin.hpp"

namespace gort {
namespace {

enum class Way : uint8_t { reader, writer };

struct SharedWait : Parked {
  explicit SharedWait(Way w) noexcept : way(w) {}
  Plain<Way> way;
  Plain<bool> granted = false;  // written by who passes it on, before ready()
  Plain<int64_t> since_ns = 0;  // writers only
};

SharedWait* first_in_line(ParkingBucket& bucket, const void* mutex) noexcept
    GORT_REQUIRES(bucket.lock) {
  return static_cast<SharedWait*>(bucket.front(mutex));
}

// Takes w, the first, out of the line. False: his time limit came first.
bool win(ParkingBucket& bucket, SharedWait& w) noexcept GORT_REQUIRES(bucket.lock) {
  bucket.take_out(w);
  return w.timer == nullptr || claim(w);
}

// Takes all readers that stand first in line, for whom there is room. How many have been won.
uint32_t take_readers(ParkingBucket& bucket, const void* mutex, GList& woken) noexcept
    GORT_REQUIRES(bucket.lock) {
  uint32_t n = 0;
  for (;;) {
    SharedWait* w = first_in_line(bucket, mutex);
    if (w == nullptr || w->way != Way::reader) return n;
    if (!win(bucket, *w)) continue;
    w->granted = true;
    woken.push_back(w->g);
    ++n;
  }
}

// What the word is when nobody owns the mutex any more, and who is woken (SH4).
struct Next {
  uint32_t readers = 0;
  SharedWait* writer = nullptr;
};
Next take_next(ParkingBucket& bucket, const void* mutex, int64_t now_ns, GList& woken) noexcept
    GORT_REQUIRES(bucket.lock) {
  for (;;) {
    const uint32_t readers = take_readers(bucket, mutex, woken);
    if (readers != 0) return {readers, nullptr};
    SharedWait* w = first_in_line(bucket, mutex);
    if (w == nullptr) return {};
    if (!win(bucket, *w)) continue;
    w->granted = now_ns - w->since_ns > kPatienceNs;
    woken.push_back(w->g);
    return {0, w};
  }
}

// One goes on next; several were not waiting for what we do now.
void wake(GList& woken) noexcept {
  chaos_point(ChaosPoint::sync_waking);
  G* g = woken.pop_front();
  if (g == nullptr) return;
  if (woken.empty()) return ready(g);
  GList all;
  all.push_back(g);
  while (G* other = woken.pop_front()) all.push_back(other);
  ready_list(all);
}

}  // namespace

void shared_mutex::throw_not_locked() {
  throw std::system_error(std::make_error_code(std::errc::operation_not_permitted),
                          "gort::shared_mutex: unlock of a mutex that is not locked so");
}

bool shared_mutex::lock_slow(int64_t until_ns) noexcept {
  const Region in;
  SharedWait w(Way::writer);
  uint32_t own_woken = 0;  // `woken` while we are the one who was woken
  int rounds = 0;
  for (;;) {
    // relaxed: the exchange decides.
    uint32_t word = word_.load(std::memory_order_relaxed);
    if (is_free(word)) {
      // acquire: pairs with the releases of all who unlock.
      if (word_.compare_exchange_weak(word, (word | writer) & ~own_woken, std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
        return true;
      }
      continue;
    }
    if (rounds < kSpinRounds && may_spin()) {
      ++rounds;
      spin_round();
      continue;
    }

    if (w.bucket == nullptr) {
      const int64_t now_ns = os::nanotime();
      if (until_ns <= now_ns) return false;
      prepare_to_queue(w, this, WaitReason::shared_mutex);
      w.since_ns = now_ns;
    }
    ParkingBucket& bucket = *w.bucket;
    bucket.lock.lock();
    word = word_.load(std::memory_order_relaxed);  // relaxed: the exchange decides
    bool owned;
    // relaxed: the bit is for unlocks, which learn the line from the bucket's lock. SH3.
    while ((owned = !Mem::recheck(is_free(word))) &&
           !word_.compare_exchange_weak(word, (word | parked) & ~own_woken,
                                        std::memory_order_relaxed, std::memory_order_relaxed)) {
    }
    if (!owned) {
      bucket.lock.unlock();
      continue;
    }
    if (own_woken != 0) {
      bucket.push_front(w);  // SH4
    } else {
      bucket.push_back(w);
    }
    // A limit that has passed while we were awake ends this wait at once, from within the line (SH3).
    const WakeCause cause = park_queued(bucket, w, until_ns);
    if (w.granted) return true;
    if (cause == WakeCause::timeout) {
      leave_line();
      return false;
    }
    own_woken = woken;
    rounds = 0;
    w.claimed.store(0, std::memory_order_relaxed);  // relaxed: ours until the lock publishes it
  }
}

// A writer has left the line by his time limit. If readers own the mutex, those behind him come in (SH3).
void shared_mutex::leave_line() noexcept {
  ParkingBucket& bucket = parking_lot.bucket_for(this);
  GList woken_now;
  bucket.lock.lock();
  // relaxed: who is let in knows what the last writer did. He has queued, by acquire, behind those who own the mutex now; or
  // they have come in with him in line, which goes by this lock.
  uint32_t word = word_.load(std::memory_order_relaxed);
  // `woken`: that one comes before them, and whoever unlocks behind him looks after them.
  if ((word & (writer | woken)) == 0 && word >= one) {
    const uint32_t more = take_readers(bucket, this, woken_now) * one;
    const uint32_t line = bucket.has(this) ? parked : 0;
    // Readers may leave meanwhile, the last one not (he needs the lock, if anybody is in line); nobody comes.
    // relaxed: others know nothing from us.
    while (more != 0 &&
           !word_.compare_exchange_weak(word, ((word + more) & ~parked) | line,
                                        std::memory_order_relaxed, std::memory_order_relaxed)) {
    }
  }
  bucket.lock.unlock();
  wake(woken_now);
}

// Under the bucket's lock it shows whether `parked` stands for anybody (SH1).
bool shared_mutex::lock_shared_slow(int64_t until_ns) {
  Region in;
  for (int rounds = 0; rounds < kSpinRounds && may_spin(); ++rounds) {
    spin_round();
    if (join()) return true;
  }
  SharedWait w(Way::reader);
  ParkingBucket& bucket = prepare_to_queue(w, this, WaitReason::shared_mutex);
  const bool too_late = until_ns <= os::nanotime();
  bucket.lock.lock();
  // relaxed: the exchange decides.
  uint32_t word = word_.load(std::memory_order_relaxed);
  for (;;) {
    const bool line = bucket.has(this);
    const bool open = Mem::recheck((word & writer) == 0 && (is_free(word) || !line));
    if (open && word >= full) {
      bucket.lock.unlock();
      if (until_ns != kNever) return false;
      in.leave();
      throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again),
                              "gort::shared_mutex: too many readers");
    }
    if (!open && too_late) {
      bucket.lock.unlock();
      return false;
    }
    const uint32_t next = open ? (line ? word : word & ~parked) + one : word | parked;
    // acquire: pairs with the release of the last writer. On marking, the bit is for unlocks. SH3.
    if (word_.compare_exchange_weak(word, next, std::memory_order_acquire,
                                    std::memory_order_relaxed)) {
      if (!open) break;
      bucket.lock.unlock();
      return true;
    }
  }
  bucket.push_back(w);
  park_queued(bucket, w, until_ns);
  return w.granted;
}

bool shared_mutex::try_lock_shared_slow() noexcept {
  // relaxed: the exchange decides.
  uint32_t word = word_.load(std::memory_order_relaxed);
  if ((word & writer) != 0 || word >= full) return false;
  const Region in;
  ParkingBucket& bucket = parking_lot.bucket_for(this);
  const LockGuard guard(bucket.lock);
  const bool line = bucket.has(this);
  while ((word & writer) == 0 && (is_free(word) || !line) && word < full) {
    // acquire: pairs with the release of the last writer. SH1.
    if (word_.compare_exchange_weak(word, (line ? word : word & ~parked) + one,
                                    std::memory_order_acquire, std::memory_order_relaxed)) {
      return true;
    }
  }
  return false;
}

void shared_mutex::unlock_slow() {
  Region in;
  // relaxed: `writer` is ours; of the rest the exchange decides.
  uint32_t word = word_.load(std::memory_order_relaxed);
  while ((word & (parked | woken)) != parked || (word & writer) == 0) {
    if ((word & writer) == 0) {
      in.leave();
      throw_not_locked();
    }
    // release: pairs with the acquires of all who lock. SH5.
    if (word_.compare_exchange_weak(word, word & ~writer, std::memory_order_release,
                                    std::memory_order_relaxed)) {
      return;
    }
  }
  const int64_t now_ns = os::nanotime();
  ParkingBucket& bucket = parking_lot.bucket_for(this);
  GList woken_now;
  bucket.lock.lock();
  const Next next = take_next(bucket, this, now_ns, woken_now);
  const uint32_t first = next.writer == nullptr ? 0 : next.writer->granted ? writer : woken;
  // Nobody else writes the word meanwhile: it is locked, by us, and so is the bucket.
  // release: pairs with the acquires of all who lock; what is handed over is published by ready(). SH5.
  word_.store(next.readers * one | first | (bucket.has(this) ? parked : 0),
              std::memory_order_release);
  bucket.lock.unlock();
  wake(woken_now);
}

void shared_mutex::unlock_shared_slow() {
  Region in;
  const int64_t now_ns = os::nanotime();
  ParkingBucket& bucket = parking_lot.bucket_for(this);
  GList woken_now;
  bucket.lock.lock();
  for (;;) {
    // acquire: pairs with the releases of the other readers; the next writer may learn from us what they did.
    uint32_t word = word_.load(std::memory_order_acquire);
    if (word < one) {
      bucket.lock.unlock();
      in.leave();
      throw_not_locked();
    }
    if (Mem::recheck(is_last_for_others(word))) break;
    // release: pairs with the acquire of the next writer. relaxed: a failure learns nothing. SH5.
    if (word_.compare_exchange_weak(word, word - one, std::memory_order_release,
                                    std::memory_order_relaxed)) {
      bucket.lock.unlock();
      return;
    }
  }
  const Next next = take_next(bucket, this, now_ns, woken_now);
  const uint32_t first = next.writer == nullptr ? 0 : next.writer->granted ? writer : woken;
  // Nobody else writes the word meanwhile: we are the last reader, and nobody comes in (SH2).
  // release: as in unlock_slow(). SH5.
  word_.store(next.readers * one | first | (bucket.has(this) ? parked : 0),
              std::memory_order_release);
  bucket.lock.unlock();
  wake(woken_now);
}

}  // namespace gort
