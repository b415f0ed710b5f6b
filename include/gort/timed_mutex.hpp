// timed_mutex: std::timed_mutex for fibers.
#pragma once

#include <chrono>

#include "gort/export.hpp"
#include "gort/fiber.hpp"
#include "gort/mutex.hpp"

namespace gort {

// The contract of std::timed_mutex: a gort::mutex, with all that this says, for which one can wait up to a time limit.
// Four bytes. The limited forms fail only because of their limit, and not while the mutex is free.
class GORT_API timed_mutex {
 public:
  constexpr timed_mutex() noexcept = default;
  timed_mutex(const timed_mutex&) = delete;
  timed_mutex& operator=(const timed_mutex&) = delete;

  void lock() noexcept { mutex_.lock(); }
  [[nodiscard]] bool try_lock() noexcept { return mutex_.try_lock(); }
  // Throws std::system_error (operation_not_permitted) if the mutex is not locked.
  void unlock() { mutex_.unlock(); }

  // False: the time limit passed first.
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_for(const std::chrono::duration<Rep, Period>& limit) {
    return mutex_.try_lock() || mutex_.lock_slow(detail::steady_ns_after(limit));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_lock_until(const std::chrono::time_point<Clock, Duration>& when) {
    return detail::until_reached(
        when, [this](int64_t until_ns) { return mutex_.try_lock() || mutex_.lock_slow(until_ns); });
  }

 private:
  mutex mutex_;
};

}  // namespace gort
