// Timers: a value in a channel, or a function on a fiber, after some time; and tickers. After Go's time package.
//
//     gort::timer t(50ms);                       // one tick, in t.channel()
//     gort::ticker beat(1s);                     // one each second
//     auto timeout = gort::after(50ms);          // the channel of a timer that nobody stops
//     gort::after_func(50ms, [] { ... });        // on a fiber of its own
//
// All on the monotonic clock. A tick comes at its time or later, never earlier. Timers are looked after by the runtime: they are
// made and set while one is alive, by its fibers or by any other thread; else std::logic_error. Those that have not fired when
// it ends never do: what waits for their ticks outside of it is not woken. Any thread may use a timer, also several at once.
//
// stop() and reset() leave nothing behind, as in Go since 1.23: once they return, no tick of before is received any more. They
// say true if the timer was still to fire, or had fired and the tick had not been taken: so of what was set each time, either
// somebody gets a tick, or one of them says true.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "gort/chan.hpp"
#include "gort/detail/fiber.hpp"
#include "gort/errors.hpp"
#include "gort/export.hpp"
#include "gort/fiber.hpp"

namespace gort {

namespace detail {

struct alarm;

// A timer that sends, as long as the channel has a handle. period_ns: 0, or of a ticker. Throws std::logic_error, std::bad_alloc.
struct tick_alarm {
  alarm* a;
  chan_core* channel;  // a reference
};
GORT_API tick_alarm tick_alarm_make(int64_t when_ns, int64_t period_ns);

// A timer that calls, not set yet, with room for the function; `call` gets the room, more than once if it is set again, and must
// not throw.
struct func_alarm {
  alarm* a;  // a reference
  void* room;
};
GORT_API func_alarm func_alarm_make(size_t bytes, size_t align, void (*call)(void*),
                                    void (*destroy)(void*));
// Gives back one whose room is empty.
GORT_API void func_alarm_abandon(alarm* a) noexcept;
GORT_API void func_alarm_retain(alarm* a) noexcept;
GORT_API void func_alarm_release(alarm* a) noexcept;

GORT_API bool alarm_stop(alarm* a) noexcept;
// Throws std::logic_error.
GORT_API bool alarm_reset(alarm* a, int64_t when_ns, int64_t period_ns);

[[noreturn]] GORT_API void no_timer();

// A channel's alarm, as long as the object lives.
class tick_source {
 public:
  using time_point = std::chrono::steady_clock::time_point;

  tick_source(int64_t when_ns, int64_t period_ns)
      : tick_source(tick_alarm_make(when_ns, period_ns)) {}
  tick_source(tick_source&& other) noexcept
      : alarm_(std::exchange(other.alarm_, nullptr)), channel_(std::move(other.channel_)) {}
  tick_source& operator=(tick_source&& other) noexcept {
    if (this != &other) {
      stop();
      alarm_ = std::exchange(other.alarm_, nullptr);
      channel_ = std::move(other.channel_);
    }
    return *this;
  }
  ~tick_source() { stop(); }

  [[nodiscard]] const chan<time_point>& channel() const noexcept { return channel_; }
  // NOLINTNEXTLINE(modernize-use-nodiscard): most who stop do not mind
  bool stop() const noexcept { return alarm_ != nullptr && alarm_stop(alarm_); }
  // NOLINTNEXTLINE(modernize-use-nodiscard): most who reset do not mind
  bool reset(int64_t when_ns, int64_t period_ns) const {
    if (alarm_ == nullptr) no_timer();
    return alarm_reset(alarm_, when_ns, period_ns);
  }

 private:
  explicit tick_source(tick_alarm made) noexcept
      : alarm_(made.a), channel_(chan_access::adopt<time_point>(made.channel)) {}

  alarm* alarm_;
  chan<time_point> channel_;
};

template <class Rep, class Period>
int64_t period_ns(const std::chrono::duration<Rep, Period>& d) {
  if (!(d > d.zero())) throw std::invalid_argument("gort::ticker: the period must be positive");
  return saturated_ns(d);
}

}  // namespace detail

// Fires once, d after it was made: the time then comes into its channel. d <= 0: at once. Movable; the destructor stops it. What
// was moved from stops nothing, and throws std::logic_error when it is reset.
class timer {
 public:
  // What its ticks are.
  using time_point = std::chrono::steady_clock::time_point;

  // Throws std::logic_error when no runtime is alive, std::bad_alloc.
  template <class Rep, class Period>
  explicit timer(const std::chrono::duration<Rep, Period>& d)
      : source_(detail::steady_ns_after(d), 0) {}

  // Where the tick comes. Its capacity is 1, so that nobody need be there in time. May outlive the timer.
  [[nodiscard]] receiver<time_point> channel() const noexcept { return source_.channel(); }

  // No tick comes any more. True if one was to come, or to be taken (above).
  // NOLINTNEXTLINE(modernize-use-nodiscard): most who stop do not mind
  bool stop() const noexcept { return source_.stop(); }

  // Fires d from now, whatever was before; what stop() would say. Throws std::logic_error when no runtime is alive.
  template <class Rep, class Period>
  bool reset(const std::chrono::duration<Rep, Period>& d) const {
    return source_.reset(detail::steady_ns_after(d), 0);
  }

