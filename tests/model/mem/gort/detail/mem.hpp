// The models' memory: takes the place of include/gort/detail/mem.hpp for the same sources.
#pragma once

#include "checker/atomic.hpp"

namespace gort::detail {

struct ModelMem {
  template <class T>
  using atomic = model::atomic<T>;
  template <class T>
  using tally = std::atomic<T>;

  static void fence(std::memory_order order,
                    model::Where where = model::Where::current()) noexcept {
    model::thread_fence(order, where);
  }
  static void compiler_fence() noexcept {}
  static constexpr int tries(int) noexcept { return 1; }
  static constexpr int delays(int) noexcept { return 0; }
  static constexpr uint32_t capacity(uint32_t) noexcept { return 4; }
  static bool recheck(bool holds, model::Where where = model::Where::current()) noexcept {
    const bool dropped = model::recheck_dropped(where);  // first, so that the site is known
    return holds && !dropped;
  }
};

using Mem = ModelMem;

template <class T>
using Atomic = Mem::atomic<T>;

template <class T>
using Tally = Mem::tally<T>;

template <class T>
using Plain = model::var<T>;

}  // namespace gort::detail
