// Starting fibers: go (fire and forget) and spawn (joinable).
//
// The function and its arguments are moved to the top of the new fiber's own stack, and a task's
// result lives there too, so that starting a recycled fiber allocates nothing.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include "gort/detail/fiber.hpp"
#include "gort/detail/mem.hpp"
#include "gort/errors.hpp"
#include "gort/fiber.hpp"

namespace gort {

template <class T>
class task;

namespace detail {

struct task_access;

// The decayed callable and its arguments, to be called once.
template <class F, class... Args>
struct bound {
  std::tuple<F, Args...> parts;

  // A leading std::stop_token is the fiber's own, if the callable takes one.
  static constexpr bool wants_token = std::is_invocable_v<F, std::stop_token, Args...>;

  template <class... A>
  explicit bound(A&&... a) : parts(std::forward<A>(a)...) {}

  decltype(auto) call(G* g) {
    const function_end end{g};
    return std::apply(
        [g](F& f, Args&... args) -> decltype(auto) {
          if constexpr (wants_token) {
            return std::invoke(std::move(f), fiber_stop_token(g), std::move(args)...);
          } else {
            (void)g;
            return std::invoke(std::move(f), std::move(args)...);
          }
        },
        parts);
  }
};

template <class F, class... Args>
using bound_for = bound<std::decay_t<F>, std::decay_t<Args>...>;

// What bound::call() returns. No such type, rather than an error, if f can not be called so: compilers look
// at it before they look at constraints.
template <class F, class... Args>
using call_result = typename std::conditional_t<
    std::is_invocable_v<std::decay_t<F>, std::stop_token, std::decay_t<Args>...>,
    std::invoke_result<std::decay_t<F>, std::stop_token, std::decay_t<Args>...>,
    std::invoke_result<std::decay_t<F>, std::decay_t<Args>...>>::type;

// Owns a fiber that is not started yet.
class unstarted {
 public:
  explicit unstarted(new_fiber f) noexcept : fiber_(f) {}
  ~unstarted() {
    if (fiber_.g != nullptr) fiber_abandon(fiber_.g);
  }
  unstarted(const unstarted&) = delete;
  unstarted& operator=(const unstarted&) = delete;
  [[nodiscard]] void* payload() const noexcept { return fiber_.payload; }
  [[nodiscard]] G* g() const noexcept { return fiber_.g; }
  G* release() noexcept { return std::exchange(fiber_.g, nullptr); }

 private:
  new_fiber fiber_;
};

// ---- go ----

template <class B>
struct go_payload {
  G* g;
  B bound;

  template <class... A>
  explicit go_payload(G* fiber, A&&... a) : g(fiber), bound(std::forward<A>(a)...) {}

  void run() noexcept {
    try {
      bound.call(g);
    } catch (const stopped&) {
      // Asked to stop, and it did.
    } catch (...) {
      fiber_uncaught(g);
    }
  }
  static void entry(void* p) noexcept {
    auto* self = static_cast<go_payload*>(p);
    self->run();
    self->~go_payload();
  }
};

template <class F, class... Args>
void go_with(const attrs* a, F&& f, Args&&... args) {
  using payload = go_payload<bound_for<F, Args...>>;
  if constexpr (sizeof(payload) <= payload_bytes_max) {
    unstarted u(fiber_create(a, sizeof(payload), alignof(payload)));
    new (u.payload()) payload(u.g(), std::forward<F>(f), std::forward<Args>(args)...);
    fiber_start(u.release(), &payload::entry);
  } else {
    unstarted u(fiber_create(a, sizeof(payload*), alignof(payload*)));
    *static_cast<payload**>(u.payload()) =
        new payload(u.g(), std::forward<F>(f), std::forward<Args>(args)...);
    fiber_start(u.release(), [](void* p) {
      const std::unique_ptr<payload> big(*static_cast<payload**>(p));
      big->run();
    });
  }
}

// ---- spawn ----

struct nothing {};

// What a task's fiber leaves behind. Index 0: ended by gort::stopped (or not ended yet).
template <class T>
using outcome = std::variant<std::monostate, std::conditional_t<std::is_void_v<T>, nothing, T>,
                             std::exception_ptr>;

// References are kept as pointers.
template <class T>
using stored = std::conditional_t<std::is_reference_v<T>, std::add_pointer_t<T>, T>;

template <class T>
struct task_state {
  outcome<stored<T>> result;
  // Of detach() and an end by exception, the later one finds the other's mark and ends the process.
  detail::Atomic<unsigned char> marks{0};
  static constexpr unsigned char detached = 1;
  static constexpr unsigned char threw = 2;
};

template <class T, class B>
struct task_payload : task_state<T> {
  G* g;
  std::optional<B> bound;