 private:
  detail::tick_source source_;
};

// Fires every d. A tick that nobody has taken when the next one comes is all that waits: ticks are dropped, not heaped up.
// Otherwise as timer.
class ticker {
 public:
  using time_point = std::chrono::steady_clock::time_point;

  // Throws std::invalid_argument if d is not positive, std::logic_error when no runtime is alive, std::bad_alloc.
  template <class Rep, class Period>
  explicit ticker(const std::chrono::duration<Rep, Period>& d)
      : source_(detail::steady_ns_after(d), detail::period_ns(d)) {}

  [[nodiscard]] receiver<time_point> channel() const noexcept { return source_.channel(); }

  // No more ticks. True if it was running, or a tick was to be taken.
  // NOLINTNEXTLINE(modernize-use-nodiscard): most who stop do not mind
  bool stop() const noexcept { return source_.stop(); }

  // Every d, the first time d from now; what stop() would say. Throws as the constructor.
  template <class Rep, class Period>
  bool reset(const std::chrono::duration<Rep, Period>& d) const {
    const int64_t period = detail::period_ns(d);
    return source_.reset(detail::steady_ns_after(d), period);
  }

 private:
  detail::tick_source source_;
};

// The channel of a timer that fires d from now. The timer goes when the last copy of the channel does, so one that is dropped
// early costs nothing any more. Throws as timer.
template <class Rep, class Period>
[[nodiscard]] receiver<std::chrono::steady_clock::time_point> after(
    const std::chrono::duration<Rep, Period>& d) {
  const detail::tick_alarm made = detail::tick_alarm_make(detail::steady_ns_after(d), 0);
  return detail::chan_access::adopt<std::chrono::steady_clock::time_point>(made.channel);
}

class func_timer;
namespace detail {
template <class F>
func_timer func_timer_make(int64_t when_ns, F&& f);
}  // namespace detail

// A handle of what after_func() has set. Copies are handles of the same; the end of the last one cancels nothing.
class func_timer {
 public:
  func_timer() noexcept = default;
  func_timer(const func_timer& other) noexcept : alarm_(other.alarm_) {
    if (alarm_ != nullptr) detail::func_alarm_retain(alarm_);
  }
  func_timer(func_timer&& other) noexcept : alarm_(std::exchange(other.alarm_, nullptr)) {}
  func_timer& operator=(func_timer other) noexcept {
    std::swap(alarm_, other.alarm_);
    return *this;
  }
  ~func_timer() {
    if (alarm_ != nullptr) detail::func_alarm_release(alarm_);
  }

  // f is not called any more for what was set before. True if it was to be; false: it has been, or its fiber has begun, which
  // nobody waits for. A handle without a timer: false.
  // NOLINTNEXTLINE(modernize-use-nodiscard): most who stop do not mind
  bool stop() const noexcept { return alarm_ != nullptr && detail::alarm_stop(alarm_); }

  // f is called d from now; what stop() would say. One that still runs goes on beside it. Throws std::logic_error when no
  // runtime is alive, or the handle has no timer.
  template <class Rep, class Period>
  bool reset(const std::chrono::duration<Rep, Period>& d) const {
    if (alarm_ == nullptr) detail::no_timer();
    return detail::alarm_reset(alarm_, detail::steady_ns_after(d), 0);
  }

 private:
  template <class F>
  friend func_timer detail::func_timer_make(int64_t when_ns, F&& f);

  detail::alarm* alarm_ = nullptr;
};

namespace detail {

// after_func(), by the monotonic clock.
template <class F>
func_timer func_timer_make(int64_t when_ns, F&& f) {
  using function = std::decay_t<F>;
  static_assert(std::is_invocable_v<function&>, "gort::after_func: f is called without arguments");
  constexpr auto call = [](void* room) noexcept {
    G* const g = this_g();
    const auto to_its_end = [g](function& f) -> decltype(auto) {
      const function_end end{g};
      return f();
    };
    try {
      (void)to_its_end(*static_cast<function*>(room));
    } catch (const stopped&) {
      // Asked to stop, and it did.
    } catch (...) {
      fiber_uncaught(g);
    }
  };
  constexpr auto destroy = [](void* room) noexcept { static_cast<function*>(room)->~function(); };
  const func_alarm made = func_alarm_make(sizeof(function), alignof(function), call, destroy);
  try {
    ::new (made.room) function(std::forward<F>(f));
  } catch (...) {
    func_alarm_abandon(made.a);
    throw;
  }
  func_timer handle;
  handle.alarm_ = made.a;
  (void)alarm_reset(made.a, when_ns, 0);
  return handle;
}

}  // namespace detail

// Calls f() on a fiber of its own, d from now; d <= 0: at once. What escapes f is as in gort::go: gort::stopped ends the fiber, any
// other exception the process. f is kept until the last handle and the last call are over; where the timer has not fired when
// the runtime ends, it is destroyed then, by the thread that ends it. Where no stack is to be had for the fiber when its time has
// come, it starts as soon as there is one. Throws as timer, from a thread also once the main function has returned, as does
// func_timer::reset(); and what moving f throws.
template <class Rep, class Period, class F>
func_timer after_func(const std::chrono::duration<Rep, Period>& d, F&& f) {
  return detail::func_timer_make(detail::steady_ns_after(d), std::forward<F>(f));
}

}  // namespace gort
