// select: waits for the first of several channel operations, as Go's select.
//
//     gort::select(gort::on_recv(orders, [&](std::optional<order> o) { ... }),  // nullopt: closed and drained
//                  gort::on_send(results, next, [&] { ++sent; }),
//                  gort::on_timeout(1s, [] { ... }));
//
// Exactly one case fires: of those that can go on, each with the same chance; if none can, the first to come. Its
// function is called on the caller's stack once the operation is over, and may do anything, select included. select()
// returns the position of its case among the arguments.
//
//   on_recv(ch, f)        a chan or receiver; f(std::optional<T>), nullopt once it is closed and drained
//   on_send(ch, value, f) a chan or sender; throws closed_channel if the channel is or becomes closed, as send() does.
//                         A value that was not sent ends with its case
//   on_timeout(d, f)      after d from the call of select() on; d <= 0 if nothing else can go on at once. Of several
//                         the shortest counts, of equal ones the first
//   on_stop(token, f)     once a stop is requested of the token
//   otherwise(f)          if no other can go on at once: then select does not wait
//
// Every f may be left out, and may take no argument. One channel may stand in several cases. Cases of chan<T>::nil(),
// and of tokens of which no stop can be requested, never go on. A select without any case waits for ever.
//
// May be called from fibers, which park, and from foreign threads, which block. It allocates nothing.
//
// Cancellable: a wait throws gort::stopped when its fiber is asked to stop, once in the fiber's life. If the fiber's own
// token (this_fiber::stop_token()) stands in one of its on_stop cases, that case fires instead, and the request counts
// as delivered: what the fiber waits for afterwards, in order to clean up, is not interrupted.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "gort/chan.hpp"
#include "gort/detail/select.hpp"
#include "gort/errors.hpp"
#include "gort/fiber.hpp"

namespace gort {

namespace detail {

struct no_callback {
  void operator()() const noexcept {}
};

template <class Chan>
inline constexpr bool can_receive = false;
template <class T>
inline constexpr bool can_receive<chan<T>> = true;
template <class T>
inline constexpr bool can_receive<receiver<T>> = true;
template <class Chan>
inline constexpr bool can_send = false;
template <class T>
inline constexpr bool can_send<chan<T>> = true;
template <class T>
inline constexpr bool can_send<sender<T>> = true;

// A channel that outlives the case is referred to; one that would not (an rvalue) is kept.
template <class Chan>
using kept = std::conditional_t<std::is_lvalue_reference_v<Chan>, const std::remove_cvref_t<Chan>&,
                                std::remove_cvref_t<Chan>>;

struct case_base {};

template <class Chan, class F>
class recv_case : case_base {
 public:
  using chan_type = std::remove_cvref_t<Chan>;
  using value_type = typename chan_type::value_type;
  static_assert(std::is_invocable_v<F&, std::optional<value_type>> || std::is_invocable_v<F&>,
                "gort::on_recv: f takes a std::optional<T> (nullopt: closed), or nothing");

  recv_case(Chan ch, F f) : chan_(std::forward<Chan>(ch)), f_(std::move(f)) {}

  void prepare(select_case& at) noexcept {
    at.kind = case_kind::recv;
    at.chan = chan_access::core(chan_);
    at.value = std::addressof(room_.value);
  }
  void fire(op_status st) {
    std::optional<value_type> v;
    if (st == op_status::ok) {
      v.emplace(std::move(room_.value));
      room_.value.~value_type();
    }
    if constexpr (std::is_invocable_v<F&, std::optional<value_type>>) {
      f_(std::move(v));
    } else {
      f_();
    }
  }
  // The same for a selector, which outlives its caller's channels.
  auto keep() && { return recv_case<chan_type, F>(chan_type(chan_), std::move(f_)); }

  // Moved while it holds no value: before the select.
  recv_case(recv_case&& other) noexcept(std::is_nothrow_move_constructible_v<F>)
      : chan_(std::forward<Chan>(other.chan_)), f_(std::move(other.f_)) {}
  recv_case& operator=(recv_case&&) = delete;
  ~recv_case() = default;

