// promise, future, shared_future: the standard's for fibers.
#pragma once

#include <atomic>
#include <chrono>
#include <exception>
#include <future>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "gort/detail/countdown.hpp"
#include "gort/detail/mem.hpp"
#include "gort/export.hpp"
#include "gort/fiber.hpp"
#include "gort/once.hpp"

namespace gort {

template <class R>
class future;
template <class R>
class shared_future;
template <class R>
class promise;

namespace detail {

[[noreturn]] GORT_API void throw_future_error(std::future_errc code);
[[nodiscard]] GORT_API std::exception_ptr broken_promise() noexcept;
// Throws std::invalid_argument if there is none.
GORT_API void check_is_exception(const std::exception_ptr& e);

// What a promise and its futures share:
//
//   FU1  `value` of the state, or `error`, is written by the one call that `satisfied` lets through, and read by those only
//        who have waited for `ready`, or found it so.
//   FU2  The step that says `ready` is the last access of who satisfies a promise, to it and to the state: from there on a
//        future may return, and all of it be gone.
//   FU3  Who is told that there is a value already finds it ready.
struct future_state {
  Atomic<uint32_t> references{1};
  once_flag satisfied;
  countdown ready{1};
  Atomic<bool> retrieved{false};  // get_future() has been called
  std::exception_ptr error;
  void (*destroy)(future_state*) noexcept = nullptr;

