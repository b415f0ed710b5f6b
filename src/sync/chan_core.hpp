// chan_core: what a channel is, for those who wait in it: chan.cpp in one, select.cpp in several at once.
//
//   C1  Under the lock: receivers wait only while the ring is empty and no sender waits; senders
//       wait only while the ring is full (capacity 0: always full) and no receiver waits. Not counted
//       are waits that something else has ended meanwhile, and the other cases of the same select.
//   C2  A node in a queue belongs to a fiber that has left its stack or that holds the lock; its
//       element may be read or written under the lock by whoever has dequeued and, if it has
//       rivals, claimed it.
//   C3  Wait::cause tells the woken fiber how it went: notified, its value was moved; closed, the
//       channel was closed first.
//   C4  A closed channel has no waiters.
//   C5  Nobody waits in a channel when its last handle goes. Waits hold no reference: whoever waits has a handle, or refers
//       to somebody's that stays. Who is still queued is not on its way out either: a time limit, a stop request and a
//       select's other case are followed by a look at the queue under the lock, which ends the wait, and until then
//       the waiter needs the channel as much as one who sleeps.
#pragma once

#include <cstddef>
#include <cstring>

#include "base/mem.hpp"
#include "base/thread_safety.hpp"
#include "gort/chan.hpp"
#include "gort/detail/select.hpp"
#include "sched/park.hpp"
#include "sync/chan_internal.hpp"

namespace gort::detail {

// A wait in several queues, or in one several times.
struct CasesWait : Wait {
  Plain<chan_node*> winner = nullptr;  // written by whoever has claimed it for a case
};

// FIFO with removal from the middle. Protected by the channel's lock.
struct chan_queue {
  Plain<chan_node*> first = nullptr;
  Plain<chan_node*> last = nullptr;

  void push(chan_node* n) noexcept;
  void remove(chan_node* n) noexcept;
  // The first waiter that we may wake, claimed (C2); nullptr if there is none.
  chan_node* pop() noexcept;
};

inline void chan_queue::push(chan_node* n) noexcept {
  n->queue = this;
  n->prev = last;
  n->next = nullptr;
  if (__builtin_expect(first == nullptr, 1)) {
    first = n;
  } else {
    last->next = n;
  }
  last = n;
}

inline void chan_queue::remove(chan_node* n) noexcept {
  (n->prev != nullptr ? n->prev->next : first) = n->next;
  (n->next != nullptr ? n->next->prev : last) = n->prev;
  n->queue = nullptr;
}

// A wait that its time limit, or another of its cases, may end just now. Who loses leaves it alone, and takes the
// next one.
[[nodiscard]] inline bool claim_from_rivals(chan_node& n) noexcept {
  chaos_point(ChaosPoint::chan_claimed);
  Wait& w = *n.wait;
  if (!claim(w)) return false;
  if (n.against == rivals::cases) static_cast<CasesWait&>(w).winner = &n;
  return true;
}

inline chan_node* chan_queue::pop() noexcept {
  while (chan_node* n = first) {
    first = n->next;
    if (__builtin_expect(first == nullptr, 1)) {
      last = nullptr;
    } else {
      first->prev = nullptr;
    }
    n->queue = nullptr;
    if (__builtin_expect(n->against == rivals::none, 1) || claim_from_rivals(*n)) return n;
  }
  return nullptr;
}

class alignas(64) chan_core {
 public:
  chan_core(size_t capacity, const element_ops& ops) noexcept;

  op_status send(void* value, int64_t deadline_ns);
  op_status recv(void* out, int64_t deadline_ns);
  void close();
  // Sends without waiting, or drops the value. Returns whom the caller has to make ready, or nullptr.
  G* offer(void* value) noexcept;

  // For select: the pieces of the above.
  void lock() noexcept GORT_ACQUIRE(lock_) { lock_.lock(); }
  [[nodiscard]] bool try_lock() noexcept GORT_TRY_ACQUIRE(true, lock_) { return lock_.try_lock(); }
  void unlock() noexcept GORT_RELEASE(lock_) { lock_.unlock(); }

  // What can be done at once: ok, closed; full or empty if nothing can. *partner: who waited for it, to be made ready
  // once the lock is released, or nullptr.
  op_status send_now(void* value, G** partner) noexcept GORT_REQUIRES(lock_);
  op_status recv_now(void* out, G** partner) noexcept GORT_REQUIRES(lock_);
  void queue_sender(chan_node* n) noexcept GORT_REQUIRES(lock_) { senders_.push(n); }
  void queue_receiver(chan_node* n) noexcept GORT_REQUIRES(lock_) { receivers_.push(n); }

  [[nodiscard]] bool closed() noexcept {
    LockGuard guard(lock_);
    return closed_;
  }
  [[nodiscard]] size_t size() noexcept {
    LockGuard guard(lock_);
    return count_;
  }
  [[nodiscard]] size_t capacity() const noexcept { return capacity_; }

