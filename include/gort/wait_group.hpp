// wait_group: waits until a number of things have happened.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "gort/detail/countdown.hpp"
#include "gort/detail/fiber.hpp"
#include "gort/export.hpp"
#include "gort/fiber.hpp"
#include "gort/fiber_local.hpp"
#include "gort/spawn.hpp"

namespace gort {

// A count of things under way, as Go's sync.WaitGroup:
//
//     gort::wait_group wg;
//     for (auto& url : urls) wg.go([&] { fetch(url); });
//     wg.wait();
//
// Fibers and ordinary threads may share one. What was done before a done() happens before the
// return of the wait() that it ends. May be used again, and destroyed as soon as wait() has
// returned, even if the last done() has not.
//
// Nothing that it counts outlives it: if wait() has thrown gort::stopped, or go() that there is no memory, its destructor waits. So what the
// fibers use is declared before it. To have them stopped then, too, there is task_group. A fiber that it counts must not own it: it would
// wait for itself.
class GORT_API wait_group {
 public:
  // Counts nothing.
  constexpr wait_group() noexcept = default;
  // Waits for the count to be zero; no stop request ends that. Not once no runtime is alive, nor in exit(), for what is static: nobody
  // would come any more.
  ~wait_group() {
    if (!count_.is_zero()) [[unlikely]]
      wait_at_the_end();
  }
  wait_group(const wait_group&) = delete;
  wait_group& operator=(const wait_group&) = delete;

  // Adds n, which may be negative, to the count. Zero releases every waiter. Throws
  // std::logic_error, and leaves the count unchanged, if it would fall below zero (or beyond 2^62).
  // Raise the count before the thing starts, not within it: the waiter may be there first.
  void add(std::ptrdiff_t n) {
    if (!count_.add(n)) [[unlikely]]
      throw_no_such_count(n);
  }

  // add(-1).
  void done() { add(-1); }

  // Waits for the count to be zero, or to have been so since. Throws gort::stopped if the fiber is
  // asked to stop.
  void wait() { count_.wait_until_ns(INT64_MAX, role::group); }

  // The same with a time limit. False: it passed first.
  template <class Rep, class Period>
  [[nodiscard]] bool wait_for(const std::chrono::duration<Rep, Period>& limit) {
    return count_.wait_until_ns(detail::steady_ns_after(limit), role::group);
  }
  // The same until a point in time.
  template <class Clock, class Duration>
  [[nodiscard]] bool wait_until(const std::chrono::time_point<Clock, Duration>& when) {
    return detail::until_reached(
        when, [&](int64_t until_ns) { return count_.wait_until_ns(until_ns, role::group); });
  }

  // Runs f(args...) on a fiber of its own, as gort::go does, and counts it: add(1) now, done() when
  // f has returned, or was stopped, and what it was made of and the fiber's fiber_locals are
  // destroyed. If no fiber can be made, throws as gort::go, and the count is as it was.
  template <class F, class... Args>
  void go(F&& f, Args&&... args) {
    using bound = detail::bound_for<F, Args...>;
    struct counted {
      wait_group* group;
      std::optional<bound> call;

      void operator()() {
        const done_on_exit guard{group};
        // Here, so that it is destroyed before the guard.
        bound body = *std::exchange(call, std::nullopt);
        body.call(detail::this_g());
      }
    };
    add(1);
    try {
      gort::go(counted{this, std::optional<bound>(std::in_place, std::forward<F>(f),
                                                  std::forward<Args>(args)...)});
    } catch (...) {
      done();
      throw;
    }
  }

 private:
  using role = detail::countdown::role;

  struct done_on_exit {
    wait_group* group;
    ~done_on_exit() {
      detail::end_locals();
      group->done();
    }
  };

  [[noreturn]] static void throw_no_such_count(std::ptrdiff_t added);
  void wait_at_the_end() noexcept;

  detail::countdown count_{0};
};

}  // namespace gort
