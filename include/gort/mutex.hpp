// mutex: std::mutex for fibers.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "gort/detail/mem.hpp"
#include "gort/export.hpp"

namespace gort {

// The contract of std::mutex, four bytes; works with std::lock_guard, unique_lock, scoped_lock and
// std::lock. A fiber that has to wait lets others run; an ordinary thread blocks. Fibers and
// threads may share one, also in static storage and while no runtime is alive. What one fiber
// locks, the same fiber unlocks, on whatever thread it is by then.
//
// Fair within bounds: waiters queue first in, first out; a running fiber may overtake them, but one
// that has waited for more than a millisecond gets the mutex handed over at the next unlock. Not
// cancellable: a stop request does not end a lock(). unlock() never gives way to another fiber.
//
// May be destroyed by its last owner as soon as that has unlocked it, even if an earlier owner's
// unlock() has not returned yet.
class GORT_API mutex {
 public:
  constexpr mutex() noexcept = default;
  mutex(const mutex&) = delete;
  mutex& operator=(const mutex&) = delete;

  void lock() noexcept {
    uint32_t free = 0;
    // acquire: pairs with the release in unlock(). relaxed: a failure learns nothing.
    if (!word_.compare_exchange_strong(free, locked, std::memory_order_acquire,
                                       std::memory_order_relaxed)) [[unlikely]] {
      lock_slow(INT64_MAX);
    }
  }

  // Never waits, never fails while the mutex is free.
  [[nodiscard]] bool try_lock() noexcept {
    // relaxed: the exchange below decides.
    uint32_t word = word_.load(std::memory_order_relaxed);
    while ((word & locked) == 0) {
      // acquire and relaxed: as in lock().
      if (word_.compare_exchange_weak(word, word | locked, std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
        return true;
      }
    }
    return false;
  }

  // Throws std::system_error (operation_not_permitted) if the mutex is not locked.
  void unlock() {
    if (!release()) throw_not_locked();
  }

 private:
  friend class condition_variable;
  friend class timed_mutex;

  // Bits of the word; what they promise is in src/sync/mutex.cpp.
  static constexpr uint32_t locked = 1;
  static constexpr uint32_t parked = 2;
  static constexpr uint32_t woken = 4;

  // False: it was not locked.
  [[nodiscard]] bool release() noexcept {
    uint32_t mine = locked;
    // release: pairs with the acquire in lock(). relaxed: a failure learns nothing.
    return word_.compare_exchange_strong(mine, 0, std::memory_order_release,
                                         std::memory_order_relaxed) ||
           release_slow();
  }

  // False: the time limit passed first.
  bool lock_slow(int64_t until_ns) noexcept;
  bool release_slow() noexcept;
  [[noreturn]] static void throw_not_locked();

  detail::Atomic<uint32_t> word_{0};
};

}  // namespace gort