  template <class... A>
  explicit task_payload(G* fiber, A&&... a)
      : g(fiber), bound(std::in_place, std::forward<A>(a)...) {}

  static void entry(void* p) noexcept {
    auto* self = static_cast<task_payload*>(p);
    try {
      if constexpr (std::is_void_v<T>) {
        self->bound->call(self->g);
        self->result.template emplace<1>();
      } else if constexpr (std::is_reference_v<T>) {
        auto&& value = self->bound->call(self->g);  // an xvalue has no address
        self->result.template emplace<1>(std::addressof(value));
      } else {
        self->result.template emplace<1>(self->bound->call(self->g));
      }
    } catch (const stopped&) {
      // Index 0.
    } catch (...) {
      self->result.template emplace<2>(std::current_exception());
      // release: of this and detach() the later one reports; detach() reads the result for that.
      // unmodelled: what follows ends the process.
      if (self->marks.fetch_or(self->threw, std::memory_order_release) & self->detached) {
        fiber_uncaught(self->g);
      }
    }
    self->bound.reset();
  }
  static void destroy(void* p) noexcept { static_cast<task_payload*>(p)->~task_payload(); }
};

}  // namespace detail

// A joinable fiber and its result. It must not outlive the runtime, which holds both ("gort:
// fatal"). Move-only. The destructor requests stop and joins, like std::jthread, and drops an
// exception. One fiber or thread uses a task at a time.
template <class T>
class [[nodiscard]] task {
 public:
  task() noexcept = default;  // no fiber
  task(task&& other) noexcept
      : g_(std::exchange(other.g_, nullptr)), state_(std::exchange(other.state_, nullptr)) {}
  task& operator=(task&& other) noexcept {
    if (this != &other) {
      end();
      g_ = std::exchange(other.g_, nullptr);
      state_ = std::exchange(other.state_, nullptr);
    }
    return *this;
  }
  ~task() { end(); }  // asks the fiber to stop and waits for its end

  // True if there is a fiber to join.
  [[nodiscard]] bool joinable() const noexcept { return g_ != nullptr; }
  // True once the fiber has ended. Never waits.
  [[nodiscard]] bool done() const {
    need();
    return detail::fiber_done(g_);
  }
  // The fiber's number.
  [[nodiscard]] uint64_t id() const {
    need();
    return detail::fiber_id(g_);
  }

  // Waits for the end. Never rethrows what the fiber threw; throws gort::stopped if the caller is
  // asked to stop, std::logic_error without a fiber, std::system_error on joining oneself.
  void join() {
    need();
    detail::fiber_join(g_, INT64_MAX);
  }
  // The same up to a limit. False: the fiber has not ended by then, and may be joined again. A limit that has passed only asks.
  template <class Rep, class Period>
  [[nodiscard]] bool join_for(const std::chrono::duration<Rep, Period>& limit) {
    need();
    return detail::fiber_join(g_, detail::steady_ns_after(limit));
  }
  // The same up to a time.
  template <class Clock, class Duration>
  [[nodiscard]] bool join_until(const std::chrono::time_point<Clock, Duration>& when) {
    need();
    return detail::until_reached(
        when, [this](int64_t until_ns) { return detail::fiber_join(g_, until_ns); });
  }

  // Waits for the end; the value, or the exception the fiber ended by. Once. A fiber that ended by
  // gort::stopped: returns for task<void>, throws gort::stopped where there is no value to return.
  T get() {
    join();
    release_on_exit guard{*this};
    auto& result = state_->result;
    if (result.index() == 2) std::rethrow_exception(std::get<2>(std::move(result)));
    if constexpr (!std::is_void_v<T>) {
      if (result.index() == 0) throw stopped();
      if constexpr (std::is_reference_v<T>) {
        return static_cast<T>(*std::get<1>(result));
      } else {
        return std::get<1>(std::move(result));
      }
    }
  }

