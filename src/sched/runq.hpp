// RunQueue: a P's queue of runnable fibers. One owner pushes and takes, anybody steals half.
//
// A bounded ring after the Go runtime's (proc.go: runqput, runqget, runqgrab). `head` is moved by
// whoever removes (owner and thieves, by compare-and-swap), `tail` by the owner alone.
//
//   Q1  Only the M holding the P pushes and takes; tail is written by it alone.
//   Q2  0 <= tail - head <= N, as unsigned difference; slots in [head, tail) hold fibers.
//   Q3  A removed fiber is removed once: the compare-and-swap of head decides between owner and
//       thieves.
//   Q4  A slot is not overwritten before the removal of its fiber is visible: the owner reads head
//       with acquire before it reuses slots.
//
// Rejected: a Chase-Lev deque (LIFO for the owner starves old fibers; a fence on every take as
// well); a lock per queue (a descheduled thief stops the owner); an unbounded list (allocation on
// the hot path).
#pragma once

#include <atomic>
#include <cstdint>

#include "base/mem.hpp"

namespace gort {

struct G;

template <class T, uint32_t N>
class RunQueue {
  static_assert((N & (N - 1)) == 0, "N is a power of two");

 public:
  // Number of queued items; exact for the owner, a snapshot for others.
  [[nodiscard]] uint32_t size() const noexcept {
    for (;;) {
      // acquire: head before tail, so that the difference is one that existed.
      const uint32_t h = head_.load(std::memory_order_acquire);
      const uint32_t t = tail_.load(std::memory_order_acquire);
      // relaxed: behind the acquire of tail. If head stands still, both were so at one time.
      if (h == head_.load(std::memory_order_relaxed)) return t - h;
    }
  }
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }

  // Owner: exact but for thieves that make it shorter.
  [[nodiscard]] bool empty_for_owner() const noexcept {
    // relaxed: tail is ours, head only grows.
    return tail_.load(std::memory_order_relaxed) == head_.load(std::memory_order_relaxed);
  }

  // Owner. False when full.
  [[nodiscard]] bool push(T* item) noexcept {
    // acquire: pairs with the thieves' release on head (Q4). unmodelled: that a thief reads what is
    // stored into the slot only after it has moved head is load buffering.
    const uint32_t h = head_.load(std::memory_order_acquire);
    const uint32_t t = tail_.load(std::memory_order_relaxed);  // relaxed: ours (Q1)
    if (t - h >= N) return false;
    slots_[t % N].store(item, std::memory_order_relaxed);  // relaxed: published by tail
    // release: publishes the slot and the fiber's state to thieves.
    tail_.store(t + 1, std::memory_order_release);
    return true;
  }

  // Owner. nullptr when empty. The oldest first.
  [[nodiscard]] T* take() noexcept {
    // relaxed: an old head makes the compare-and-swap fail; the slot and its item are our own doing.
    uint32_t h = head_.load(std::memory_order_relaxed);
    for (;;) {
      const uint32_t t = tail_.load(std::memory_order_relaxed);  // relaxed: ours (Q1)
      if (t == h) return nullptr;
      T* item = slots_[h % N].load(std::memory_order_relaxed);  // relaxed: we wrote it
      // Q3. release: who reads this head sees a tail that is not behind it (Q2).
      if (head_.compare_exchange_weak(h, h + 1, std::memory_order_release,
                                      std::memory_order_relaxed)) {
        return item;
      }
    }
  }

  // Owner, when nobody can steal (one P): the same without an atomic read-modify-write.
  [[nodiscard]] T* take_alone() noexcept {
    // relaxed, all of these: nobody else moves head, tail is ours (Q1), we wrote the slot.
    const uint32_t h = head_.load(std::memory_order_relaxed);
    if (tail_.load(std::memory_order_relaxed) == h) return nullptr;
    T* item = slots_[h % N].load(std::memory_order_relaxed);
    head_.store(h + 1, std::memory_order_relaxed);
    return item;
  }

  // Owner, when push() failed: takes the older half out into out[0 .. N/2). Returns how many; 0 if
  // thieves were faster (then push() will succeed).
  [[nodiscard]] uint32_t take_half(T** out) noexcept {
    uint32_t h = head_.load(std::memory_order_relaxed);        // relaxed: as in take()
    const uint32_t t = tail_.load(std::memory_order_relaxed);  // relaxed: ours (Q1)
    const uint32_t n = (t - h) / 2;
    for (uint32_t i = 0; i < n; ++i) {
      out[i] = slots_[(h + i) % N].load(std::memory_order_relaxed);  // relaxed: we wrote them
    }
    // Q3. release: as in take().
    if (!head_.compare_exchange_strong(h, h + n, std::memory_order_release,
                                       std::memory_order_relaxed)) {
      return 0;
    }
    return n;
  }

  // Thief, which owns `to` (empty): moves half of this queue, rounded up, there, and returns one of
  // the moved fibers that is not left in `to`. nullptr when there was nothing.
  [[nodiscard]] T* steal_into(RunQueue& to) noexcept {
    const uint32_t base = to.tail_.load(std::memory_order_relaxed);  // relaxed: ours
    uint32_t n;
    // acquire: pairs with the removers' release, for a tail that is not behind it. unmodelled: without,
    // the turn is in vain, and the next one is tried.
    uint32_t h = head_.load(std::memory_order_acquire);
    for (;;) {
      // acquire: pairs with push(); makes the slots and the fibers' state readable.
      const uint32_t t = tail_.load(std::memory_order_acquire);
      n = t - h;
      n -= n / 2;
      if (n == 0) return nullptr;
      if (n > N / 2) {  // head and tail were read at different times
        // acquire: as above. unmodelled: as above.
        h = head_.load(std::memory_order_acquire);
        continue;
      }
      for (uint32_t i = 0; i < n; ++i) {
        // relaxed: a slot overwritten meanwhile is caught by the compare-and-swap (Q3, Q4).
        to.slots_[(base + i) % N].store(slots_[(h + i) % N].load(std::memory_order_relaxed),
                                        std::memory_order_relaxed);
      }
      // Q3. release: as in take(), and lets the owner reuse the slots after our reads (Q4). acquire on
      // failure: as above. unmodelled: as above.
      if (head_.compare_exchange_weak(h, h + n, std::memory_order_release,
                                      std::memory_order_acquire)) {
        break;
      }
    }
    --n;
    T* item = to.slots_[(base + n) % N].load(std::memory_order_relaxed);  // relaxed: we wrote it
    // release: our own thieves see the moved slots.
    if (n != 0) to.tail_.store(base + n, std::memory_order_release);
    return item;
  }

 private:
  alignas(64) Atomic<uint32_t> head_{0};
  alignas(64) Atomic<uint32_t> tail_{0};
  Atomic<T*> slots_[N] = {};
};

}  // namespace gort
