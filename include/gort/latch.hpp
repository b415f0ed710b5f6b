// latch: std::latch for fibers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>

#include "gort/detail/countdown.hpp"
#include "gort/export.hpp"

namespace gort {

// The contract of std::latch, eight bytes. Fibers and ordinary threads may count one down and wait for it. What came
// before a count_down() happens before the return of every wait() that it has a part in. Not cancellable: a stop
// request does not end a wait.
//
// May be destroyed as soon as one wait() or arrive_and_wait() has returned, even if other calls of count_down() or
// arrive_and_wait() that have been counted have not. try_wait() does not fail spuriously.
class GORT_API latch {
 public:
  // Throws std::invalid_argument if expected is below zero or beyond max().
  constexpr explicit latch(std::ptrdiff_t expected) : count_(checked(expected)) {}
  latch(const latch&) = delete;
  latch& operator=(const latch&) = delete;

  static constexpr std::ptrdiff_t max() noexcept { return detail::countdown::count_max; }

  // Throws std::logic_error, and leaves the count unchanged, if n is below zero or beyond the count.
  void count_down(std::ptrdiff_t n = 1) {
    if (n < 0 || !count_.add(-n)) [[unlikely]]
      throw_no_such_count();
  }
  [[nodiscard]] bool try_wait() const noexcept { return count_.is_zero(); }
  void wait() const { count_.wait_until_ns(INT64_MAX, detail::countdown::role::latch); }
  // Throws as count_down().
  void arrive_and_wait(std::ptrdiff_t n = 1) {
    if (n < 0 || !count_.take_and_wait(n, detail::countdown::role::latch)) [[unlikely]] {
      throw_no_such_count();
    }
  }

 private:
  static constexpr std::ptrdiff_t checked(std::ptrdiff_t expected) {
    if (expected < 0 || expected > max()) {
      throw std::invalid_argument("gort::latch: no such count");
    }
    return expected;
  }
  [[noreturn]] static void throw_no_such_count();

  mutable detail::countdown count_;  // waiting leaves a mark in it
};

}  // namespace gort
