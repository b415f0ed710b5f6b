// Starting and ending the runtime.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "gort/errors.hpp"
#include "gort/export.hpp"
#include "gort/spawn.hpp"

namespace gort {

// What a runtime is made of. Zero means automatic.
struct options {
  // How many fibers run at once. Automatic: GORT_PROCS, else the smaller of the affinity mask and
  // the cgroup's CPU quota (rounded up), at least 1; in this last case the number follows them while the runtime runs, with
  // a delay of about a second (GORT_DEBUG=updateprocs=0: it does not). At most 1024.
  int procs = 0;
  // Address space of a fiber's stack in bytes, rounded up to a power of two, 16 KiB to 1 GiB. Only
  // touched pages cost memory. Automatic: GORT_STACK, else 256 KiB.
  size_t stack_size = 0;
  // Most OS threads at once, those blocked in blocking() included. Automatic: GORT_MAX_THREADS,
  // else 10,000, or the user's limit (ulimit -u) where that is lower, but never fewer than the Ps need.
  int max_threads = 0;
  // Processor time that a fiber may use in a row while others wait for their turn; then it is interrupted, wherever it
  // is. From 100 us to a day. Slices below 10 ms are kept by perf events or, where the kernel does not allow them, by looks of
  // a watching thread, which costs some processor time (stats().ticks says which). Automatic:
  // GORT_DEBUG=slice=<microseconds>us, else 10 ms. GORT_DEBUG=asyncpreempt=0: fibers are not interrupted, and threads
  // that block keep their P.
  std::chrono::microseconds slice{0};

  // The automatic values made explicit, and with that fixed, from the environment as it is now and the machine. (run() and
  // runtime() look at the environment once in the process.) A malformed GORT_* variable is reported once on stderr and ignored.
  GORT_API static options from_env();
};

namespace detail {

// Starts a runtime, runs main_fn(arg) as the main fiber on the calling thread's M, ends it. Throws
// std::logic_error if one is alive, std::invalid_argument for impossible options,
// std::system_error.
GORT_API void run_runtime(const options& o, void (*main_fn)(void*), void* arg);

template <class T, class B>
struct main_frame {
  B bound;
  outcome<stored<T>> result;

  template <class... A>
  explicit main_frame(A&&... a) : bound(std::forward<A>(a)...) {}

  static void entry(void* p) noexcept {
    auto* self = static_cast<main_frame*>(p);
    try {
      if constexpr (std::is_void_v<T>) {
        self->bound.call(this_g());
        self->result.template emplace<1>();
      } else if constexpr (std::is_reference_v<T>) {
        auto&& value = self->bound.call(this_g());  // an xvalue has no address
        self->result.template emplace<1>(std::addressof(value));
      } else {
        self->result.template emplace<1>(self->bound.call(this_g()));
      }
    } catch (...) {
      self->result.template emplace<2>(std::current_exception());
    }
  }

  T take() {
    if (result.index() == 2) std::rethrow_exception(std::get<2>(std::move(result)));
    if constexpr (std::is_reference_v<T>) {
      return static_cast<T>(*std::get<1>(result));
    } else if constexpr (!std::is_void_v<T>) {
      return std::get<1>(std::move(result));
    }
  }
};

}  // namespace detail

// Starts the runtime, runs f(args...) as the main fiber, and returns its value or rethrows its
// exception. When the main fiber returns, every fiber that is left is asked to stop, and run
// returns when all have ended: no fiber, thread, timer or descriptor outlives it, but for those of
// signals::notify and of a profile. The calling thread serves as one of the OS threads meanwhile. Afterwards run may be called again.
//
// Errors: std::logic_error if a runtime is alive already (also inside a fiber),
// std::invalid_argument for impossible options, std::system_error if the kernel refuses what the
// start needs: a thread, the poller's descriptors, the main fiber's stack. Nothing is left then.
template <class F, class... Args>
auto run(const options& o, F&& f, Args&&... args) -> detail::call_result<F, Args...> {
  using frame = detail::main_frame<detail::call_result<F, Args...>, detail::bound_for<F, Args...>>;
  frame main(std::forward<F>(f), std::forward<Args>(args)...);
  detail::run_runtime(o, &frame::entry, &main);
  return main.take();
}

// The same with automatic options.
template <class F, class... Args>
requires(!std::is_same_v<std::decay_t<F>, options>) auto run(F&& f, Args&&... args)
    -> detail::call_result<F, Args...> {
  return run(options{}, std::forward<F>(f), std::forward<Args>(args)...);
}

// A runtime inside a program that keeps its own threads: alive from construction to destruction.
//
//     gort::runtime rt({.procs = 2});
//     int n = rt.run([] { return compute_with_fibers(); });   // blocks this thread
//     auto t = rt.spawn(server);                              // does not
//
// The destructor asks every fiber to stop and waits for their ends. It must not run on a fiber.
// Errors as of gort::run. Any thread may call spawn and run.
class GORT_API runtime {
 public:
  // Starts it.
  explicit runtime(const options& o = {});
  // Stops all fibers and waits for them.
  ~runtime();
  runtime(const runtime&) = delete;
  runtime& operator=(const runtime&) = delete;

  // Starts a fiber; see gort::spawn.
  template <class... A>
  [[nodiscard]] auto spawn(A&&... a) {
    return gort::spawn(std::forward<A>(a)...);
  }

  // Runs f(args...) on a fiber and waits for it; its value or exception. Does not stop other
  // fibers.
  template <class F, class... Args>
  decltype(auto) run(F&& f, Args&&... args) {
    const main_guard guard;
    return gort::spawn(std::forward<F>(f), std::forward<Args>(args)...).get();
  }

 private:
  // A thread waits in run(): a deadlock concerns it.
  struct GORT_API main_guard {
    main_guard();
    ~main_guard();
  };
};

// Fibers that are alive, the main fiber included. One that was joined just now may be among them for a moment: who joins goes
// on while it leaves its stack.
GORT_API uint64_t num_fibers() noexcept;
// How many fibers the live runtime runs at once; 0 without one. Any thread.
GORT_API int procs() noexcept;
// Sets that number, from 1 to 1024, and returns the one before. From then on it does not follow the machine any more
// (options.procs). It holds at once for fibers that come: if it falls, those that run above it go on for some 0.1 ms, or until
// they are interrupted, at the end of half a slice at most (for as long as they please under GORT_DEBUG=asyncpreempt=0).
// Any thread. Errors: std::invalid_argument for another number, std::logic_error without a live runtime; nothing is
// changed then.
GORT_API int set_procs(int n);
// Processors that this process may use: affinity of the calling thread and cgroup quota, at least 1.
GORT_API int num_cpus() noexcept;
// "major.minor.patch".
GORT_API const char* version() noexcept;

}  // namespace gort