 private:
  Chan chan_;
  F f_;
  slot<value_type> room_;
};

// Whether T can be copied, also where its trait knows no better: a container has a copy constructor whatever it contains, which
// does not compile if its elements have none. Those in Seen are being looked into already.
template <class T, class... Seen>
constexpr bool has_copies();

template <class T, class... Seen>
inline constexpr bool parts_have_copies = true;
template <class T, class... Seen>
requires requires {
  typename T::allocator_type;  // it owns what it contains
  typename T::value_type;
}
inline constexpr bool parts_have_copies<T, Seen...> =
    has_copies<std::remove_cv_t<typename T::value_type>, T, Seen...>();
template <class T, class... Seen>
inline constexpr bool parts_have_copies<std::optional<T>, Seen...> = has_copies<T, Seen...>();
template <class A, class B, class... Seen>
inline constexpr bool parts_have_copies<std::pair<A, B>, Seen...> =
    has_copies<std::remove_cv_t<A>, Seen...>() && has_copies<std::remove_cv_t<B>, Seen...>();
template <class... Parts, class... Seen>
inline constexpr bool parts_have_copies<std::tuple<Parts...>, Seen...> =
    (has_copies<std::remove_cv_t<Parts>, Seen...>() && ...);

template <class T, class... Seen>
constexpr bool has_copies() {
  if constexpr ((std::is_same_v<T, Seen> || ...)) {
    return true;
  } else if constexpr (!std::is_copy_constructible_v<T>) {
    return false;
  } else {
    return parts_have_copies<T, Seen...>;
  }
}

}  // namespace detail

// Whether a selector sends the value of a case once, and no copies of it: where T has none. To be specialized as true for types
// that say that they have and do not, such as a struct with a std::vector of std::unique_ptr.
template <class T>
inline constexpr bool sent_once = !detail::has_copies<T>();

namespace detail {

// What a selector sends: a copy each time, or, where there is none, its value once.
template <class Chan, class F>
class resend_case : case_base {
 public:
  using value_type = typename Chan::value_type;

  resend_case(Chan ch, value_type&& value, F f)
      : chan_(std::move(ch)), f_(std::move(f)), value_(std::move(value)) {}

  void prepare(select_case& at) {
    at.kind = case_kind::send;
    if constexpr (!sent_once<value_type>) {
      if (!copy_) copy_.emplace(std::as_const(value_));
      at.chan = chan_access::core(chan_);
      at.value = std::addressof(*copy_);
    } else {
      at.chan = sent_ ? nullptr : chan_access::core(chan_);
      at.value = std::addressof(value_);
    }
  }
  void fire(op_status) {
    if constexpr (!sent_once<value_type>) {
      copy_.reset();
    } else {
      sent_ = true;
    }
    f_();
  }

 private:
  Chan chan_;
  F f_;
  value_type value_;
  // optional's copy operations are not made where nobody asks for them, so a T without copies may stand here.
  std::optional<value_type> copy_;
  bool sent_ = false;
};

template <class Chan, class F>
class send_case : case_base {
 public:
  using chan_type = std::remove_cvref_t<Chan>;
  using value_type = typename chan_type::value_type;
  static_assert(std::is_invocable_v<F&>, "gort::on_send: f takes no argument");

  template <class V>
  send_case(Chan ch, V&& value, F f)
      : chan_(std::forward<Chan>(ch)), f_(std::move(f)), value_(std::forward<V>(value)) {}

  void prepare(select_case& at) noexcept {
    at.kind = case_kind::send;
    at.chan = chan_access::core(chan_);
    at.value = std::addressof(value_);
  }
  void fire(op_status) { f_(); }
  auto keep() && {
    return resend_case<chan_type, F>(chan_type(chan_), std::move(value_), std::move(f_));
  }

 private:
  Chan chan_;
  F f_;
  value_type value_;
};

// What has nothing but a function: f for all kinds that follow.
template <class F>
class timeout_case : case_base {
 public:
  static_assert(std::is_invocable_v<F&>, "gort::on_timeout: f takes no argument");
  timeout_case(int64_t after_ns, F f) : after_ns_(after_ns), f_(std::move(f)) {}
  void prepare(select_case& at) noexcept {
    at.kind = case_kind::timeout;
    at.after_ns = after_ns_;
  }
  void fire(op_status) { f_(); }
  timeout_case keep() && { return std::move(*this); }