  void wait() { ready.wait_until_ns(INT64_MAX, countdown::role::future); }
  bool wait_until_ns(int64_t until_ns) {
    return ready.wait_until_ns(until_ns, countdown::role::future);
  }
  // By a call of fill(), if there was none that returned. False: there was, and it is ready.
  template <class Fill>
  bool satisfy(Fill&& fill) {
    if (!call_once_here(satisfied, std::forward<Fill>(fill))) {
      // FU3. Who has filled it is between the two.
      if (!ready.is_zero()) (void)ready.take_and_wait(0, countdown::role::future);
      return false;
    }
    (void)ready.add(-1);  // FU2
    return true;
  }
};

template <class R>
struct value_state : future_state {
  std::optional<R> value;
};
template <class R>
struct value_state<R&> : future_state {
  R* value = nullptr;
};
template <>
struct value_state<void> : future_state {};

// A counted reference.
template <class R>
class state_ref {
 public:
  state_ref() noexcept = default;
  // Takes over the first reference.
  explicit state_ref(value_state<R>* state) noexcept : state_(state) {}
  state_ref(const state_ref& other) noexcept : state_(other.state_) {
    // relaxed: we hold one.
    if (state_ != nullptr) state_->references.fetch_add(1, std::memory_order_relaxed);
  }
  state_ref(state_ref&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  state_ref& operator=(state_ref other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~state_ref() {
    // acq_rel: the last one sees all that the others did.
    if (state_ != nullptr && state_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      state_->destroy(state_);
    }
  }
  explicit operator bool() const noexcept { return state_ != nullptr; }
  value_state<R>& operator*() const {
    if (state_ == nullptr) throw_future_error(std::future_errc::no_state);
    return *state_;
  }
  value_state<R>* operator->() const { return &**this; }

 private:
  value_state<R>* state_ = nullptr;
};

template <class R>
state_ref<R> make_state() {
  auto* state = new value_state<R>;
  state->destroy = [](future_state* s) noexcept { delete static_cast<value_state<R>*>(s); };
  return state_ref<R>(state);
}

template <class R, class Allocator>
state_ref<R> make_state(const Allocator& allocator) {
  struct block;
  using block_allocator = typename std::allocator_traits<Allocator>::template rebind_alloc<block>;
  using traits = std::allocator_traits<block_allocator>;
  struct block : value_state<R> {
    explicit block(const block_allocator& a) : allocator(a) {}
    block_allocator allocator;
  };
  block_allocator a(allocator);
  auto memory = traits::allocate(a, 1);
  auto* state = new (std::to_address(memory)) block(a);
  state->destroy = [](future_state* s) noexcept {
    auto* b = static_cast<block*>(s);
    block_allocator last(std::move(b->allocator));
    const auto where = std::pointer_traits<typename traits::pointer>::pointer_to(*b);
    b->~block();
    traits::deallocate(last, where, 1);
  };
  return state_ref<R>(state);
}

// What future and shared_future have in common.
template <class R>
class future_base {
 public:
  [[nodiscard]] bool valid() const noexcept { return static_cast<bool>(state_); }
  void wait() const { state_->wait(); }
  template <class Rep, class Period>
  std::future_status wait_for(const std::chrono::duration<Rep, Period>& limit) const {
    value_state<R>& state = *state_;
    return state.ready.is_zero() || state.wait_until_ns(steady_ns_after(limit))
               ? std::future_status::ready
               : std::future_status::timeout;
  }
  template <class Clock, class Duration>
  std::future_status wait_until(const std::chrono::time_point<Clock, Duration>& when) const {
    value_state<R>& state = *state_;
    const auto wait = [&state](int64_t until_ns) { return state.wait_until_ns(until_ns); };
    return until_reached(when, wait) ? std::future_status::ready : std::future_status::timeout;
  }

 protected:
  future_base() noexcept = default;
  explicit future_base(state_ref<R> state) noexcept : state_(std::move(state)) {}
  future_base(const future_base&) noexcept = default;
  future_base(future_base&&) noexcept = default;
  future_base& operator=(const future_base&) noexcept = default;
  future_base& operator=(future_base&&) noexcept = default;
  ~future_base() = default;

  // FU1: once it is ready, and there is no exception.
  value_state<R>& result() const {
    value_state<R>& state = *state_;
    state.wait();
    if (state.error) std::rethrow_exception(state.error);
    return state;
  }

  state_ref<R> state_;
};

template <class R>
class promise_base {
 public:
  promise_base(promise_base&&) noexcept = default;
  // Throws future_error (future_already_retrieved, no_state).
  [[nodiscard]] future<R> get_future() {
    // relaxed: of several callers one gets it, and no more is said about them.
    if (state_->retrieved.exchange(true, std::memory_order_relaxed)) {
      throw_future_error(std::future_errc::future_already_retrieved);
    }
    return future<R>(state_);
  }
  // Throws future_error (promise_already_satisfied, no_state); std::invalid_argument for a null pointer.
  void set_exception(std::exception_ptr e) {
    check_is_exception(e);
    satisfy([&e](value_state<R>& state) { state.error = std::move(e); });
  }

 protected:
  explicit promise_base(state_ref<R> state) noexcept : state_(std::move(state)) {}
  promise_base& operator=(promise_base&& other) noexcept {
    promise_base(std::move(other)).swap(*this);
    return *this;
  }
  ~promise_base() {
    // relaxed: if the one reference is ours there is no future, nor will there be.
    if (!state_ || state_->references.load(std::memory_order_relaxed) == 1) return;
    value_state<R>& state = *state_;
    state.satisfy([&state] { state.error = broken_promise(); });
  }
  void swap(promise_base& other) noexcept { std::swap(state_, other.state_); }

  // The state is ours until this promise ends, or is moved from: FU2 keeps to that.
  template <class Fill>
  void satisfy(Fill&& fill) {
    value_state<R>& state = *state_;
    if (!state.satisfy([&] { fill(state); })) {
      throw_future_error(std::future_errc::promise_already_satisfied);
    }
  }

  state_ref<R> state_;
};

}  // namespace detail

// The contract of std::future, for the promises below: with std::future_error, std::future_errc and std::future_status.
// What a promise was given happens before the return of the wait() or get() that finds it.
//
// Waits are cancellable: they throw gort::stopped if the fiber is asked to stop, and leave the future as it is. Without a
// state every call but valid() throws std::future_error (no_state). One fiber or thread uses a future at a time.
template <class R>
class [[nodiscard]] future : public detail::future_base<R> {
 public:
  future() noexcept = default;
  future(future&&) noexcept = default;
  future& operator=(future&&) noexcept = default;
  future(const future&) = delete;
  future& operator=(const future&) = delete;

  // Waits; the value, or the exception. Once.
  R get() {
    detail::value_state<R>& state = *this->state_;
    state.wait();
    const future last(std::move(*this));
    // Moved: the promise has no part in it any more, whoever of the two ends first.
    if (state.error) std::rethrow_exception(std::move(state.error));
    if constexpr (std::is_reference_v<R>) {
      return *state.value;
    } else if constexpr (!std::is_void_v<R>) {
      return std::move(*state.value);
    }
  }
  shared_future<R> share() noexcept { return shared_future<R>(std::move(*this)); }

