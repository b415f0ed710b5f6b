// context: a deadline, a word that work is to end, and values, handed down from caller to called. After Go's package context.
//
//     auto [ctx, cancel] = gort::with_timeout(gort::context::background(), 2s);
//     gort::go([ctx = ctx] {
//       while (!ctx.err()) work();               // or: select on ctx.done(), or give ctx.stop_token() on
//     });
//
// A context ends once: when it is cancelled, when its deadline passes, or when its parent ends; then it ends those that were made
// from it. The end is seen in all of err(), done() and stop_token(), in this order. When the last handle of a context is gone (copies,
// contexts made from it, its cancel functions) nobody could end it any more, and it ends as if cancelled; it leaves nothing
// behind in its parent.
//
// All of it may be used by fibers and ordinary threads, by many at once. Only deadlines need a runtime: they are looked after
// as timers are (gort/timer.hpp), and one that has not passed when the runtime ends never does.
#pragma once

#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <variant>

#include "gort/chan.hpp"
#include "gort/errors.hpp"
#include "gort/export.hpp"
#include "gort/fiber.hpp"

namespace gort {

class context;
class cancel_function;

namespace detail {

// One that can end, in src/sync/context.cpp.
struct context_state;
struct context_access;

// A value and those that were there before.
struct context_value {
  std::shared_ptr<const context_value> above;
  std::string key;
  const std::type_info& type;
  std::shared_ptr<const void> value;

  // The deleter.
  GORT_API static void free(context_value* last) noexcept;
};

}  // namespace detail

// What a context's done() hands out: nothing, ever; it is closed.
using done_receiver = receiver<std::monostate>;

// A handle of a context; copies are handles of the same. What all have in common stands at the top of context.hpp.
class GORT_API context {
 public:
  // The root: never ends, has no deadline and no values.
  [[nodiscard]] static context background() noexcept { return {nullptr, nullptr}; }

  // Closed once the context has ended. Of background(): nil, which blocks for ever. Throws std::bad_alloc.
  [[nodiscard]] done_receiver done() const;
  // Why it has ended: errc::canceled or errc::deadline_exceeded; empty while it lives.
  [[nodiscard]] std::error_code err() const noexcept;
  // What the cancel function was given, or a std::system_error with err(); of a context that ended by its parent's end, the
  // parent's. nullptr while it lives.
  [[nodiscard]] std::exception_ptr cause() const noexcept;
  // Requested once it has ended. Of background(): never. Its callbacks run on whoever ends the context, and must not wait, for a
  // lock either, as those of this_fiber::stop_token(); they may end contexts, and ask them. Throws std::bad_alloc.
  [[nodiscard]] std::stop_token stop_token() const;
  // As stop_token(): what takes a token takes a context.
  // NOLINTNEXTLINE(google-explicit-constructor): what takes a token takes a context
  operator std::stop_token() const { return stop_token(); }
  // The earliest deadline, of its own and of its parents'.
  [[nodiscard]] std::optional<std::chrono::steady_clock::time_point> deadline() const noexcept;

  // The value of this key and type that was added last; nullptr: there is none. Lives as long as the context.
  template <class T>
  [[nodiscard]] const T* value(std::string_view key) const noexcept {
    for (const detail::context_value* v = values_.get(); v != nullptr; v = v->above.get()) {
      if (v->key == key && v->type == typeid(T)) return static_cast<const T*>(v->value.get());
    }
    return nullptr;
  }

 private:
  friend struct detail::context_access;
  context(std::shared_ptr<detail::context_state> state,
          std::shared_ptr<const detail::context_value> values) noexcept
      : state_(std::move(state)), values_(std::move(values)) {}

  std::shared_ptr<detail::context_state> state_;  // nullptr: background
  std::shared_ptr<const detail::context_value> values_;
};

// Ends its context. Copies are as good. Keeps the context, as a copy of it does.
class GORT_API cancel_function {
 public:
  // With errc::canceled, if it has not ended yet; once this returns, those made from it have ended, too, unless somebody else is at it.
  // `cause`: what context::cause() will say.
  void operator()(std::exception_ptr cause = nullptr) const noexcept;

 private:
  friend struct detail::context_access;
  explicit cancel_function(std::shared_ptr<detail::context_state> state) noexcept
      : state_(std::move(state)) {}
  std::shared_ptr<detail::context_state> state_;
};

// auto [ctx, cancel] = with_cancel(parent);
struct context_and_cancel {
  context ctx;             // the new one
  cancel_function cancel;  // what ends it
};

namespace detail {
GORT_API context_and_cancel context_make(const context& parent);
// Throws std::logic_error when no runtime is alive.
GORT_API context_and_cancel context_make_until(const context& parent, int64_t when_ns);

struct context_access {
  static context make(std::shared_ptr<context_state> state,
                      std::shared_ptr<const context_value> values) noexcept {
    return {std::move(state), std::move(values)};
  }
  static cancel_function make_cancel(std::shared_ptr<context_state> state) noexcept {
    return cancel_function(std::move(state));
  }
  static const std::shared_ptr<context_state>& state(const context& c) noexcept { return c.state_; }
  static const std::shared_ptr<const context_value>& values(const context& c) noexcept {
    return c.values_;
  }
};
}  // namespace detail

// A context that ends when its cancel function is called, or the parent ends. Throws std::bad_alloc.
[[nodiscard]] inline context_and_cancel with_cancel(const context& parent) {
  return detail::context_make(parent);
}

// The same, and it ends with errc::deadline_exceeded at t, on the monotonic clock. Throws std::logic_error when no runtime is
// alive, std::bad_alloc.
template <class Clock, class Duration>
[[nodiscard]] context_and_cancel with_deadline(const context& parent,
                                               const std::chrono::time_point<Clock, Duration>& t) {
  return detail::context_make_until(parent, detail::steady_ns(t));
}
// The same, d from now.
template <class Rep, class Period>
[[nodiscard]] context_and_cancel with_timeout(const context& parent,
                                              const std::chrono::duration<Rep, Period>& d) {
  return detail::context_make_until(parent, detail::steady_ns_after(d));
}

// The parent, with one value more. It ends as the parent does. Throws std::bad_alloc, and what moving v throws.
template <class V>
[[nodiscard]] context with_value(const context& parent, std::string_view key, V&& v) {
  using T = std::decay_t<V>;
  return detail::context_access::make(
      detail::context_access::state(parent),
      std::shared_ptr<detail::context_value>(
          new detail::context_value{detail::context_access::values(parent), std::string(key),
                                    typeid(T), std::make_shared<const T>(std::forward<V>(v))},
          detail::context_value::free));
}

}  // namespace gort
