// counting_semaphore, binary_semaphore: the standard's for fibers.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>

#include "gort/detail/mem.hpp"
#include "gort/export.hpp"
#include "gort/fiber.hpp"

namespace gort {

namespace detail {

// The compiled part. The functions are those of counting_semaphore.
class GORT_API semaphore_core {
 public:
  static constexpr std::ptrdiff_t count_max = PTRDIFF_MAX;

  constexpr explicit semaphore_core(std::ptrdiff_t count) noexcept
      : word_(static_cast<uint64_t>(count) * one) {}
  semaphore_core(const semaphore_core&) = delete;
  semaphore_core& operator=(const semaphore_core&) = delete;

  void release(std::ptrdiff_t n, std::ptrdiff_t max) {
    // relaxed: the exchange decides.
    uint64_t word = word_.load(std::memory_order_relaxed);
    do {
      if (n < 0 || n > max - count_of(word)) throw_too_many();
      if ((word & mark) != 0) return release_slow(n, max);
      // release: pairs with the acquire of who takes it. relaxed: a failure learns nothing.
    } while (!word_.compare_exchange_weak(word, word + static_cast<uint64_t>(n) * one,
                                          std::memory_order_release, std::memory_order_relaxed));
  }

  [[nodiscard]] bool try_acquire() noexcept {
    // relaxed: the exchange decides.
    uint64_t word = word_.load(std::memory_order_relaxed);
    while (word >= one) {
      // acquire: pairs with release(). relaxed: a failure learns nothing.
      if (word_.compare_exchange_weak(word, word - one, std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
        return true;
      }
    }
    return false;
  }

  // False: the time limit passed.
  bool acquire_until_ns(int64_t until_ns) { return try_acquire() || acquire_slow(until_ns); }

 private:
  // What they promise is in src/sync/semaphore.cpp.
  static constexpr uint64_t mark = 1;
  static constexpr uint64_t one = 2;

  static std::ptrdiff_t count_of(uint64_t word) noexcept {
    return static_cast<std::ptrdiff_t>(word / one);
  }
  void release_slow(std::ptrdiff_t n, std::ptrdiff_t max);
  bool acquire_slow(int64_t until_ns);
  [[noreturn]] static void throw_too_many();

  Atomic<uint64_t> word_;  // SM1
};

}  // namespace detail

// The contract of std::counting_semaphore, eight bytes. Fibers and ordinary threads may share one, also in static
// storage and while no runtime is alive. Waiters get what is released first in, first out, and nobody overtakes them;
// try_acquire() does not fail spuriously.
//
// Waits are cancellable: they throw gort::stopped, and have taken nothing, if the fiber is asked to stop.
//
// May be destroyed by whoever knows that it will not be used any more from what it has acquired, even if the release()
// of that has not returned yet.
template <std::ptrdiff_t LeastMaxValue = detail::semaphore_core::count_max>
class counting_semaphore {
  static_assert(LeastMaxValue >= 0 && LeastMaxValue <= detail::semaphore_core::count_max);

 public:
  // Throws std::invalid_argument if desired is below zero or beyond max().
  constexpr explicit counting_semaphore(std::ptrdiff_t desired) : core_(checked(desired)) {}
  counting_semaphore(const counting_semaphore&) = delete;
  counting_semaphore& operator=(const counting_semaphore&) = delete;

  static constexpr std::ptrdiff_t max() noexcept { return LeastMaxValue; }

  // Throws std::logic_error, and releases nothing, if n is below zero or the count would rise beyond max().
  void release(std::ptrdiff_t n = 1) { core_.release(n, max()); }

  void acquire() { core_.acquire_until_ns(INT64_MAX); }
  [[nodiscard]] bool try_acquire() noexcept { return core_.try_acquire(); }

  // False: the time limit passed.
  template <class Rep, class Period>
  [[nodiscard]] bool try_acquire_for(const std::chrono::duration<Rep, Period>& limit) {
    return core_.try_acquire() || core_.acquire_until_ns(detail::steady_ns_after(limit));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_acquire_until(const std::chrono::time_point<Clock, Duration>& when) {
    return detail::until_reached(
        when, [this](int64_t until_ns) { return core_.acquire_until_ns(until_ns); });
  }

 private:
  static constexpr std::ptrdiff_t checked(std::ptrdiff_t desired) {
    if (desired < 0 || desired > max()) {
      throw std::invalid_argument("gort::counting_semaphore: no such count");
    }
    return desired;
  }

  detail::semaphore_core core_;
};

// One who has acquired it has it alone.
using binary_semaphore = counting_semaphore<1>;

}  // namespace gort
