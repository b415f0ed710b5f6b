// condition_variable_any: std::condition_variable_any for fibers.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>

#include "gort/condition_variable.hpp"
#include "gort/detail/fiber.hpp"
#include "gort/detail/mem.hpp"
#include "gort/errors.hpp"
#include "gort/export.hpp"
#include "gort/fiber.hpp"

namespace gort {

namespace detail {

// One wait at a condition variable, for locks of any type: queued from its making on, so that the lock can be given up
// before it sleeps.
class GORT_API any_wait {
 public:
  enum class stops : uint8_t {
    nothing,
    by_request
  };  // whether a stop request of the fiber ends it
  enum class outcome : uint8_t { woken, timeout, stopped };

  // Throws gort::stopped if the fiber has a request that is due.
  any_wait(condition_variable& c, stops how);
  // Takes itself out, if it has not slept.
  ~any_wait();
  any_wait(const any_wait&) = delete;
  any_wait& operator=(const any_wait&) = delete;

  // Sleeps until it is notified, or wake() was called, or the limit passes.
  outcome sleep(int64_t until_ns) noexcept;
  // On any thread.
  void wake() noexcept;

 private:
  struct record;
  static constexpr size_t record_bytes = 20 * sizeof(Plain<void*>);

  record& self() noexcept;

  alignas(void*) std::byte memory_[record_bytes];
};

}  // namespace detail

// The contract of std::condition_variable_any, four bytes: a gort::condition_variable, with all that this says, for
// locks of any type. Works with std::mutex, too, which blocks the fiber's thread for as long as it has to wait for that one.
//
// The forms without a token are not cancellable. Those with one return what the predicate says once the token is
// requested; beside that they throw gort::stopped, with the lock held, if the fiber is asked to stop. So with the fiber's own token:
// a request that comes while it waits throws, as in every wait; after one that came before nothing is waited for, and nothing thrown.
//
// May be destroyed once every waiter has been notified, even if they have not returned from wait(), nor the notifier
// from notify_one() or notify_all(). An exception of the lock's own lock() on the way back ends the process.
class condition_variable_any {
 public:
  constexpr condition_variable_any() noexcept = default;
  condition_variable_any(const condition_variable_any&) = delete;
  condition_variable_any& operator=(const condition_variable_any&) = delete;

  void notify_one() noexcept { condition_.notify_one(); }
  void notify_all() noexcept { condition_.notify_all(); }

  template <class Lock>
  void wait(Lock& lock) {
    wait_once(lock, nullptr, INT64_MAX);
  }
  template <class Lock, class Predicate>
  void wait(Lock& lock, Predicate ready) {
    while (!ready()) wait(lock);
  }

  template <class Lock, class Clock, class Duration>
  std::cv_status wait_until(Lock& lock, const std::chrono::time_point<Clock, Duration>& when) {
    return wait_until_on(lock, nullptr, when);
  }
  // What the predicate says in the end.
  template <class Lock, class Clock, class Duration, class Predicate>
  bool wait_until(Lock& lock, const std::chrono::time_point<Clock, Duration>& when,
                  Predicate ready) {
    while (!ready()) {
      if (wait_until_on(lock, nullptr, when) == std::cv_status::timeout) return ready();
    }
    return true;
  }
  template <class Lock, class Rep, class Period>
  std::cv_status wait_for(Lock& lock, const std::chrono::duration<Rep, Period>& limit) {
    return wait_once(lock, nullptr, detail::steady_ns_after(limit));
  }
  template <class Lock, class Rep, class Period, class Predicate>
  bool wait_for(Lock& lock, const std::chrono::duration<Rep, Period>& limit, Predicate ready) {
    const int64_t until_ns = detail::steady_ns_after(limit);
    while (!ready()) {
      if (wait_once(lock, nullptr, until_ns) == std::cv_status::timeout) return ready();
    }
    return true;
  }

  // With a token: what the predicate says in the end.
  template <class Lock, class Predicate>
  bool wait(Lock& lock, std::stop_token token, Predicate ready) {
    while (!token.stop_requested()) {
      if (ready()) return true;
      wait_once(lock, &token, INT64_MAX);
    }
    return ready();
  }
  template <class Lock, class Clock, class Duration, class Predicate>
  bool wait_until(Lock& lock, std::stop_token token,
                  const std::chrono::time_point<Clock, Duration>& when, Predicate ready) {
    while (!token.stop_requested()) {
      if (ready()) return true;
      if (wait_until_on(lock, &token, when) == std::cv_status::timeout) break;
    }
    return ready();
  }
  template <class Lock, class Rep, class Period, class Predicate>
  bool wait_for(Lock& lock, std::stop_token token, const std::chrono::duration<Rep, Period>& limit,
                Predicate ready) {
    const int64_t until_ns = detail::steady_ns_after(limit);
    while (!token.stop_requested()) {
      if (ready()) return true;
      if (wait_once(lock, &token, until_ns) == std::cv_status::timeout) break;
    }
    return ready();
  }

 private:
  // Locks again whatever happens; what the lock throws then has nowhere to go. That is not gort::stopped: a lock may be made of what
  // a request ends.
  template <class Lock>
  struct lock_again {
    Lock& lock;
    ~lock_again() {
      const detail::stop_shield shield;
      lock.lock();
    }
  };

  // CA1 in src/sync/condition_variable_any.cpp.
  template <class Lock>
  std::cv_status wait_once(Lock& lock, const std::stop_token* token, int64_t until_ns) {
    using detail::any_wait;
    any_wait waiter(condition_,
                    token != nullptr ? any_wait::stops::by_request : any_wait::stops::nothing);
    lock.unlock();
    any_wait::outcome end;
    {
      const lock_again<Lock> again{lock};
      auto wake = [&waiter]() noexcept { waiter.wake(); };
      std::optional<std::stop_callback<decltype(wake)>> on_request;
      if (token != nullptr) on_request.emplace(*token, wake);
      end = waiter.sleep(until_ns);
    }
    if (end == any_wait::outcome::stopped) throw stopped();
    return end == any_wait::outcome::timeout ? std::cv_status::timeout : std::cv_status::no_timeout;
  }

  template <class Lock, class Clock, class Duration>
  std::cv_status wait_until_on(Lock& lock, const std::stop_token* token,
                               const std::chrono::time_point<Clock, Duration>& when) {
    const std::cv_status status = wait_once(lock, token, detail::steady_ns(when));
    // Another clock may have been set back meanwhile, or run slower than ours.
    if constexpr (!std::is_same_v<Clock, std::chrono::steady_clock>) {
      if (status == std::cv_status::timeout && Clock::now() < when) {
        return std::cv_status::no_timeout;
      }
    }
    return status;
  }

  condition_variable condition_;
};

}  // namespace gort
