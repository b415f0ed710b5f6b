// condition_variable: std::condition_variable for fibers.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <type_traits>

#include "gort/detail/mem.hpp"
#include "gort/export.hpp"
#include "gort/fiber.hpp"
#include "gort/mutex.hpp"

namespace gort {

namespace detail {
class any_wait;
}  // namespace detail

// The contract of std::condition_variable, four bytes, with gort::mutex. Fibers and ordinary
// threads may wait for and notify the same one. Waiters are notified first in, first out; a wait
// may also end spuriously. Not cancellable: a stop request does not end a wait.
//
// May be destroyed once every waiter has been notified, even if they have not returned from wait(),
// nor the notifier from notify_one() or notify_all().
//
// Every form of wait throws std::system_error (operation_not_permitted) if `lock` does not own its
// mutex.
class GORT_API condition_variable {
 public:
  constexpr condition_variable() noexcept = default;
  condition_variable(const condition_variable&) = delete;
  condition_variable& operator=(const condition_variable&) = delete;

  void notify_one() noexcept {
    // relaxed: whoever waits by what we know of it has queued itself before it released the mutex.
    if (waited_.load(std::memory_order_relaxed) != 0) notify_one_slow();
  }
  void notify_all() noexcept {
    // relaxed: as in notify_one().
    if (waited_.load(std::memory_order_relaxed) != 0) notify_all_slow();
  }

  void wait(std::unique_lock<mutex>& lock) { wait_until_ns(lock, INT64_MAX); }

  template <class Predicate>
  void wait(std::unique_lock<mutex>& lock, Predicate ready) {
    while (!ready()) wait(lock);
  }

  template <class Clock, class Duration>
  std::cv_status wait_until(std::unique_lock<mutex>& lock,
                            const std::chrono::time_point<Clock, Duration>& when) {
    const std::cv_status status = wait_until_ns(lock, detail::steady_ns(when));
    // Another clock may have been set back meanwhile, or run slower than ours.
    if constexpr (!std::is_same_v<Clock, std::chrono::steady_clock>) {
      if (status == std::cv_status::timeout && Clock::now() < when) {
        return std::cv_status::no_timeout;
      }
    }
    return status;
  }

  // What the predicate says in the end.
  template <class Clock, class Duration, class Predicate>
  bool wait_until(std::unique_lock<mutex>& lock,
                  const std::chrono::time_point<Clock, Duration>& when, Predicate ready) {
    while (!ready()) {
      if (wait_until(lock, when) == std::cv_status::timeout) return ready();
    }
    return true;
  }

  template <class Rep, class Period>
  std::cv_status wait_for(std::unique_lock<mutex>& lock,
                          const std::chrono::duration<Rep, Period>& limit) {
    return wait_until_ns(lock, detail::steady_ns_after(limit));
  }

  template <class Rep, class Period, class Predicate>
  bool wait_for(std::unique_lock<mutex>& lock, const std::chrono::duration<Rep, Period>& limit,
                Predicate ready) {
    const int64_t until_ns = detail::steady_ns_after(limit);
    while (!ready()) {
      if (wait_until_ns(lock, until_ns) == std::cv_status::timeout) return ready();
    }
    return true;
  }

 private:
  friend class detail::any_wait;

  void notify_one_slow() noexcept;
  void notify_all_slow() noexcept;
  std::cv_status wait_until_ns(std::unique_lock<mutex>& lock, int64_t until_ns);

  detail::Atomic<uint32_t> waited_{0};  // CV1 in src/sync/condition_variable.cpp
};

}  // namespace gort