  // Makes the fiber's cancellable waits throw gort::stopped, once. Any thread; idempotent.
  void request_stop() {
    need();
    detail::fiber_request_stop(g_);
  }

  // Lets the fiber go on by itself. An exception that it ends by is then fatal, as in go().
  void detach() {
    need();
    // acquire: as in task_payload::entry(). unmodelled: as there.
    if (state_->marks.fetch_or(state_->detached, std::memory_order_acquire) & state_->threw) {
      try {
        std::rethrow_exception(std::get<2>(state_->result));
      } catch (...) {
        detail::fiber_uncaught(g_);
      }
    }
    release();
  }

 private:
  friend struct detail::task_access;

  struct release_on_exit {
    task& t;
    ~release_on_exit() { t.release(); }
  };

  task(G* g, detail::task_state<T>* state) noexcept : g_(g), state_(state) {}

  void need() const {
    if (g_ == nullptr) throw std::logic_error("gort::task: no fiber");
  }
  void release() noexcept {
    detail::fiber_release(std::exchange(g_, nullptr));
    state_ = nullptr;
  }
  void end() noexcept {
    if (g_ == nullptr) return;
    if (!detail::fiber_done(g_)) {
      detail::fiber_request_stop(g_);
      detail::fiber_join_always(g_);
    }
    release();
  }

  G* g_ = nullptr;
  detail::task_state<T>* state_ = nullptr;
};

namespace detail {

struct task_access {
  template <class T>
  static task<T> make(G* g, task_state<T>* state) noexcept {
    return task<T>(g, state);
  }
};

template <class F, class... Args>
auto spawn_with(const attrs* a, F&& f, Args&&... args) {
  using result = call_result<F, Args...>;
  using payload = task_payload<result, bound_for<F, Args...>>;
  if constexpr (sizeof(payload) <= payload_bytes_max) {
    unstarted u(fiber_create(a, sizeof(payload), alignof(payload)));
    auto* p = new (u.payload()) payload(u.g(), std::forward<F>(f), std::forward<Args>(args)...);
    G* g = u.release();
    fiber_start_joinable(g, &payload::entry, &payload::destroy);
    return task_access::make<result>(g, p);
  } else {
    unstarted u(fiber_create(a, sizeof(payload*), alignof(payload*)));
    auto* p = new payload(u.g(), std::forward<F>(f), std::forward<Args>(args)...);
    *static_cast<payload**>(u.payload()) = p;
    G* g = u.release();
    fiber_start_joinable(
        g, [](void* q) { payload::entry(*static_cast<payload**>(q)); },
        [](void* q) { delete *static_cast<payload**>(q); });
    return task_access::make<result>(g, p);
  }
}

}  // namespace detail

// Starts f(args...) on a fiber of its own; nobody waits for it. Arguments are copied or moved in
// (use std::ref for references). If f takes a leading std::stop_token, it gets the fiber's. An
// exception that escapes f ends the process with a message. Throws std::system_error (ENOMEM) when
// no stack is to be had, std::logic_error when no runtime is alive; from a thread also once the main
// function has returned. Any thread.
template <class F, class... Args>
requires(!std::is_same_v<std::decay_t<F>, attrs>) void go(F&& f, Args&&... args) {
  detail::go_with(nullptr, std::forward<F>(f), std::forward<Args>(args)...);
}
template <class F, class... Args>
void go(const attrs& a, F&& f, Args&&... args) {
  detail::go_with(&a, std::forward<F>(f), std::forward<Args>(args)...);
}

// The same with a handle to join.
template <class F, class... Args>
requires(!std::is_same_v<std::decay_t<F>, attrs>) [[nodiscard]] auto spawn(F&& f, Args&&... args) {
  return detail::spawn_with(nullptr, std::forward<F>(f), std::forward<Args>(args)...);
}
template <class F, class... Args>
[[nodiscard]] auto spawn(const attrs& a, F&& f, Args&&... args) {
  return detail::spawn_with(&a, std::forward<F>(f), std::forward<Args>(args)...);
}

}  // namespace gort
