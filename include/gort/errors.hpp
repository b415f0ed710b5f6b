// What gort throws beside std::system_error and std::logic_error.
#pragma once

#include <stdexcept>
#include <system_error>
#include <type_traits>

#include "gort/export.hpp"

namespace gort {

// Thrown by a cancellable wait of a fiber that has been asked to stop, once in the fiber's life. Not while the fiber unwinds, nor
// once its function has ended: then destructors wait, of what the function was made of, of its result and of fiber_locals.
// Not derived from std::exception, so that `catch (const std::exception&)` does not swallow it. Let
// it pass: a task that ends by it counts as finished.
class GORT_API stopped {};

// Thrown by send on a channel that is or becomes closed, by closing twice, and by closing nil.
class GORT_API closed_channel : public std::logic_error {
 public:
  // what() says that the channel is closed.
  closed_channel();
  ~closed_channel() override;
};

// Errors of gort's own, as std::error_code. They are equivalent to std::errc::operation_canceled and std::errc::timed_out.
enum class errc {
  canceled = 1,       // a context was cancelled
  deadline_exceeded,  // a context's deadline has passed
};

// Their category, named "gort".
GORT_API const std::error_category& error_category() noexcept;
// By which an errc becomes a std::error_code.
[[nodiscard]] inline std::error_code make_error_code(errc e) noexcept {
  return {static_cast<int>(e), error_category()};
}

// How a try_ or timed channel operation ended.
enum class op_status {
  ok,       // done
  empty,    // try_recv: nothing there
  full,     // try_send: no room and no receiver
  closed,   // the channel is closed (and, for receives, drained)
  timeout,  // the time limit passed first
};

}  // namespace gort

template <>
struct std::is_error_code_enum<gort::errc> : std::true_type {};