 private:
  int64_t after_ns_;
  F f_;
};

template <class F>
class stop_case : case_base {
 public:
  static_assert(std::is_invocable_v<F&>, "gort::on_stop: f takes no argument");
  stop_case(std::stop_token token, F f) : token_(std::move(token)), f_(std::move(f)) {}
  void prepare(select_case& at) noexcept {
    at.kind = case_kind::stop;
    at.token = token_.stop_possible() ? std::addressof(token_) : nullptr;
    at.hook_room = hook_room_;
  }
  void fire(op_status) { f_(); }
  stop_case keep() && { return std::move(*this); }

  // Moved while nothing is hooked: before the select.
  stop_case(stop_case&& other) noexcept(std::is_nothrow_move_constructible_v<F>)
      : token_(std::move(other.token_)), f_(std::move(other.f_)) {}
  stop_case& operator=(stop_case&&) = delete;
  ~stop_case() = default;

 private:
  std::stop_token token_;
  F f_;
  alignas(stop_hook) std::byte hook_room_[sizeof(stop_hook)];
};

template <class F>
class otherwise_case : case_base {
 public:
  static_assert(std::is_invocable_v<F&>, "gort::otherwise: f takes no argument");
  explicit otherwise_case(F f) : f_(std::move(f)) {}
  void prepare(select_case& at) noexcept { at.kind = case_kind::otherwise; }
  void fire(op_status) { f_(); }
  otherwise_case keep() && { return std::move(*this); }

 private:
  F f_;
};

template <class Case>
inline constexpr bool is_otherwise = false;
template <class F>
inline constexpr bool is_otherwise<otherwise_case<F>> = true;

template <class Case>
concept selectable = std::is_base_of_v<case_base, Case>;

}  // namespace detail

template <class Chan, class F = detail::no_callback>
requires detail::can_receive<std::remove_cvref_t<Chan>>
[[nodiscard]] auto on_recv(Chan&& ch, F f = {}) {
  return detail::recv_case<detail::kept<Chan&&>, F>(std::forward<Chan>(ch), std::move(f));
}

template <class Chan, class V, class F = detail::no_callback>
requires detail::can_send<std::remove_cvref_t<Chan>>
[[nodiscard]] auto on_send(Chan&& ch, V&& value, F f = {}) {
  return detail::send_case<detail::kept<Chan&&>, F>(std::forward<Chan>(ch), std::forward<V>(value),
                                                    std::move(f));
}

template <class Rep, class Period, class F = detail::no_callback>
[[nodiscard]] auto on_timeout(std::chrono::duration<Rep, Period> d, F f = {}) {
  return detail::timeout_case<F>(detail::saturated_ns(d), std::move(f));
}

template <class F = detail::no_callback>
[[nodiscard]] auto on_stop(std::stop_token token, F f = {}) {
  return detail::stop_case<F>(std::move(token), std::move(f));
}

template <class F = detail::no_callback>
[[nodiscard]] auto otherwise(F f = {}) {
  return detail::otherwise_case<F>(std::move(f));
}

// Waits until one case can go on, lets it, calls its function, and returns its position. Throws closed_channel (a send on
// a channel that is or becomes closed), gort::stopped, and what the function throws.
template <detail::selectable... Cases>
size_t select(Cases&&... cases) {
  static_assert((!detail::is_otherwise<Cases> + ... + 0) + 1 >= sizeof...(Cases),
                "gort::select: at most one case is `otherwise`");
  constexpr size_t n = sizeof...(Cases);
  // One more, since there is no array of none.
  detail::select_case list[n + 1];
  size_t i = 0;
  (cases.prepare(list[i++]), ...);
  const detail::select_end end = detail::select_wait(list, n);
  i = 0;
  (void)((i++ == end.index && (cases.fire(end.status), true)) || ...);
  return end.index;
}

// select() with cases that are known only when the program runs.
//
//     gort::selector s;
//     for (const auto& ch : inputs) s.add(gort::on_recv(ch, handle));
//     while (...) s.select();
//
// Keeps its cases, and handles of their channels, and can be used again and again: a time limit counts from each call of
// select() on; of a value to be sent a copy is sent each time, or, where the type has no copies (sent_once), the value once, and the
// case never goes on afterwards. add() allocates, select() and poll() do not. A function that is called may change
// the selector. Used by one fiber or thread at a time; cannot be copied.
class selector {
 public:
  selector() = default;
  selector(selector&&) noexcept = default;
  selector& operator=(selector&&) noexcept = default;
  selector(const selector&) = delete;
  selector& operator=(const selector&) = delete;
  ~selector() = default;

