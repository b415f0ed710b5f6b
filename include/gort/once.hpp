// once_flag, call_once: the standard's for fibers.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <utility>

#include "gort/detail/mem.hpp"
#include "gort/export.hpp"

namespace gort {

class once_flag;

namespace detail {
template <class F, class... Args>
bool call_once_here(once_flag& flag, F&& f, Args&&... args);
}  // namespace detail

// The contract of std::once_flag, four bytes. May be destroyed as soon as one call_once() on it has returned that found
// or made it done.
class GORT_API once_flag {
 public:
  constexpr once_flag() noexcept = default;
  once_flag(const once_flag&) = delete;
  once_flag& operator=(const once_flag&) = delete;

 private:
  template <class F, class... Args>
  friend bool detail::call_once_here(once_flag& flag, F&& f, Args&&... args);

  // What they promise is in src/sync/once.cpp.
  static constexpr uint32_t idle = 0;
  static constexpr uint32_t running = 1;
  static constexpr uint32_t done = 2;
  static constexpr uint32_t parked = 4;

  [[nodiscard]] bool is_done() const noexcept {
    // acquire: pairs with finish(); learns what the call did.
    return word_.load(std::memory_order_acquire) == done;
  }
  // True: the caller is to make the call, and to say how it ended. False: it has been made.
  [[nodiscard]] bool begin() noexcept;
  void finish() noexcept;
  void give_up() noexcept;

  // Says that the call has failed, unless it was told otherwise.
  class attempt {
   public:
    explicit attempt(once_flag& flag) noexcept : flag_(&flag) {}
    ~attempt() {
      if (flag_ != nullptr) flag_->give_up();
    }
    attempt(const attempt&) = delete;
    attempt& operator=(const attempt&) = delete;
    void succeeded() noexcept { std::exchange(flag_, nullptr)->finish(); }

   private:
    once_flag* flag_;
  };

  detail::Atomic<uint32_t> word_{idle};  // ON1
};

namespace detail {
// True: f was called now, by us.
template <class F, class... Args>
bool call_once_here(once_flag& flag, F&& f, Args&&... args) {
  if (flag.is_done() || !flag.begin()) return false;
  once_flag::attempt call(flag);
  std::invoke(std::forward<F>(f), std::forward<Args>(args)...);
  call.succeeded();
  return true;
}
}  // namespace detail

// The contract of std::call_once: calls f(args...) unless a call on this flag has returned already. Who comes meanwhile
// waits for its end. If it throws, so does this call_once, and the next one who waits makes a call of his own.
// Fibers and ordinary threads may meet here; f may wait. Not cancellable; a call that ends by gort::stopped has
// thrown. f must not call call_once on the same flag: it would wait for itself.
template <class F, class... Args>
void call_once(once_flag& flag, F&& f, Args&&... args) {
  detail::call_once_here(flag, std::forward<F>(f), std::forward<Args>(args)...);
}

}  // namespace gort
