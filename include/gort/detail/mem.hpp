// mem: the memory that gort's protocols run on. In the product it is the standard's.
//
// The models in tests/model compile the same sources against another header of this name, which stands
// first in their include path: there an atomic's accesses are what the checker explores.
#pragma once

#include <atomic>
#include <cstdint>

namespace gort::detail {

struct StdMem {
  template <class T>
  using atomic = std::atomic<T>;
  template <class T>
  using tally = std::atomic<T>;

  static void fence(std::memory_order order) noexcept { std::atomic_thread_fence(order); }
  // Orders what the compiler does, and nothing else.
  static void compiler_fence() noexcept { std::atomic_signal_fence(std::memory_order_seq_cst); }
  // How often to do what is only done for speed. The models do it once.
  static constexpr int tries(int n) noexcept { return n; }
  // How often to wait for somebody else where it is only a matter of speed. The models never do.
  static constexpr int delays(int n) noexcept { return n; }
  // The size of a structure that must work with any. The models take a small one.
  static constexpr uint32_t capacity(uint32_t n) noexcept { return n; }
  // Around a look that a protocol must take a second time. The models show that it must: they leave out
  // what it asks for, one look at a time.
  static constexpr bool recheck(bool holds) noexcept { return holds; }
};

using Mem = StdMem;

template <class T>
using Atomic = Mem::atomic<T>;

// Counts for people and for rules of thumb. The models do not explore what their readers see.
template <class T>
using Tally = Mem::tally<T>;

// Plain data of which a protocol says who may touch it when. The models look for races on it.
template <class T>
using Plain = T;

}  // namespace gort::detail
