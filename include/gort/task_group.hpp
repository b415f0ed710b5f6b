// task_group: fibers that belong together, and end in one place. After Go's errgroup, as a structured scope.
//
//     gort::task_group g;
//     for (auto& url : urls) g.spawn([&] { fetch(url); });
//     g.join();                                // all have ended; the first failure is thrown here
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>

#include "gort/condition_variable.hpp"
#include "gort/detail/fiber.hpp"
#include "gort/detail/stop_hook.hpp"
#include "gort/errors.hpp"
#include "gort/export.hpp"
#include "gort/fiber.hpp"
#include "gort/mutex.hpp"
#include "gort/spawn.hpp"

namespace gort {

// A failure is an exception that leaves a task, but not gort::stopped of a task that was asked to stop. The first one asks all others
// to stop; later ones are dropped. Tasks may spawn into their own group. Fibers and ordinary threads may spawn and ask to stop, by many
// at once; one of them joins.
class GORT_API task_group {
 public:
  // Without tasks. Throws std::bad_alloc.
  task_group() : unwinding_(std::uncaught_exceptions()) {}
  // Waits for all tasks, whatever happens; while an exception passes by it asks them to stop first. A failure that nobody
  // has joined is dropped. Where no memory is left, a request to stop who waits here is not handed on. Not in a task of the group
  // ("gort: fatal").
  ~task_group();
  task_group(const task_group&) = delete;
  task_group& operator=(const task_group&) = delete;

  // Starts f(args...) on a fiber, as gort::spawn does; what it returns is dropped. If f takes a leading std::stop_token, it gets the
  // task's. In a group that was asked to stop, the task begins with the request. Throws as gort::spawn.
  template <class F, class... Args>
  requires(!std::is_same_v<std::decay_t<F>, attrs>) void spawn(F&& f, Args&&... args) {
    start(attrs{}, std::forward<F>(f), std::forward<Args>(args)...);
  }
  template <class F, class... Args>
  void spawn(const attrs& a, F&& f, Args&&... args) {
    start(a, std::forward<F>(f), std::forward<Args>(args)...);
  }

  // Waits until no task is left, then throws the first failure since the last join(). A request to stop the caller is handed on to the
  // tasks; if it had to wait, and none has failed, join() then throws gort::stopped, as every cancellable wait. What the tasks have
  // done happens before its return. Throws std::system_error (resource_deadlock_would_occur) in a task of the group, and in a fiber
  // std::bad_alloc, before it waits.
  void join() { (void)join_until_ns(INT64_MAX); }
  // The same up to a limit. False: some are left by then, whatever has failed, and may be joined again. A limit that has passed only asks.
  template <class Rep, class Period>
  [[nodiscard]] bool join_for(const std::chrono::duration<Rep, Period>& limit) {
    return join_until_ns(detail::steady_ns_after(limit));
  }
  // The same up to a time.
  template <class Clock, class Duration>
  [[nodiscard]] bool join_until(const std::chrono::time_point<Clock, Duration>& when) {
    return detail::until_reached(when,
                                 [this](int64_t until_ns) { return join_until_ns(until_ns); });
  }

  // Asks every task to stop, those of now and those to come. Never waits.
  void request_stop() noexcept { stop_.request_stop(); }
  // Requested once the group is asked to stop, by anyone.
  [[nodiscard]] std::stop_token stop_token() const noexcept { return stop_.get_token(); }

 private:
  // One task, on its fiber: asks it to stop when the group is, and counts it out.
  class GORT_API member {
   public:
    explicit member(task_group* group);
    ~member();
    member(const member&) = delete;
    member& operator=(const member&) = delete;
    // In a handler of the exception that has left the task.
    void failed(const stopped* stop) noexcept;

   private:
    static void ask(void* g) noexcept { detail::fiber_request_stop(static_cast<G*>(g)); }
    friend task_group;
    task_group* group_;
    G* g_;
    member* next_ = nullptr;   // under the group's lock
    member** link_ = nullptr;  // what points to it
    std::optional<detail::stop_hook> asked_;
  };

  template <class B>
  struct body {
    task_group* group;
    std::optional<B> call;

    void operator()() {
      member me(group);
      try {
        B mine = *std::exchange(call, std::nullopt);
        (void)mine.call(detail::this_g());
      } catch (const stopped& s) {
        me.failed(&s);
      } catch (...) {
        me.failed(nullptr);
      }
    }
  };

  template <class F, class... Args>
  void start(const attrs& a, F&& f, Args&&... args) {
    using bound = detail::bound_for<F, Args...>;
    enter();
    try {
      gort::go(a, body<bound>{this, std::optional<bound>(std::in_place, std::forward<F>(f),
                                                         std::forward<Args>(args)...)});
    } catch (...) {
      leave();
      throw;
    }
  }

  void enter();
  void leave() noexcept;
  [[nodiscard]] bool runs_here();
  bool join_until_ns(int64_t until_ns);
  struct ended {
    bool all;
    bool waited;  // whether it had to wait
  };
  ended wait_until_ns(int64_t until_ns);
  bool none_left_until_ns(int64_t until_ns);

  const int unwinding_;
  std::stop_source stop_;
  mutex lock_;
  condition_variable none_left_;
  size_t left_ = 0;          // under lock_, as what follows
  member* first_ = nullptr;  // of those that run
  std::exception_ptr failure_;
};

}  // namespace gort