 private:
  friend class detail::promise_base<R>;
  friend class shared_future<R>;
  explicit future(detail::state_ref<R> state) noexcept : detail::future_base<R>(std::move(state)) {}
};

// The contract of std::shared_future, and what future says. Copies may be used by several at once.
template <class R>
class [[nodiscard]] shared_future : public detail::future_base<R> {
 public:
  shared_future() noexcept = default;
  shared_future(const shared_future&) noexcept = default;
  shared_future(shared_future&&) noexcept = default;
  // NOLINTNEXTLINE(google-explicit-constructor): as the standard has it
  shared_future(future<R>&& other) noexcept : detail::future_base<R>(std::move(other.state_)) {}
  shared_future& operator=(const shared_future&) noexcept = default;
  shared_future& operator=(shared_future&&) noexcept = default;

  // Waits; the value, or the exception. As often as one likes.
  std::conditional_t<std::is_object_v<R>, const R&, R> get() const {
    [[maybe_unused]] auto& state = this->result();
    if constexpr (!std::is_void_v<R>) return *state.value;
  }
};

// The contract of std::promise, but for set_value_at_thread_exit() and set_exception_at_thread_exit(): a fiber ends on
// whatever thread it is by then. Fibers and ordinary threads may use the two ends. A promise may be destroyed by who has got
// its value, even if set_value() has not returned yet. One that ends without a value leaves broken_promise.
//
// set_value() throws std::future_error (promise_already_satisfied, no_state), or what the value's own copy or move throws;
// then the promise is as it was.
template <class R>
class promise : public detail::promise_base<R> {
 public:
  promise() : detail::promise_base<R>(detail::make_state<R>()) {}
  template <class Allocator>
  promise(std::allocator_arg_t, const Allocator& allocator)
      : detail::promise_base<R>(detail::make_state<R>(allocator)) {}
  promise(promise&&) noexcept = default;
  promise& operator=(promise&&) noexcept = default;
  promise(const promise&) = delete;
  promise& operator=(const promise&) = delete;

  void swap(promise& other) noexcept { detail::promise_base<R>::swap(other); }

  void set_value(const R& value) {
    this->satisfy([&](auto& state) { state.value.emplace(value); });
  }
  void set_value(R&& value) {
    this->satisfy([&](auto& state) { state.value.emplace(std::move(value)); });
  }
};

template <class R>
class promise<R&> : public detail::promise_base<R&> {
 public:
  promise() : detail::promise_base<R&>(detail::make_state<R&>()) {}
  template <class Allocator>
  promise(std::allocator_arg_t, const Allocator& allocator)
      : detail::promise_base<R&>(detail::make_state<R&>(allocator)) {}
  promise(promise&&) noexcept = default;
  promise& operator=(promise&&) noexcept = default;
  promise(const promise&) = delete;
  promise& operator=(const promise&) = delete;

  void swap(promise& other) noexcept { detail::promise_base<R&>::swap(other); }

  void set_value(R& value) {
    this->satisfy([&](auto& state) { state.value = std::addressof(value); });
  }
};

template <>
class promise<void> : public detail::promise_base<void> {
 public:
  promise() : detail::promise_base<void>(detail::make_state<void>()) {}
  template <class Allocator>
  promise(std::allocator_arg_t, const Allocator& allocator)
      : detail::promise_base<void>(detail::make_state<void>(allocator)) {}
  promise(promise&&) noexcept = default;
  promise& operator=(promise&&) noexcept = default;
  promise(const promise&) = delete;
  promise& operator=(const promise&) = delete;

  void swap(promise& other) noexcept { detail::promise_base<void>::swap(other); }

  void set_value() {
    satisfy([](auto&) {});
  }
};

// Exchanges what two promises are for.
template <class R>
void swap(promise<R>& a, promise<R>& b) noexcept {
  a.swap(b);
}

}  // namespace gort

template <class R, class Allocator>
struct std::uses_allocator<gort::promise<R>, Allocator> : std::true_type {};