  void retain() noexcept { refs_.fetch_add(1, std::memory_order_relaxed); }  // relaxed: we hold one
  // acq_rel: the last one sees all that the others did.
  [[nodiscard]] bool release() noexcept {
    return refs_.fetch_sub(1, std::memory_order_acq_rel) == 1;
  }
  // By the owner of the last reference, who has seen all that was done under the lock by those who let go of theirs, or of
  // what they referred to: so there is no need to take it. In a child of a fork it may be held for ever.
  [[nodiscard]] bool has_waiters() const noexcept GORT_NO_THREAD_SAFETY_ANALYSIS {
    return receivers_.first != nullptr || senders_.first != nullptr;
  }
  // By the owner of the last reference. Not checked: there is nobody else.
  void destroy_elements() noexcept GORT_NO_THREAD_SAFETY_ANALYSIS;

  static size_t block_align(const element_ops& ops) noexcept {
    return ops.align > alignof(chan_core) ? ops.align : alignof(chan_core);
  }
  [[nodiscard]] size_t align() const noexcept { return block_align(ops_); }
  static size_t ring_offset(size_t align) noexcept {
    return (sizeof(chan_core) + align - 1) & ~(align - 1);
  }
  void set_ring(std::byte* ring) noexcept { ring_ = ring; }
  void set_companion(ChanCompanion* c) noexcept { companion_ = c; }
  // By the owner of the last reference.
  void end_companion() const noexcept {
    if (companion_ != nullptr) companion_->end(companion_);
  }

 private:
  std::byte* at(size_t i) noexcept { return ring_ + i * ops_.bytes; }
  void move(void* to, void* from) const noexcept;
  void push_ring(void* value) noexcept GORT_REQUIRES(lock_);
  void pop_ring(void* out) noexcept GORT_REQUIRES(lock_);
  // Called with the lock held; the far side of the park releases it.
  op_status wait(chan_queue& queue, void* element, int64_t deadline_ns, WaitReason reason)
      GORT_RELEASE(lock_);
  op_status wait_slow(chan_queue& queue, void* element, int64_t deadline_ns, WaitReason reason)
      GORT_RELEASE(lock_);
  static op_status outcome(WakeCause cause);

  ParkLock lock_;
  Plain<bool> closed_ GORT_GUARDED_BY(lock_) = false;
  Atomic<uint32_t> refs_{1};
  const element_ops ops_;
  const size_t capacity_;
  Plain<size_t> count_ GORT_GUARDED_BY(lock_) = 0;
  Plain<size_t> head_ GORT_GUARDED_BY(lock_) = 0;  // the oldest element
  chan_queue receivers_ GORT_GUARDED_BY(lock_);
  chan_queue senders_ GORT_GUARDED_BY(lock_);
  std::byte* ring_ = nullptr;
  ChanCompanion* companion_ = nullptr;  // constant once the channel is known
};

inline void chan_core::move(void* to, void* from) const noexcept {
  if (ops_.move != nullptr) return ops_.move(to, from);
  // The common sizes without a call.
  switch (ops_.bytes) {
    case sizeof(uint32_t):
      std::memcpy(to, from, sizeof(uint32_t));
      break;
    case sizeof(uint64_t):
      std::memcpy(to, from, sizeof(uint64_t));
      break;
    default:
      std::memcpy(to, from, ops_.bytes);
  }
}

inline void chan_core::push_ring(void* value) noexcept {
  size_t i = head_ + count_;
  if (i >= capacity_) i -= capacity_;
  move(at(i), value);
  ++count_;
}

inline void chan_core::pop_ring(void* out) noexcept {
  move(out, at(head_));
  if (ops_.destroy != nullptr) ops_.destroy(at(head_));
  if (++head_ == capacity_) head_ = 0;
  --count_;
}

// Inline in all three places where it is used: what a plain send or receive adds is a test that the compiler sees through.
[[gnu::always_inline]] inline op_status chan_core::send_now(void* value, G** partner) noexcept {
  *partner = nullptr;
  if (closed_) return op_status::closed;
  if (chan_node* n = receivers_.pop(); n != nullptr) {
    move(n->element, value);
    *partner = n->wait->g;
    return op_status::ok;
  }
  if (count_ == capacity_) return op_status::full;
  push_ring(value);
  return op_status::ok;
}

[[gnu::always_inline]] inline op_status chan_core::recv_now(void* out, G** partner) noexcept {
  *partner = nullptr;
  if (count_ != 0) {
    pop_ring(out);
    if (chan_node* n = senders_.pop(); n != nullptr) {
      push_ring(n->element);
      *partner = n->wait->g;
    }
    return op_status::ok;
  }
  if (chan_node* n = senders_.pop(); n != nullptr) {  // unbuffered
    move(out, n->element);
    *partner = n->wait->g;
    return op_status::ok;
  }
  return closed_ ? op_status::closed : op_status::empty;
}

}  // namespace gort::detail
