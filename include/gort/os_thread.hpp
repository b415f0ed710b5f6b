// Fibers that need a thread of their own: for libraries with thread-local state, for what the kernel keeps per thread.
#pragma once

#include "gort/export.hpp"

namespace gort {

// Wires the current fiber to the OS thread that it runs on: until as many unlock_os_thread() as lock_os_thread() calls have been
// made, it runs on no other thread, and no other fiber runs on that one. As in Go, a locked fiber costs: each wait takes two
// changes of threads, some ten microseconds instead of a few nanoseconds; and a thread, which counts for options.max_threads, of
// which others must be left for other fibers.
//
// A fiber that ends while it is locked takes its thread with it: what the fiber has done to the thread, nobody finds
// in another one. The thread that has called gort::run alone stays, and serves others.
//
// On ordinary threads, which are their own, both do nothing. So does unlock_os_thread() where nothing is locked.
GORT_API void lock_os_thread() noexcept;
// Takes one lock_os_thread() back.
GORT_API void unlock_os_thread() noexcept;

// Locked as long as it lives. Ends on the fiber that has made it.
class os_thread_lock {
 public:
  // Calls lock_os_thread().
  os_thread_lock() noexcept { lock_os_thread(); }
  // Calls unlock_os_thread().
  ~os_thread_lock() { unlock_os_thread(); }
  os_thread_lock(const os_thread_lock&) = delete;
  os_thread_lock& operator=(const os_thread_lock&) = delete;
};

}  // namespace gort
