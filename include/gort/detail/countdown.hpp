// countdown: a count, and those who wait for it to be zero. What wait_group, latch and future are made of. Not for
// users.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "gort/detail/mem.hpp"
#include "gort/export.hpp"

namespace gort::detail {

class GORT_API countdown {
 public:
  // What is waited for: what reports say, and whether a stop request ends the wait by gort::stopped (a
  // latch's are not cancellable).
  enum class role : uint8_t { group, latch, future };

  static constexpr std::ptrdiff_t count_max = std::ptrdiff_t{1} << 62;

  // 0 <= count <= count_max.
  constexpr explicit countdown(std::ptrdiff_t count) noexcept
      : word_(static_cast<uint64_t>(count) * one) {}
  countdown(const countdown&) = delete;
  countdown& operator=(const countdown&) = delete;

  // Adds n, which may be negative. Zero releases every waiter. False, and the count is as it was: it would
  // fall below zero (n < 0) or beyond count_max.
  [[nodiscard]] bool add(std::ptrdiff_t n) noexcept;

  // Learns what was done before it came to zero.
  [[nodiscard]] bool is_zero() const noexcept {
    // acquire: pairs with add().
    return word_.load(std::memory_order_acquire) < one;
  }

  // Waits for the count to be zero, or to have been so since. False: the time limit passed.
  bool wait_until_ns(int64_t until_ns, role as);

  // Takes n and waits, in one step: behind it the object is not touched. False, and nothing is done, as of add(-n).
  [[nodiscard]] bool take_and_wait(std::ptrdiff_t n, role as) noexcept;

 private:
  static constexpr uint64_t mark = 1;
  static constexpr uint64_t one = 2;

  detail::Atomic<uint64_t> word_;  // CD1 in src/sync/countdown.cpp
};

}  // namespace gort::detail