  // Adds a case and returns its index: 0, 1, 2... Throws std::logic_error for a second `otherwise`, std::bad_alloc.
  template <detail::selectable Case>
  size_t add(Case&& c) {
    if (detail::is_otherwise<Case>) check_otherwise(cases_.size());
    auto kept = keep(std::forward<Case>(c));
    records_.emplace_back();
    try {
      cases_.push_back(std::move(kept));
    } catch (...) {
      records_.pop_back();
      throw;
    }
    return cases_.size() - 1;
  }

  // Puts another case in the place of one. Throws std::out_of_range, and what add() throws.
  template <detail::selectable Case>
  void set(size_t index, Case&& c) {
    if (index >= cases_.size()) throw std::out_of_range("gort::selector: there is no such case");
    if (detail::is_otherwise<Case>) check_otherwise(index);
    cases_[index] = keep(std::forward<Case>(c));
  }

  // How many cases there are.
  [[nodiscard]] size_t size() const noexcept { return cases_.size(); }
  // Takes all cases out.
  void clear() noexcept {
    cases_.clear();
    records_.clear();
  }

  // Waits, as select(cases...) does, and throws what that throws, and what copying a value throws.
  size_t select() {
    prepare();
    return fire(detail::select_wait(records_.data(), records_.size()));
  }

  // Without waiting: nullopt if no case can go on at once, and none is `otherwise`. Time limits do not count.
  std::optional<size_t> poll() {
    prepare();
    const detail::select_end end = detail::select_poll(records_.data(), records_.size());
    if (end.index == records_.size()) return std::nullopt;
    return fire(end);
  }

 private:
  struct any_case {
    any_case() = default;
    any_case(const any_case&) = delete;
    any_case& operator=(const any_case&) = delete;
    virtual ~any_case() = default;
    virtual void prepare(detail::select_case& at) = 0;
    virtual void fire(op_status st) = 0;
    [[nodiscard]] virtual bool is_otherwise() const noexcept = 0;
  };
  template <class Case>
  struct holder final : any_case {
    explicit holder(Case&& c) : kept(std::move(c)) {}
    void prepare(detail::select_case& at) override { kept.prepare(at); }
    void fire(op_status st) override { kept.fire(st); }
    [[nodiscard]] bool is_otherwise() const noexcept override { return detail::is_otherwise<Case>; }
    Case kept;
  };

  template <class Case>
  static std::shared_ptr<any_case> keep(Case&& c) {
    using kept = decltype(std::forward<Case>(c).keep());
    return std::make_shared<holder<kept>>(std::forward<Case>(c).keep());
  }
  void check_otherwise(size_t except) const {
    for (size_t i = 0; i < cases_.size(); ++i) {
      if (i != except && cases_[i]->is_otherwise()) {
        throw std::logic_error("gort::selector: at most one case is `otherwise`");
      }
    }
  }
  void prepare() {
    for (size_t i = 0; i < cases_.size(); ++i) cases_[i]->prepare(records_[i]);
  }
  size_t fire(detail::select_end end) {
    const std::shared_ptr<any_case> winner =
        cases_[end.index];  // its function may put another there
    winner->fire(end.status);
    return end.index;
  }

  std::vector<std::shared_ptr<any_case>> cases_;
  std::vector<detail::select_case> records_;
};

}  // namespace gort
