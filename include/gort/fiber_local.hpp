// fiber_local<T>: one T per fiber.
//
//     gort::fiber_local<std::string> who;          // static, mostly
//     *who = "ada";                                // this fiber's own
//
// What thread_local is to threads. A fiber that runs now here and now there shares a thread's thread_local variables with others.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

#include "gort/export.hpp"

namespace gort {

namespace detail {

// One value of a fiber, in src/sched/locals.cpp.
struct local_node {
  local_node* before = nullptr;  // made before it, by the same fiber
  uint64_t id = 0;
  void (*destroy)(local_node*) noexcept = nullptr;
};

// A fiber's values by their ids: open addressing, a power of two of places.
struct local_table {
  struct place {
    uint64_t id;  // 0: empty
    local_node* node;
  };
  uint64_t mask;
  place* places;
  uint64_t used;  // places that are not empty
  local_node* last;
};

// The table of the fiber, or of the thread, that runs here; nullptr: it has made no values.
[[nodiscard]] GORT_API local_table* locals_here() noexcept;
[[nodiscard]] GORT_API local_node* local_find(uint64_t id) noexcept;
// Throws std::bad_alloc; the node is the caller's then.
GORT_API void local_add(local_node* node);
// Ends the value of this fiber, if there is one.
GORT_API void local_end(uint64_t id) noexcept;
// Ends all of this fiber's.
GORT_API void end_locals() noexcept;
[[nodiscard]] GORT_API uint64_t new_local_id() noexcept;

}  // namespace detail

// Each fiber gets a T of its own, made when it first asks for it and destroyed at the fiber's end: on the fiber, behind its function,
// before a join() returns, and before the end of the main fiber asks the others to stop. Those of one fiber are destroyed in the opposite order of their making; a destructor that asks
// for a value that is gone makes another one, which is destroyed, too. On an ordinary thread it is the thread's own, and ends with it.
//
// Access takes a few nanoseconds and no lock. Any number of fibers may use one fiber_local. Its own end destroys the T of the fiber that
// ends it; those of others stay, out of reach, until their fibers end: so it outlives their use of it.
template <class T>
class fiber_local {
 public:
  // Values are made by T().
  fiber_local() requires(std::is_default_constructible_v<T>) = default;
  // Values are what make() returns, on the fiber that asks. It may be called by many at once.
  template <class F>
  requires(std::is_invocable_r_v<T, const F&>) explicit fiber_local(F make)
      : make_(std::move(make)) {}
  ~fiber_local() { detail::local_end(id_); }
  fiber_local(const fiber_local&) = delete;
  fiber_local& operator=(const fiber_local&) = delete;

  // This fiber's T. Throws what making it throws, std::bad_alloc.
  [[nodiscard]] T& get() const {
    if (const detail::local_table* t = detail::locals_here(); t != nullptr) {
      const detail::local_table::place& p = t->places[id_ & t->mask];
      if (p.id == id_) return static_cast<node*>(p.node)->value;
    }
    return find_or_make();
  }
  // Both of these are get().
  [[nodiscard]] T& operator*() const { return get(); }
  [[nodiscard]] T* operator->() const { return std::addressof(get()); }

 private:
  struct node : detail::local_node {
    T value;
    node() : value() {}
    explicit node(const std::function<T()>& make) : value(make()) {}
  };

  [[gnu::noinline]] T& find_or_make() const {
    if (detail::local_node* found = detail::local_find(id_); found != nullptr) {
      return static_cast<node*>(found)->value;
    }
    std::unique_ptr<node> made = make_node();
    made->id = id_;
    made->destroy = [](detail::local_node* n) noexcept { delete static_cast<node*>(n); };
    detail::local_add(made.get());
    return made.release()->value;
  }
  [[nodiscard]] std::unique_ptr<node> make_node() const {
    if constexpr (std::is_default_constructible_v<T>) {
      if (!make_) return std::make_unique<node>();
    }
    return std::unique_ptr<node>(new node(make_));
  }

  const uint64_t id_ = detail::new_local_id();
  const std::function<T()> make_;
};

}  // namespace gort
