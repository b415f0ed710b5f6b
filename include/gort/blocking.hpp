// blocking: a call that blocks its thread, without holding up other fibers.
#pragma once

#include <utility>

#include "gort/export.hpp"

namespace gort {

namespace detail {
GORT_API bool enter_blocking() noexcept;
GORT_API void leave_blocking() noexcept;
}  // namespace detail

// Runs f() in place, on the current thread, while the P goes on with other fibers on another
// thread. Returns what f returns. For calls that may block for more than some 20 us: a database
// client, a file, getaddrinfo, flock. Not cancellable. Outside fibers it just calls f. Nests.
//
// If the system gives no more threads, or options.max_threads are there, the other fibers wait until f
// has returned or a thread can be had.
template <class F>
decltype(auto) blocking(F&& f) {
  struct scope {
    bool entered = detail::enter_blocking();
    ~scope() {
      if (entered) detail::leave_blocking();
    }
  };
  const scope s;
  return std::forward<F>(f)();
}

}  // namespace gort
