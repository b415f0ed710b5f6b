// syscall: a fiber blocks its thread; its P goes on without it.
#pragma once

#include "sched/current.hpp"
#include "sched/m.hpp"

namespace gort {

// Gives the current fiber's P away, before a call that may block the thread. False: no fiber here,
// or already inside; then leave_blocking() must not be called.
[[nodiscard]] bool enter_blocking() noexcept;

// Gets a P again, waiting in line if none is idle.
void leave_blocking() noexcept;

// True for a fiber inside blocking().
[[nodiscard]] inline bool lacks_p() noexcept {
  const M* m = current_m();
  return m != nullptr && m->p == nullptr;
}

// For a runtime call from inside blocking(): the fiber gets a P before it goes on. Returns its M.
M* reenter_from_blocking() noexcept;

}  // namespace gort
