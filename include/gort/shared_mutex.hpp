// shared_mutex, shared_timed_mutex: the standard's for fibers.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <shared_mutex>

#include "gort/detail/mem.hpp"
#include "gort/export.hpp"
#include "gort/fiber.hpp"

namespace gort {

// The contract of std::shared_mutex, four bytes; works with std::shared_lock, unique_lock and the others. Fibers and
// ordinary threads may share one, also in static storage and while no runtime is alive. Who locks it unlocks it. Not
// cancellable: a stop request does not end a lock() or lock_shared().
//
// Fair within bounds: those who have to wait queue first in, first out, readers and writers in one line. Readers that come
// while somebody is in line queue behind him, unless the mutex is free at that moment; so one who reads must not lock it
// for reading again. A running fiber may take the mutex while it is free, though others are in line; but a writer who has
// waited for more than a millisecond gets it handed over when it is free next, and readers get it whenever it comes to
// their turn. try_lock() does not fail while the mutex is free, nor try_lock_shared() while it is free, or shared and nobody
// is in line.
//
// May be destroyed by its last owner as soon as that has unlocked it, even if an earlier owner's unlock() or
// unlock_shared() has not returned yet.
class GORT_API shared_mutex {
 public:
  constexpr shared_mutex() noexcept = default;
  shared_mutex(const shared_mutex&) = delete;
  shared_mutex& operator=(const shared_mutex&) = delete;

  void lock() noexcept {
    uint32_t free = 0;
    // acquire: pairs with the releases of all who unlock. relaxed: a failure learns nothing.
    if (!word_.compare_exchange_strong(free, writer, std::memory_order_acquire,
                                       std::memory_order_relaxed)) [[unlikely]] {
      lock_slow(INT64_MAX);
    }
  }
  [[nodiscard]] bool try_lock() noexcept {
    // relaxed: the exchange below decides.
    uint32_t word = word_.load(std::memory_order_relaxed);
    while (is_free(word)) {
      // acquire and relaxed: as in lock().
      if (word_.compare_exchange_weak(word, word | writer, std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
        return true;
      }
    }
    return false;
  }
  // Throws std::system_error (operation_not_permitted) if nobody has locked it so.
  void unlock() {
    uint32_t mine = writer;
    // release: pairs with the acquires of all who lock. relaxed: a failure learns nothing.
    if (!word_.compare_exchange_strong(mine, 0, std::memory_order_release,
                                       std::memory_order_relaxed)) [[unlikely]] {
      unlock_slow();
    }
  }

  // 2^29 readers at once are too many: std::system_error (resource_unavailable_try_again).
  void lock_shared() {
    if (!join()) [[unlikely]]
      lock_shared_slow(INT64_MAX);
  }
  [[nodiscard]] bool try_lock_shared() noexcept { return join() || try_lock_shared_slow(); }
  // Throws std::system_error (operation_not_permitted) if nobody has locked it so.
  void unlock_shared() {
    // relaxed: the exchange decides.
    uint32_t word = word_.load(std::memory_order_relaxed);
    for (;;) {
      if (word < one || is_last_for_others(word)) return unlock_shared_slow();
      // release: pairs with the acquire of the next writer. relaxed: a failure learns nothing.
      if (word_.compare_exchange_weak(word, word - one, std::memory_order_release,
                                      std::memory_order_relaxed)) {
        return;
      }
    }
  }

 private:
  friend class shared_timed_mutex;

  // Bits of the word, and in the others the number of readers; what they promise is in src/sync/shared_mutex.cpp.
  static constexpr uint32_t writer = 1;
  static constexpr uint32_t parked = 2;
  static constexpr uint32_t woken = 4;
  static constexpr uint32_t one = 8;
  static constexpr uint32_t full = UINT32_MAX - one + 1;

  static constexpr bool is_free(uint32_t word) noexcept { return (word & ~(parked | woken)) == 0; }
  // An unlock of one reader who is to look after those in line.
  static constexpr bool is_last_for_others(uint32_t word) noexcept {
    return word < 2 * one && (word & (parked | woken)) == parked;
  }

  [[nodiscard]] bool join() noexcept {
    // relaxed: the exchange decides.
    uint32_t word = word_.load(std::memory_order_relaxed);
    while ((word & (writer | parked)) == 0 && word < full) {
      // acquire: pairs with the release of the last writer. relaxed: a failure learns nothing.
      if (word_.compare_exchange_weak(word, word + one, std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
        return true;
      }
    }
    return false;
  }

  // False: the time limit passed first.
  bool lock_slow(int64_t until_ns) noexcept;
  bool lock_shared_slow(int64_t until_ns);
  bool try_lock_shared_slow() noexcept;
  bool lock_shared_until_ns(int64_t until_ns) { return join() || lock_shared_slow(until_ns); }
  void unlock_slow();
  void unlock_shared_slow();
  void leave_line() noexcept;
  [[noreturn]] static void throw_not_locked();

  detail::Atomic<uint32_t> word_{0};  // SH1
};

// The contract of std::shared_timed_mutex: a gort::shared_mutex, with all that this says, for which one can wait up to a
// time limit.
class GORT_API shared_timed_mutex {
 public:
  constexpr shared_timed_mutex() noexcept = default;
  shared_timed_mutex(const shared_timed_mutex&) = delete;
  shared_timed_mutex& operator=(const shared_timed_mutex&) = delete;

  void lock() noexcept { mutex_.lock(); }
  [[nodiscard]] bool try_lock() noexcept { return mutex_.try_lock(); }
  void unlock() { mutex_.unlock(); }
  void lock_shared() { mutex_.lock_shared(); }
  [[nodiscard]] bool try_lock_shared() noexcept { return mutex_.try_lock_shared(); }
  void unlock_shared() { mutex_.unlock_shared(); }

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
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_shared_for(const std::chrono::duration<Rep, Period>& limit) {
    return mutex_.join() || mutex_.lock_shared_slow(detail::steady_ns_after(limit));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_lock_shared_until(const std::chrono::time_point<Clock, Duration>& when) {
    return detail::until_reached(
        when, [this](int64_t until_ns) { return mutex_.lock_shared_until_ns(until_ns); });
  }

 private:
  shared_mutex mutex_;
};

}  // namespace gort
