// The compiled core of channels: a lock, a ring of elements, a queue of waiting senders and one of
// waiting receivers. After Go's chan.go; values go straight from the sender's stack to the
// receiver's. What it consists of, and C1 to C5, are in chan_core.hpp.
//
// Rejected: a lock-free ring (buffered only; the lock costs one atomic exchange per operation here,
// as much as the ring's own); handing values through a heap node (an allocation per send); waking
// all and letting them race (breaks FIFO, and costs wake-ups in vain).
#include <cstdint>
#include <new>

#include "base/check.hpp"
#include "base/in_exit.hpp"
#include "base/mem.hpp"
#include "base/thread_safety.hpp"
#include "sched/park_inline.hpp"
#include "sched/region.hpp"
#include "sched/stop.hpp"
#include "sched/syscall.hpp"
#include "sched/timer.hpp"
#include "sync/chan_core.hpp"
#include "sync/chan_internal.hpp"

namespace gort::detail {
namespace {

// A wait in one channel.
struct ChanWait : Wait, chan_node {
  ChanWait(void* value, ParkLock* chan_lock, rivals others) noexcept {
    lock = chan_lock;
    element = value;
    wait = this;
    against = others;
  }
};

bool cancel_chan_wait(Wait* base) noexcept {
  auto* w = static_cast<ChanWait*>(base);
  LockGuard guard(*w->lock);
  if (Mem::recheck(w->queue == nullptr)) return false;
  if (w->timer != nullptr && !claim(*w)) return false;
  w->queue->remove(w);
  return true;
}

}  // namespace

chan_core::chan_core(size_t capacity, const element_ops& ops) noexcept
    : ops_(ops), capacity_(capacity) {
  const Region in;  // RG1: which P it holds is looked at
  lock_.bias();
}

op_status chan_core::send(void* value, int64_t deadline_ns) {
  lock_.lock();
  G* partner;
  const op_status st = send_now(value, &partner);
  if (st == op_status::full && deadline_ns != chan_now) {
    return wait(senders_, value, deadline_ns, WaitReason::chan_send);
  }
  lock_.unlock();
  if (partner != nullptr) ready(partner);
  return st;
}

G* chan_core::offer(void* value) noexcept {
  const LockGuard guard(lock_);
  G* partner;
  (void)send_now(value, &partner);
  return partner;
}

op_status chan_core::recv(void* out, int64_t deadline_ns) {
  lock_.lock();
  G* partner;
  const op_status st = recv_now(out, &partner);
  if (st == op_status::empty && deadline_ns != chan_now) {
    return wait(receivers_, out, deadline_ns, WaitReason::chan_recv);
  }
  lock_.unlock();
  if (partner != nullptr) ready(partner);
  return st;
}

[[gnu::always_inline]] inline op_status chan_core::wait(chan_queue& queue, void* element,
                                                        int64_t deadline_ns, WaitReason reason) {
  M* m = current_m();
  if (__builtin_expect(deadline_ns != chan_forever || m == nullptr || m->p == nullptr, 0)) {
    return wait_slow(queue, element, deadline_ns, reason);
  }
  G* g = m->cur;
  GORT_CHECK(g->kind == GKind::fiber, "R2: g0 never waits");
  ChanWait w(element, &lock_, rivals::none);
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
[[gnu::noinline]] op_status chan_core::wait_slow(chan_queue& queue, void* element,
                                                 int64_t deadline_ns, WaitReason reason) {
  if (has_passed(deadline_ns)) {
    lock_.unlock();
    return op_status::timeout;
  }
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
  ChanWait w(element, &lock_, deadline_ns == chan_forever ? rivals::none : rivals::limit);
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
  for (chan_queue* queue : {&receivers_, &senders_}) {  // C4
    while (chan_node* n = queue->pop()) {
      Wait& w = *n->wait;
      w.cause = WakeCause::closed;
      woken.push_back(w.g);
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
  // No object is larger than PTRDIFF_MAX, and operator new for what is aligned rounds up, past SIZE_MAX to 0.
  size_t ring_bytes;
  size_t bytes;
  if (__builtin_mul_overflow(capacity, ops.bytes, &ring_bytes) ||
      __builtin_add_overflow(ring_bytes, offset, &bytes) || bytes > PTRDIFF_MAX) {
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

namespace {

// C5. Behind a fork the waiters are the parent's (FK1). In exit() channels in static storage go, and whoever waits in them will never
// be heard of again.
void refuse_waiters(const chan_core* c) noexcept {
  if (!c->has_waiters() || forked || in_exit()) return;
  fatal(
      "a channel goes while somebody waits in it: who waits keeps a handle, or sees to it that "
      "somebody does",
      __FILE__, __LINE__);
}

}  // namespace

void chan_release(chan_core* c) noexcept {
  if (c == nullptr || !c->release()) return;
  c->end_companion();
  refuse_waiters(c);
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
