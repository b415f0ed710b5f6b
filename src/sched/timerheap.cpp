#include "sched/timerheap.hpp"

#include <algorithm>
#include <cstring>

#include "base/check.hpp"
#include "os/os.hpp"

namespace gort {
namespace {
constexpr uint32_t kArity = 4;  // fewer levels than 2, children in one cache line (64 bytes)
constexpr uint32_t kFirstCapacity = 256;
}  // namespace

bool TimerHeap::add(Timer* t) noexcept {
  LockGuard guard(lock_);
  // relaxed: under the lock (T1).
  GORT_CHECK(t->heap.load(std::memory_order_relaxed) == nullptr, "T1: timer armed twice");
  t->heap.store(this, std::memory_order_relaxed);  // relaxed: under the lock (T1)
  const bool first = t->when_ns < earliest();
  insert(t);
  publish();
  return first;
}

bool TimerHeap::stop(Timer* t) noexcept {
  // acquire: pairs with the release in run_batch(). Of a timer that has fired we learn that nobody
  // touches it any more (T2), and what fire() did.
  TimerHeap* h = t->heap.load(std::memory_order_acquire);
  if (h == nullptr) return false;
  chaos_point(ChaosPoint::timer_disarming);
  LockGuard guard(h->lock_);
  // relaxed: under the lock.
  if (Mem::recheck(t->heap.load(std::memory_order_relaxed) != h)) return false;
  h->remove(t);
  h->publish();
  // relaxed: the caller owns t from here on.
  t->heap.store(nullptr, std::memory_order_relaxed);
  return true;
}

bool TimerHeap::fires_by(Timer* t, int64_t when_ns) noexcept {
  // relaxed: what has been done to a timer that is not armed is learnt by stop(), before it is used
  // anew.
  TimerHeap* h = t->heap.load(std::memory_order_relaxed);
  if (h == nullptr) return false;
  LockGuard guard(h->lock_);  // a fire() under way ends first
  // relaxed: under the lock.
  if (Mem::recheck(t->heap.load(std::memory_order_relaxed) != h)) return false;
  return t->when_ns <= when_ns;
}

uint32_t TimerHeap::run_batch(int64_t now_ns, Fired* list, uint32_t* fired) noexcept {
  if (next_when() > now_ns) return 0;
  uint32_t n = 0;
  LockGuard guard(lock_);
  while (Timer* t = *fired < kBatch ? due(now_ns) : nullptr) {
    remove(t);
    t->again = false;
    ++*fired;
    // T2. t->heap still names this heap while fire() runs, so that a concurrent stop() waits for
    // the lock. A timer that belongs to the fiber it wakes is gone once that fiber runs; it can not
    // run before wake() is called for it, which happens after we have let go of t.
    G* g = t->fire(t);
    if (t->ops != nullptr) {
      list[n++] = {nullptr, t};
    } else if (g != nullptr) {
      list[n++] = {g, nullptr};
    }
    if (t->again) {
      insert(t);
    } else {
      // release: our last touch of t; pairs with the acquire in stop().
      t->heap.store(nullptr, std::memory_order_release);
    }
  }
  publish();
  return n;
}

void TimerHeap::insert(Timer* t) noexcept {
  if (count_ != capacity_ || grow()) {
    const uint32_t end = count_;
    count_ = end + 1;
    place(end, {t->when_ns, t});
    return sift_up(end);
  }
  t->index = kOutside;  // T4
  t->next = outside_;
  outside_ = t;
  ++outside_count_;
}

void TimerHeap::remove(Timer* t) noexcept {
  if (t->index != kOutside) return remove_at(t->index);
  Plain<Timer*>* at = &outside_;
  while (*at != t) at = &(*at)->next;
  *at = static_cast<Timer*>(t->next);
  --outside_count_;
}

Timer* TimerHeap::due(int64_t now_ns) const noexcept {
  if (count_ != 0 && entries_[0].when <= now_ns) return entries_[0].timer;
  Timer* t = outside_;
  while (t != nullptr && t->when_ns > now_ns) t = t->next;
  return t;
}

int64_t TimerHeap::earliest() const noexcept {
  int64_t when = count_ == 0 ? INT64_MAX : entries_[0].when;
  for (const Timer* t = outside_; t != nullptr; t = t->next) {
    when = std::min(when, static_cast<int64_t>(t->when_ns));
  }
  return when;
}

void TimerHeap::move_in() noexcept {
  while (outside_ != nullptr && count_ != capacity_) {
    Timer* t = outside_;
    outside_ = static_cast<Timer*>(t->next);
    --outside_count_;
    insert(t);
  }
}

void TimerHeap::remove_at(uint32_t i) noexcept {
  GORT_CHECK(i < count_, "T1: timer index outside its heap");
  const uint32_t end = count_ - 1;
  count_ = end;
  if (i == end) return;
  const Entry last = entries_[end];
  place(i, last);
  if (i > 0 && last.when < entries_[(i - 1) / kArity].when) {
    sift_up(i);
  } else {
    sift_down(i);
  }
}

void TimerHeap::place(uint32_t i, Entry e) noexcept {
  entries_[i] = e;
  e.timer->index = i;
}

void TimerHeap::sift_up(uint32_t i) noexcept {
  const Entry e = entries_[i];
  while (i > 0) {
    const uint32_t parent = (i - 1) / kArity;
    if (entries_[parent].when <= e.when) break;
    place(i, entries_[parent]);
    i = parent;
  }
  place(i, e);
}

void TimerHeap::sift_down(uint32_t i) noexcept {
  const Entry e = entries_[i];
  for (;;) {
    const uint32_t first = i * kArity + 1;
    if (first >= count_) break;
    uint32_t least = first;
    for (uint32_t c = first + 1; c < first + kArity && c < count_; ++c) {
      if (entries_[c].when < entries_[least].when) least = c;
    }
    if (entries_[least].when >= e.when) break;
    place(i, entries_[least]);
    i = least;
  }
  place(i, e);
}

bool TimerHeap::grow() noexcept {
  const uint32_t capacity = capacity_ == 0 ? kFirstCapacity : capacity_ * 2;
  auto* bigger = static_cast<Entry*>(os::mem_map(capacity * sizeof(Entry)));
  if (bigger == nullptr) return false;
  if (count_ != 0) std::memcpy(bigger, entries_, count_ * sizeof(Entry));
  if (entries_ != nullptr) os::mem_unmap(entries_, capacity_ * sizeof(Entry));
  entries_ = bigger;
  capacity_ = capacity;
  return true;
}

void TimerHeap::publish() noexcept {
  if (__builtin_expect(outside_ != nullptr, 0)) move_in();
  next_when_.store(earliest(), std::memory_order_relaxed);  // relaxed: T3, as next_when()
  // relaxed: statistics and the deadlock check.
  size_.store(count_ + outside_count_, std::memory_order_relaxed);
}

Timer* TimerHeap::take_any() noexcept {
  LockGuard guard(lock_);
  Timer* t = count_ != 0 ? entries_[count_ - 1].timer : static_cast<Timer*>(outside_);
  if (t != nullptr) {
    remove(t);
    publish();
  }
  return t;
}

void TimerHeap::disarm_all(Timer*& orphans) noexcept {
  while (Timer* t = take_any()) {
    const TimerOps* const ops = t->ops;
    if (ops != nullptr && ops->orphan != nullptr) {
      t->next = orphans;
      orphans = t;
    }
    // release: our last touch, unless it is ours to end. Timers of descriptors and of channels outlive the runtime; who
    // frees one afterwards has waited for this (timer_forget() in timer.cpp).
    t->heap.store(nullptr, std::memory_order_release);
  }
}

void TimerHeap::end_orphans(Timer* orphans) noexcept {
  while (Timer* t = orphans) {
    orphans = t->next;
    t->ops->orphan(t);
  }
}

TimerHeap::~TimerHeap() {
  Timer* orphans = nullptr;
  disarm_all(orphans);
  end_orphans(orphans);
  if (entries_ != nullptr) os::mem_unmap(entries_, capacity_ * sizeof(Entry));
}

}  // namespace gort
