// barrier: std::barrier for fibers.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "gort/detail/fiber.hpp"
#include "gort/detail/mem.hpp"
#include "gort/export.hpp"

namespace gort {

namespace detail {

struct no_completion {
  void operator()() noexcept {}
};

// The compiled part.
class GORT_API barrier_core {
 public:
  static constexpr std::ptrdiff_t count_max = INT32_MAX;

  struct arrival {
    uint32_t phase;
    bool last;  // the caller is to run the completion, and then complete()
  };

  constexpr explicit barrier_core(std::ptrdiff_t expected) noexcept
      : word_(static_cast<uint64_t>(expected) * one), expected_(static_cast<uint32_t>(expected)) {}
  barrier_core(const barrier_core&) = delete;
  barrier_core& operator=(const barrier_core&) = delete;

  // Throws std::logic_error, and does nothing, if not so many are expected in this phase.
  arrival arrive(std::ptrdiff_t n);
  // One, who is not expected in later phases either.
  arrival drop();
  // In one step: behind it the object is not touched. True: the caller is the last, and has not waited.
  [[nodiscard]] bool arrive_and_wait();
  // Waits for the phase's end.
  void wait(uint32_t phase) noexcept;
  // By the last one: the phase is over.
  void complete() noexcept;

 private:
  // What they promise is in src/sync/barrier.cpp.
  static constexpr uint64_t mark = 1;
  static constexpr uint64_t one = 2;
  static constexpr int phase_shift = 32;

  static constexpr uint64_t pending_of(uint64_t word) noexcept {
    return static_cast<uint32_t>(word) / one;
  }
  static constexpr uint32_t phase_of(uint64_t word) noexcept {
    return static_cast<uint32_t>(word >> phase_shift);
  }
  [[noreturn]] static void throw_not_expected();

  Atomic<uint64_t> word_;     // BA1
  Plain<uint32_t> expected_;  // BA2
};

}  // namespace detail

// The contract of std::barrier, 16 bytes and the completion's. Fibers and ordinary threads may meet at one. The
// completion runs on the last to arrive, with no lock held; it must not throw. Not cancellable: a stop request does
// not end a wait, nor one inside of the completion.
//
// May be destroyed by one whose wait has returned, once all others have arrived, even if their arrive(),
// arrive_and_wait() or arrive_and_drop() has not returned yet.
template <class CompletionFunction = detail::no_completion>
class barrier {
  static_assert(std::is_nothrow_invocable_v<CompletionFunction&>,
                "std::barrier wants a completion that does not throw");

 public:
  // What wait() takes: the phase that one has arrived in.
  class arrival_token {
   public:
    arrival_token(arrival_token&&) noexcept = default;
    arrival_token& operator=(arrival_token&&) noexcept = default;
    ~arrival_token() = default;

   private:
    friend class barrier;
    explicit arrival_token(uint32_t phase) noexcept : phase_(phase) {}
    uint32_t phase_;
  };

  // Throws std::invalid_argument if expected is below zero or beyond max().
  constexpr explicit barrier(std::ptrdiff_t expected,
                             CompletionFunction completion = CompletionFunction())
      : core_(checked(expected)), completion_(std::move(completion)) {}
  barrier(const barrier&) = delete;
  barrier& operator=(const barrier&) = delete;

  static constexpr std::ptrdiff_t max() noexcept { return detail::barrier_core::count_max; }

  // All of these throw std::logic_error, and do nothing, if not so many are expected any more in this phase, or n is
  // not above zero.
  [[nodiscard]] arrival_token arrive(std::ptrdiff_t n = 1) {
    return arrival_token(finish(core_.arrive(n)));
  }
  void arrive_and_wait() {
    if (core_.arrive_and_wait()) complete();
  }
  void arrive_and_drop() { finish(core_.drop()); }

  void wait(arrival_token&& arrival) const { core_.wait(arrival.phase_); }

 private:
  static constexpr std::ptrdiff_t checked(std::ptrdiff_t expected) {
    if (expected < 0 || expected > max())
      throw std::invalid_argument("gort::barrier: no such count");
    return expected;
  }
  void complete() noexcept {
    {
      const detail::stop_shield shield;
      completion_();
    }
    core_.complete();
  }
  uint32_t finish(detail::barrier_core::arrival a) noexcept {
    if (a.last) complete();
    return a.phase;
  }

  mutable detail::barrier_core core_;  // waiting leaves a mark in it
  [[no_unique_address]] CompletionFunction completion_;
};

}  // namespace gort
