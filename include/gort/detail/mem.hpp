// mem: the memory that gort's protocols run on. In the product it is the standard's.
//
// The models in tests/model compile the same sources against another header of this name, which stands
// first in their include path: there an atomic's accesses are what the checker explores.
#pragma once

#include <atomic>

namespace gort::detail {

struct StdMem {
  template <class T>
  using atomic = std::atomic<T>;

  static void fence(std::memory_order order) noexcept { std::atomic_thread_fence(order); }
  // Orders what the compiler does, and nothing else.
  static void compiler_fence() noexcept { std::atomic_signal_fence(std::memory_order_seq_cst); }
  // How often to do what is only done for speed. The models do it once.
  static constexpr int tries(int n) noexcept { return n; }
  // Around a look that a protocol must take a second time. The models show that it must: they leave out
  // what it asks for, one look at a time.
  static constexpr bool recheck(bool holds) noexcept { return holds; }
};

using Mem = StdMem;

template <class T>
using Atomic = Mem::atomic<T>;

// Plain data of which a protocol says who may touch it when. The models look for races on it.
template <class T>
using Plain = T;

}  // namespace gort::detail
