// The compiled core of channels: a lock, a ring of elements, a queue of waiting senders and one of
// waiting receivers. After Go's chan.go; values go straight from the sender's stack to the
// receiver's.
//
//   C1  Under the lock: receivers wait only while the ring is empty and no sender waits; senders
//       wait only while the ring is full (capacity 0: always full) and no receiver waits.
//   C2  A Wait in a queue belongs to a fiber that has left its stack or that holds the lock; its
//       element may be read or written under the lock by whoever has dequeued and, if it has a
//       timer, claimed it.
//   C3  Wait::cause tells the woken fiber how it went: notified, its value was moved; closed, the
//       channel was closed first.
//   C4  A closed channel has no waiters.
//
// Rejected: a lock-free ring (buffered only; the lock costs one atomic exchange per operation here,
// as much as the ring's own); handing values through a heap node (an allocation per send); waking
// all and letting them race (breaks FIFO, and costs wake-ups in vain).
#include "gort/chan.hpp"

#include <cstring>
#include <new>

#include "base/mem.hpp"
#include "base/thread_safety.hpp"
#include "sched/park_inline.hpp"
#include "sched/region.hpp"
#include "sched/stop.hpp"
#include "sched/syscall.hpp"
#include "sched/timer.hpp"
#include "sync/chan_internal.hpp"

namespace gort::detail {
namespace {

struct ChanWait;

// FIFO with removal from the middle. Protected by the channel's lock.
struct WaitQueue {
  Plain<ChanWait*> first = nullptr;
  Plain<ChanWait*> last = nullptr;

  void push(ChanWait* w) noexcept;
  void remove(ChanWait* w) noexcept;
  // The first waiter that we may wake, claimed (C2); nullptr if there is none.
  ChanWait* pop() noexcept;
};

struct ChanWait : Wait {
  ChanWait(void* value, ParkLock* chan_lock) noexcept : element(value) { lock = chan_lock; }

  // push() sets these; a constructor that did would clear the whole Wait by a loop in microcode, a
  // tenth of a hand-over.
  Plain<ChanWait*> prev;
  Plain<ChanWait*> next;
  Plain<WaitQueue*> queue;  // nullptr once dequeued
  Plain<void*> element;
};

void WaitQueue::push(ChanWait* w) noexcept {
  w->queue = this;
  w->prev = last;
  w->next = nullptr;
  if (__builtin_expect(first == nullptr, 1)) {
    first = w;
  } else {
    last->next = w;
  }
  last = w;
}

void WaitQueue::remove(ChanWait* w) noexcept {
  (w->prev != nullptr ? w->prev->next : first) = w->next;
  (w->next != nullptr ? w->next->prev : last) = w->prev;
  w->queue = nullptr;
}

// A wait with a time limit, which may pass just now.
inline bool claim_timed(ChanWait& w) noexcept {
  chaos_point(ChaosPoint::chan_claimed);
  return claim(w);
}

ChanWait* WaitQueue::pop() noexcept {
  while (ChanWait* w = first) {
    first = w->next;
    if (__builtin_expect(first == nullptr, 1)) {
      last = nullptr;
    } else {
      first->prev = nullptr;
    }
    w->queue = nullptr;
    if (__builtin_expect(w->timer == nullptr, 1) || claim_timed(*w)) return w;
  }
  return nullptr;
}

bool cancel_chan_wait(Wait* base) noexcept {
  auto* w = static_cast<ChanWait*>(base);
  LockGuard guard(*w->lock);
  if (Mem::recheck(w->queue == nullptr)) return false;
  if (w->timer != nullptr && !claim(*w)) return false;
  w->queue->remove(w);
  return true;
}

}  // namespace

class alignas(64) chan_core {
 public:
  chan_core(size_t capacity, const element_ops& ops) noexcept : ops_(ops), capacity_(capacity) {
    const Region in;  // RG1: which P it holds is looked at
    lock_.bias();
  }

  op_status send(void* value, int64_t deadline_ns);
  op_status recv(void* out, int64_t deadline_ns);
  void close();
  G* offer(void* value) noexcept;

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
  op_status wait(WaitQueue& queue, void* element, int64_t deadline_ns, WaitReason reason)
      GORT_RELEASE(lock_);
  op_status wait_slow(WaitQueue& queue, void* element, int64_t deadline_ns, WaitReason reason)
      GORT_RELEASE(lock_);
  static op_status outcome(WakeCause cause);

