// recursive_mutex, recursive_timed_mutex: the standard's for fibers.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "gort/detail/mem.hpp"
#include "gort/export.hpp"
#include "gort/fiber.hpp"
#include "gort/mutex.hpp"
#include "gort/timed_mutex.hpp"

namespace gort {

namespace detail {

// Who runs here: the fiber, or outside of fibers the thread.
[[nodiscard]] GORT_API const void* this_owner() noexcept;
[[noreturn]] GORT_API void throw_too_deep();
[[noreturn]] GORT_API void throw_not_owner();

// A mutex and its owner, who alone writes `owner_` and `depth_`:
//
//   RM1  owner_ names who owns the mutex, from the step behind its lock to the step before its unlock. So whoever finds
//        himself there owns it, and whoever does not own it finds somebody else or nobody, however late he sees it.
template <class Mutex>
class recursive {
 public:
  // How often the owner may lock it.
  static constexpr uint32_t depth_max = uint32_t{1} << 20;

  void lock() {
    const void* const me = this_owner();
    if (is_mine(me)) {
      if (depth_ == depth_max) throw_too_deep();
      ++depth_;
      return;
    }
    mutex_.lock();
    own(me);
  }
  [[nodiscard]] bool try_lock() noexcept {
    return lock_by([](Mutex& m) { return m.try_lock(); });
  }
  void unlock() {
    if (!is_mine(this_owner())) throw_not_owner();
    if (--depth_ != 0) return;
    owner_.store(nullptr, std::memory_order_relaxed);  // relaxed: RM1
    mutex_.unlock();
  }

 protected:
  constexpr recursive() noexcept = default;
  ~recursive() = default;

  template <class Lock>
  bool lock_by(Lock&& lock) {
    const void* const me = this_owner();
    if (is_mine(me)) {
      if (depth_ == depth_max) return false;
      ++depth_;
      return true;
    }
    if (!lock(mutex_)) return false;
    own(me);
    return true;
  }

 private:
  [[nodiscard]] bool is_mine(const void* me) const noexcept {
    return owner_.load(std::memory_order_relaxed) == me;  // relaxed: RM1
  }
  void own(const void* me) noexcept {
    owner_.store(me, std::memory_order_relaxed);  // relaxed: RM1
    depth_ = 1;
  }

  Mutex mutex_;
  uint32_t depth_ = 0;
  Atomic<const void*> owner_{nullptr};
};

}  // namespace detail

// The contract of std::recursive_mutex, 16 bytes: a gort::mutex that its owner, a fiber or an ordinary thread, may
// lock again, up to 2^20 times at once; beyond that lock() throws std::system_error (resource_unavailable_try_again),
// and try_lock() says false. unlock() by anybody else throws std::system_error (operation_not_permitted).
class recursive_mutex : private detail::recursive<mutex> {
 public:
  constexpr recursive_mutex() noexcept = default;
  recursive_mutex(const recursive_mutex&) = delete;
  recursive_mutex& operator=(const recursive_mutex&) = delete;

  using recursive::lock;
  using recursive::try_lock;
  using recursive::unlock;
};

// The same with time limits: the contract of std::recursive_timed_mutex.
class recursive_timed_mutex : private detail::recursive<timed_mutex> {
 public:
  constexpr recursive_timed_mutex() noexcept = default;
  recursive_timed_mutex(const recursive_timed_mutex&) = delete;
  recursive_timed_mutex& operator=(const recursive_timed_mutex&) = delete;

  using recursive::lock;
  using recursive::try_lock;
  using recursive::unlock;

  // False: the time limit passed first.
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_for(const std::chrono::duration<Rep, Period>& limit) {
    return lock_by([&](timed_mutex& m) { return m.try_lock_for(limit); });
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_lock_until(const std::chrono::time_point<Clock, Duration>& when) {
    return lock_by([&](timed_mutex& m) { return m.try_lock_until(when); });
  }
};

}  // namespace gort
