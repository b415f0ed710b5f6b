// samples: how a handler hands on what it has seen. A bounded queue, after Dmitry Vyukov's: any number of handlers push,
// one thread pops.
//
//   PF2  Nobody waits here. A handler that finds the queue full counts its sample as lost; one that is descheduled while
//        it fills its slot keeps back what comes behind it, and later handlers, at worst, find the queue full.
//
// A push may stand inside another one of the same thread: each has a slot of its own, or finds that it has none yet.
//
// Rejected: a table of counts per stack, as in gperftools (with fibers' names and numbers in the key it fills up, and what
// is evicted needs a queue anyway); a log of bytes for one writer at a time, as in Go (handlers spin for each other).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/mem.hpp"
#include "sched/g.hpp"

namespace gort {

inline constexpr size_t kFramesMax = 96;  // deeper stacks lose their outer end

struct Sample {
  uint64_t fiber = 0;   // its id; 0: none
  uint32_t weight = 0;  // how many periods of processor time it stands for
  uint32_t depth = 0;
  char name[kNameBytes] = {};  // the fiber's
  uintptr_t pcs[kFramesMax] =
      {};  // the innermost first; of callers, the byte before the return address
};

template <class T, size_t n>
class SampleQueue {
 public:
  static_assert((n & (n - 1)) == 0, "positions are cut to slots by a mask");

  SampleQueue() noexcept {
    // relaxed: nobody else knows it yet.
    for (size_t i = 0; i < n; ++i) slots_[i].turn.store(i, std::memory_order_relaxed);
  }

  // fill(T&) writes the whole of it. False: the queue is full, and nothing was called.
  template <class F>
  [[nodiscard]] bool push(F&& fill) noexcept {
    // relaxed: a guess, which the slot's turn confirms.
    uint64_t at = tail_.load(std::memory_order_relaxed);
    for (;;) {
      Slot& slot = slots_[at % n];
      // acquire: pairs with the release in pop(); who read what was in it has done so.
      const uint64_t turn = slot.turn.load(std::memory_order_acquire);
      if (turn == at) {
        // relaxed, both: the slot's turn publishes.
        if (tail_.compare_exchange_weak(at, at + 1, std::memory_order_relaxed,
                                        std::memory_order_relaxed)) {
          fill(slot.value);
          slot.turn.store(at + 1, std::memory_order_release);  // release: publishes the value
          return true;
        }
      } else if (turn < at) {
        return false;
      } else {
        at = tail_.load(std::memory_order_relaxed);  // relaxed: as above
      }
    }
  }

  // take(const T&). False: there is none, or the next one is not finished. By one thread at a time.
  template <class F>
  [[nodiscard]] bool pop(F&& take) {
    Slot& slot = slots_[head_ % n];
    // acquire: pairs with the release in push().
    if (slot.turn.load(std::memory_order_acquire) != head_ + 1) return false;
    take(static_cast<const T&>(slot.value));
    slot.turn.store(head_ + n, std::memory_order_release);  // release: we have read it
    ++head_;
    return true;
  }

 private:
  struct Slot {
    Atomic<uint64_t> turn{0};  // who may use it: the push at this position, or the pop before it
    T value;
  };
  alignas(64) Atomic<uint64_t> tail_{0};
  alignas(64) uint64_t head_ = 0;
  std::array<Slot, n> slots_;
};

// 2 MiB. It is emptied every 50 ms (src/observe/profile.cpp): room for 40,000 ticks a second, which are 160 processors
// whose kernel ticks 250 times a second.
using Samples = SampleQueue<Sample, 2048>;

}  // namespace gort
