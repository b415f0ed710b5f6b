// The compiled part of starting fibers, under the templates of spawn.hpp. Not for users.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <stop_token>
#include <type_traits>
#include <utility>

#include "gort/attrs.hpp"
#include "gort/export.hpp"

namespace gort {

struct G;

namespace detail {

// A fiber that is not running yet, with room for its payload near the top of its stack. Throws
// std::system_error (ENOMEM) or std::logic_error (no runtime is alive, or it is ending and the caller
// is none of its fibers).
struct new_fiber {
  G* g;
  void* payload;
};
GORT_API new_fiber fiber_create(const attrs* a, size_t payload_bytes, size_t payload_align);
// Gives back a fiber that was never started.
GORT_API void fiber_abandon(G* g) noexcept;
// Starts it: entry(payload) runs on the fiber. Nobody holds on to it.
GORT_API void fiber_start(G* g, void (*entry)(void*)) noexcept;
// Starts it with a handle: `destroy(payload)` runs when fiber and handle are both done with it.
GORT_API void fiber_start_joinable(G* g, void (*entry)(void*), void (*destroy)(void*)) noexcept;

GORT_API bool fiber_done(const G* g) noexcept;
// Waits for the end. False: the limit came first. Throws gort::stopped if the caller is asked to stop; std::system_error
// (resource_deadlock_would_occur) if it is the fiber itself.
GORT_API bool fiber_join(G* g, int64_t until_ns);
// The same, but no stop request ends it (destructors).
GORT_API void fiber_join_always(G* g) noexcept;
GORT_API void fiber_request_stop(G* g) noexcept;
GORT_API void fiber_release(G* g) noexcept;
GORT_API uint64_t fiber_id(const G* g) noexcept;
GORT_API std::stop_token fiber_stop_token(G* g);
// Whether the current fiber has been asked to stop, as its token says; makes none.
GORT_API bool fiber_stop_requested(const G* g) noexcept;
// The current fiber; nullptr outside.
GORT_API G* this_g() noexcept;

// True on a fiber that no stop request has been delivered to: it may yet be thrown, or handed on.
GORT_API bool stop_may_come() noexcept;
// Throws gort::stopped if the fiber has a request that no wait has delivered.
GORT_API void deliver_due_stop();

// While it lives the fiber's waits neither throw gort::stopped nor end early by a request: around a function of the program's that is
// called where nothing may be thrown. A request that comes meanwhile is for the next wait behind it.
class GORT_API stop_shield {
 public:
  stop_shield() noexcept;
  ~stop_shield();
  stop_shield(const stop_shield&) = delete;
  stop_shield& operator=(const stop_shield&) = delete;

 private:
  G* g_;  // nullptr: nothing would be delivered anyway
};

// The current fiber's function has returned or thrown: from here on destructors run, which no stop request makes throw.
GORT_API void fiber_function_ended(G* g) noexcept;
// Says so at the end of the call, before what it returned is let go of.
struct function_end {
  G* g;
  ~function_end() { fiber_function_ended(g); }
};

// In a handler of the exception that left the fiber, which nobody joins: report and end the process, as std::thread does.
[[noreturn]] GORT_API void fiber_uncaught(const G* g) noexcept;

// Payloads bigger than this live on the heap, so that small stacks keep room to run.
inline constexpr size_t payload_bytes_max = 2048;

}  // namespace detail
}  // namespace gort
