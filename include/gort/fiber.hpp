// The current fiber: giving way, sleeping, who it is.
#pragma once

#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>

#include "gort/export.hpp"

namespace gort {

namespace detail {
GORT_API void sleep_until_ns(int64_t steady_ns);

// Nanoseconds of a duration, by double where they would overflow: max and min saturate (0 stands
// for everything before the clock's beginning).
template <class Rep, class Period>
int64_t saturated_ns(const std::chrono::duration<Rep, Period>& d) {
  const double ns = std::chrono::duration<double, std::nano>(d).count();
  if (!(ns > 0)) return 0;
  if (ns >= 9.2e18) return INT64_MAX;
  return std::chrono::ceil<std::chrono::nanoseconds>(d).count();
}

// steady_clock is CLOCK_MONOTONIC, gort's own clock.
template <class Clock, class Duration>
int64_t steady_ns(const std::chrono::time_point<Clock, Duration>& t) {
  using std::chrono::steady_clock;
  if constexpr (std::is_same_v<Clock, steady_clock>) {
    return saturated_ns(t.time_since_epoch());
  } else {
    using wide = std::chrono::duration<double, std::nano>;
    // In this order: who is interrupted in between is late, and never early.
    const auto clock_now = Clock::now();
    const int64_t now = saturated_ns(steady_clock::now().time_since_epoch());
    const double left =
        wide(t.time_since_epoch()).count() - wide(clock_now.time_since_epoch()).count();
    if (left <= 0) return now;
    if (left >= 9.2e18 - static_cast<double>(now)) return INT64_MAX;
    return now + saturated_ns(t - clock_now);
  }
}

template <class Rep, class Period>
int64_t steady_ns_after(const std::chrono::duration<Rep, Period>& d) {
  using std::chrono::nanoseconds;
  const int64_t now =
      std::chrono::duration_cast<nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count();
  if (!(d > d.zero())) return now;  // NaN, too
  // In double first: hours::max() must not overflow.
  if (std::chrono::duration<double, std::nano>(d).count() >
      static_cast<double>(INT64_MAX - now) - 1e6) {
    return INT64_MAX;
  }
  return now + std::chrono::ceil<nanoseconds>(d).count();
}

// wait(until_ns) -> bool by gort's clock, again while the caller's own has not come so far: it may have been set back
// meanwhile, or run slower.
template <class Clock, class Duration, class Wait>
bool until_reached(const std::chrono::time_point<Clock, Duration>& when, Wait&& wait) {
  for (;;) {
    if (wait(steady_ns(when))) return true;
    if constexpr (std::is_same_v<Clock, std::chrono::steady_clock>) {
      return false;
    } else {
      if (Clock::now() >= when) return false;
    }
  }
}
}  // namespace detail

// Lets other fibers run; returns at once when there are none. Never throws. On a foreign thread:
// std::this_thread::yield().
GORT_API void yield() noexcept;

// For loops that compute for long without waiting: lets other fibers run, if the runtime wants that, because some have waited for a
// while. Costs a call and a look at a flag otherwise. A fiber that calls it often is not interrupted, which costs more, and gives way
// even where GORT_DEBUG=asyncpreempt=0. Never throws. On a foreign thread: nothing.
GORT_API void checkpoint() noexcept;

// Sleeps at least until t, measured on the monotonic clock; for other clocks than steady_clock again, while they have not come
// so far. A time in the past returns at once. Throws gort::stopped if the fiber is asked to stop. On a foreign thread it blocks
// the thread.
template <class Clock, class Duration>
void sleep_until(const std::chrono::time_point<Clock, Duration>& t) {
  (void)detail::until_reached(t, [](int64_t until_ns) {
    detail::sleep_until_ns(until_ns);
    return false;
  });
}

// Sleeps at least d.
template <class Rep, class Period>
void sleep_for(const std::chrono::duration<Rep, Period>& d) {
  if (!(d > d.zero())) return yield();
  detail::sleep_until_ns(detail::steady_ns_after(d));
}

// The fiber that calls.
namespace this_fiber {

// True on a fiber, false on every other thread's stack.
GORT_API bool in_fiber() noexcept;
// The fiber's number, from 1 on, unique in the process's life; 0 outside fibers.
GORT_API uint64_t id() noexcept;
// Its name, shown in reports; empty if none was given.
GORT_API std::string name();
// Names it; copied, cut at 31 bytes, and at a null character. No effect outside fibers.
GORT_API void name(std::string_view text) noexcept;
// A token that is requested when the fiber is asked to stop. Outside fibers: one that never is. Its
// callbacks run on whoever asks, or on the fiber itself before gort::stopped is thrown, and must not
// wait, for a lock either: who ends one meanwhile blocks its thread until it has returned.
GORT_API std::stop_token stop_token();

}  // namespace this_fiber

}  // namespace gort