  ParkLock lock_;
  Plain<bool> closed_ GORT_GUARDED_BY(lock_) = false;
  Atomic<uint32_t> refs_{1};
  const element_ops ops_;
  const size_t capacity_;
  Plain<size_t> count_ GORT_GUARDED_BY(lock_) = 0;
  Plain<size_t> head_ GORT_GUARDED_BY(lock_) = 0;  // the oldest element
  WaitQueue receivers_ GORT_GUARDED_BY(lock_);
  WaitQueue senders_ GORT_GUARDED_BY(lock_);
  std::byte* ring_ = nullptr;
  ChanCompanion* companion_ = nullptr;  // constant once the channel is known
};

void chan_core::move(void* to, void* from) const noexcept {
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

void chan_core::push_ring(void* value) noexcept {
  size_t i = head_ + count_;
  if (i >= capacity_) i -= capacity_;
  move(at(i), value);
  ++count_;
}

void chan_core::pop_ring(void* out) noexcept {
  move(out, at(head_));
  if (ops_.destroy != nullptr) ops_.destroy(at(head_));
  if (++head_ == capacity_) head_ = 0;
  --count_;
}

op_status chan_core::send(void* value, int64_t deadline_ns) {
  lock_.lock();
  if (closed_) {
    lock_.unlock();
    return op_status::closed;
  }
  if (ChanWait* w = receivers_.pop(); w != nullptr) {
    move(w->element, value);
    lock_.unlock();
    ready(w->g);
    return op_status::ok;
  }
  if (count_ < capacity_) {
    push_ring(value);
    lock_.unlock();
    return op_status::ok;
  }
  if (deadline_ns == chan_now) {
    lock_.unlock();
    return op_status::full;
  }
  return wait(senders_, value, deadline_ns, WaitReason::chan_send);
}

G* chan_core::offer(void* value) noexcept {
  const LockGuard guard(lock_);
  if (closed_) return nullptr;
  if (ChanWait* w = receivers_.pop(); w != nullptr) {
    move(w->element, value);
    return w->g;
  }
  if (count_ < capacity_) push_ring(value);
  return nullptr;
}

op_status chan_core::recv(void* out, int64_t deadline_ns) {
  lock_.lock();
  if (count_ != 0) {
    pop_ring(out);
    ChanWait* w = senders_.pop();
    if (w != nullptr) {
      push_ring(w->element);
    }
    lock_.unlock();
    if (w != nullptr) ready(w->g);
    return op_status::ok;
  }
  if (ChanWait* w = senders_.pop(); w != nullptr) {  // unbuffered
    move(out, w->element);
    lock_.unlock();
    ready(w->g);
    return op_status::ok;
  }
  if (closed_) {
    lock_.unlock();
    return op_status::closed;
  }
  if (deadline_ns == chan_now) {
    lock_.unlock();
    return op_status::empty;
  }
  return wait(receivers_, out, deadline_ns, WaitReason::chan_recv);
}

[[gnu::always_inline]] inline op_status chan_core::wait(WaitQueue& queue, void* element,
                                                        int64_t deadline_ns, WaitReason reason) {
  M* m = current_m();
  if (__builtin_expect(deadline_ns != chan_forever || m == nullptr || m->p == nullptr, 0)) {
    return wait_slow(queue, element, deadline_ns, reason);
  }
  G* g = m->cur;
  GORT_CHECK(g->kind == GKind::fiber, "R2: g0 never waits");
  ChanWait w(element, &lock_);
  w.g = g;
  w.reason = reason;
  // A fiber that unwinds is not interrupted.
  if (__builtin_expect(m->eh->uncaught == 0, 1)) {
    if (__builtin_expect(stop_due(g), 0)) {
      lock_.unlock();
      deliver_stop();
    }
    w.cancel = cancel_chan_wait;
  }
  queue.push(&w);
  lock_.released_by_park();
  return outcome(park_fiber(m, g, w));
}

// The same with a time limit, on a foreign thread, inside blocking().
[[gnu::noinline]] op_status chan_core::wait_slow(WaitQueue& queue, void* element,
                                                 int64_t deadline_ns, WaitReason reason) {
  if (lacks_p()) {
    // Inside blocking(). Getting a P may take a turn of the very fiber that wants our lock (R3 in
    // park.hpp), so it comes first, and then the channel is looked at anew.
    lock_.unlock();
    reenter_from_blocking();
    return &queue == &senders_ ? send(element, deadline_ns) : recv(element, deadline_ns);
  }
  if (stop_pending()) {
    lock_.unlock();
    deliver_stop();
  }
  ChanWait w(element, &lock_);
  w.cancel = cancel_chan_wait;
  w.reason = reason;
  if (deadline_ns == chan_forever) {
    queue.push(&w);
    lock_.released_by_park();
    return outcome(park(w));
  }
  TimedPark timed(w, deadline_ns);
  queue.push(&w);
  lock_.released_by_park();
  const WakeCause cause = timed.park();
  if (cause == WakeCause::timeout) {
    LockGuard guard(lock_);
    // Whoever lost the claim to the timer may have dequeued us (C2).
    if (!Mem::recheck(w.queue == nullptr)) w.queue->remove(&w);
  }
  return outcome(cause);
}

// C3.
op_status chan_core::outcome(WakeCause cause) {
  if (__builtin_expect(cause == WakeCause::notified, 1)) return op_status::ok;
  if (cause == WakeCause::stopped) deliver_stop();
  return cause == WakeCause::timeout ? op_status::timeout : op_status::closed;
}

void chan_core::close() {
  GList woken;
  lock_.lock();
  if (closed_) {
    lock_.unlock();
    leave_region();
    throw closed_channel();
  }
  closed_ = true;
  for (WaitQueue* queue : {&receivers_, &senders_}) {  // C4
    while (ChanWait* w = queue->pop()) {
      w->cause = WakeCause::closed;
      woken.push_back(w->g);
    }
  }
  lock_.unlock();
  chaos_point(ChaosPoint::chan_closing);
  ready_list(woken);
}

void chan_core::destroy_elements() noexcept {
  if (ops_.destroy == nullptr) return;
  for (size_t i = 0; i < count_; ++i) ops_.destroy(at((head_ + i) % capacity_));
}

namespace {

// Nothing but a stop request ends it, but two may try: the requester, and the far side for one that it has
// missed (S2). One wakes (W1).
bool cancel_nil(Wait* w) noexcept {
  return claim(*w);
}
bool commit_nil(Wait*) noexcept {
  return true;
}

op_status wait_nil(int64_t deadline_ns, op_status now) {
  if (deadline_ns == chan_now) return now;
  if (deadline_ns != chan_forever) {
    sleep_until_ns(deadline_ns);
    return op_status::timeout;
  }
  if (stop_pending()) deliver_stop();
  Wait w;
  w.cancel = cancel_nil;
  w.commit = commit_nil;
  w.reason = WaitReason::chan_nil;
  (void)park(w);
  deliver_stop();
}

}  // namespace

chan_core* chan_make(size_t capacity, const element_ops& ops) {
  const size_t align = chan_core::block_align(ops);
  const size_t offset = chan_core::ring_offset(ops.align);
  size_t ring_bytes;
  size_t bytes;
  if (__builtin_mul_overflow(capacity, ops.bytes, &ring_bytes) ||
      __builtin_add_overflow(ring_bytes, offset, &bytes)) {
    throw std::bad_alloc();
  }
  auto* memory = static_cast<std::byte*>(::operator new(bytes, std::align_val_t(align)));
  auto* c = new (memory) chan_core(capacity, ops);
  c->set_ring(memory + offset);
  return c;
}

void chan_retain(chan_core* c) noexcept {
  if (c != nullptr) c->retain();
}

void chan_release(chan_core* c) noexcept {
  if (c == nullptr || !c->release()) return;
  c->end_companion();
  c->destroy_elements();
  const auto align = std::align_val_t(c->align());
  c->~chan_core();
  ::operator delete(c, align);
}

void chan_set_companion(chan_core* c, ChanCompanion* companion) noexcept {
  c->set_companion(companion);
}

G* chan_offer(chan_core* c, void* value) noexcept {
  return c->offer(value);
}

op_status chan_send(chan_core* c, void* value, int64_t deadline_ns) {
  const Region in;
  if (c == nullptr) return wait_nil(deadline_ns, op_status::full);
  if (deadline_ns != chan_now) chaos_preempt();
  return c->send(value, deadline_ns);
}

op_status chan_recv(chan_core* c, void* out, int64_t deadline_ns) {
  const Region in;
  if (c == nullptr) return wait_nil(deadline_ns, op_status::empty);
  if (deadline_ns != chan_now) chaos_preempt();
  return c->recv(out, deadline_ns);
}

void chan_close(chan_core* c) {
  if (c == nullptr) throw closed_channel();
  const Region in;
  c->close();
}

bool chan_closed(const chan_core* c) noexcept {
  const Region in;
  return c != nullptr && const_cast<chan_core*>(c)->closed();
}
size_t chan_size(const chan_core* c) noexcept {
  const Region in;
  return c != nullptr ? const_cast<chan_core*>(c)->size() : 0;
}
size_t chan_capacity(const chan_core* c) noexcept {
  return c != nullptr ? c->capacity() : 0;
}

}  // namespace gort::detail
