// Note: one M sleeps until one event. sleep() consumes the wake-up; wake() may come first.
//
//   N1  A wake() makes exactly one sleep() return, whichever comes first.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/mem.hpp"
#include "os/os.hpp"

namespace gort {

class Note {
 public:
  // Caller: the note's owner only.
  void sleep() noexcept {
    // acquire: learns what the waker wrote before wake() (the P it hands over). N1: exchange
    // consumes.
    while (key_.exchange(0, std::memory_order_acquire) == 0) os::futexsleep(&key_, 0, os::kForever);
  }

  // As sleep(), at most ns. True if a wake-up was consumed.
  [[nodiscard]] bool sleep_for(int64_t ns) noexcept {
    // acquire: as in sleep().
    if (key_.exchange(0, std::memory_order_acquire) != 0) return true;
    os::futexsleep(&key_, 0, ns);
    // acquire: the same.
    return key_.exchange(0, std::memory_order_acquire) != 0;
  }

  void wake() noexcept {
    // release: publishes what the sleeper is to find.
    if (key_.exchange(1, std::memory_order_release) == 0) os::futexwakeup(&key_, 1);
  }

 private:
  Atomic<uint32_t> key_{0};
};

}  // namespace gort
