// chan<T>: typed pipes between fibers and threads, after Go's channels.
//
//     gort::chan<int> c;                       // unbuffered: send and receive meet
//     gort::go([c] { for (int i = 0; i < 3; ++i) c.send(i); c.close(); });
//     for (int v : c) use(v);                  // until closed and drained
//
// A chan is a shared handle, cheap to copy; the channel lives as long as a handle does. T is any
// type that is nothrow move-constructible and destructible, move-only included. It is moved under the
// channel's lock: a move constructor that allocates, takes a lock or waits may hang. All operations may
// be called from fibers (they park) and from foreign threads (they block the thread), by many at
// once. Waiters are served first in, first out. A send happens before its receive; close happens
// before a receive that sees it; with capacity k the n-th receive happens before the (n+k)-th send
// completes.
//
// T's move constructor, and the destructor of what was moved from, run under the channel's lock, on
// whichever side comes second: they must not wait, take a lock, allocate, or use this channel.
//
// The waiting operations are cancellable: they throw gort::stopped when the fiber is asked to stop.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

#include "gort/errors.hpp"
#include "gort/export.hpp"
#include "gort/fiber.hpp"

namespace gort {

namespace detail {

// What the compiled core knows of T.
struct element_ops {
  size_t bytes;
  size_t align;
  // Move-constructs *to from *from; nullptr: copy the bytes.
  void (*move)(void* to, void* from) noexcept;
  // Ends *at; nullptr: nothing to do.
  void (*destroy)(void* at) noexcept;
};

template <class T>
inline constexpr element_ops ops_of{
    sizeof(T), alignof(T),
    std::is_trivially_copyable_v<T>
        ? nullptr
        : +[](void* to, void* from) noexcept {
            if constexpr (!std::is_trivially_copyable_v<T>) {
              ::new (to) T(std::move(*static_cast<T*>(from)));
            }
          },
    std::is_trivially_destructible_v<T>
        ? nullptr
        : +[](void* at) noexcept { static_cast<T*>(at)->~T(); }};

class chan_core;

inline constexpr int64_t chan_now = INT64_MIN;      // deadline of try_ operations: do not wait
inline constexpr int64_t chan_forever = INT64_MAX;  // no deadline

GORT_API chan_core* chan_make(size_t capacity, const element_ops& ops);
GORT_API void chan_retain(chan_core* c) noexcept;
GORT_API void chan_release(chan_core* c) noexcept;
// Moves *value in; on any status but ok it is untouched. c may be nullptr (nil). Throws
// gort::stopped.
GORT_API op_status chan_send(chan_core* c, void* value, int64_t deadline_ns);
// Constructs the value at *out on ok only.
GORT_API op_status chan_recv(chan_core* c, void* out, int64_t deadline_ns);
GORT_API void chan_close(chan_core* c);
GORT_API bool chan_closed(const chan_core* c) noexcept;
GORT_API size_t chan_size(const chan_core* c) noexcept;
GORT_API size_t chan_capacity(const chan_core* c) noexcept;

// What others of gort do with handles.
struct chan_access;

// Room for a T that may not be there.
template <class T>
union slot {
  slot() noexcept {}
  ~slot() {}
  T value;
};

}  // namespace detail

// A handle of a channel of T. What all operations have in common stands at the top of chan.hpp.
template <class T>
class chan {
  static_assert(std::is_object_v<T> && std::is_same_v<T, std::remove_cv_t<T>>,
                "gort::chan<T>: T must be an object type, neither const nor volatile; a channel of "
                "references is one of pointers or std::reference_wrapper");
  static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_destructible_v<T>,
                "gort::chan<T>: T must be nothrow movable, so that no value is lost on the way");

 public:
  using value_type = T;  // what it carries

  // A channel of its own. capacity 0: unbuffered. Throws std::bad_alloc.
  explicit chan(size_t capacity = 0) : core_(detail::chan_make(capacity, detail::ops_of<T>)) {}
  // The channel that nobody can use: send and receive block for ever, close throws.
  [[nodiscard]] static chan nil() noexcept { return chan(no_core()); }

  // Another handle of the same channel.
  chan(const chan& other) noexcept : core_(other.core_) { detail::chan_retain(core_); }
  chan(chan&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
  // NOLINTNEXTLINE(bugprone-unhandled-self-assignment): a copy is made first
  chan& operator=(const chan& other) noexcept {
    chan(other).swap(*this);
    return *this;
  }
  chan& operator=(chan&& other) noexcept {
    chan(std::move(other)).swap(*this);
    return *this;
  }
  // The channel goes with its last handle, and with it what it holds. Nobody may be waiting in it then, through a reference
  // to that handle or a select: that ends the process with a message.
  ~chan() { detail::chan_release(core_); }
  // Exchanges the channels of two handles.
  void swap(chan& other) noexcept { std::swap(core_, other.core_); }

  // Waits until v has been received or buffered. Throws closed_channel if the channel is or becomes
  // closed (v is then lost with the call; use send_for to keep it), gort::stopped.
  void send(T v) const {
    if (detail::chan_send(core_, std::addressof(v), detail::chan_forever) != op_status::ok) {
      throw closed_channel();
    }
  }

  // Waits for a value; nullopt once the channel is closed and drained. Throws gort::stopped.
  [[nodiscard]] std::optional<T> recv() const {
    std::optional<T> out;
    (void)recv_into(out, detail::chan_forever);
    return out;
  }

  // Without waiting: ok, full, closed. On any status but ok the argument is unmoved.
  [[nodiscard]] op_status try_send(T&& v) const { return send_ref(v, detail::chan_now); }
  [[nodiscard]] op_status try_send(const T& v) const { return send_copy(v, detail::chan_now); }
  // Waits at most so long: ok, timeout, closed. On any status but ok the argument is unmoved.
  // Throws gort::stopped.
  template <class Rep, class Period>
  [[nodiscard]] op_status send_for(T&& v, std::chrono::duration<Rep, Period> d) const {
    return send_ref(v, detail::steady_ns_after(d));
  }
  template <class Rep, class Period>
  [[nodiscard]] op_status send_for(const T& v, std::chrono::duration<Rep, Period> d) const {
    return send_copy(v, detail::steady_ns_after(d));
  }
  // As send_for, until a point in time.
  [[nodiscard]] op_status send_until(T&& v, std::chrono::steady_clock::time_point t) const {
    return send_ref(v, detail::steady_ns(t));
  }
  [[nodiscard]] op_status send_until(const T& v, std::chrono::steady_clock::time_point t) const {
    return send_copy(v, detail::steady_ns(t));
  }

  // Without waiting: ok, empty, closed (and drained). out is assigned on ok only. If the assignment throws, the value is lost;
  // into a std::optional<T> it is moved by T's constructor, which does not throw.
  [[nodiscard]] op_status try_recv(T& out) const { return recv_into(out, detail::chan_now); }
  [[nodiscard]] op_status try_recv(std::optional<T>& out) const {
    return recv_into(out, detail::chan_now);
  }
  // Waits at most so long: ok, timeout, closed. out is assigned on ok only. Throws gort::stopped.
  template <class Out, class Rep, class Period>
  [[nodiscard]] op_status recv_for(Out& out, std::chrono::duration<Rep, Period> d) const {
    return recv_into(out, detail::steady_ns_after(d));
  }
  // As recv_for, until a point in time.
  template <class Out>
  [[nodiscard]] op_status recv_until(Out& out, std::chrono::steady_clock::time_point t) const {
    return recv_into(out, detail::steady_ns(t));
  }

  // No more sends: waiting and later ones throw closed_channel; receives drain the buffer, then see
  // the end. Throws closed_channel on a channel that is closed already, or nil.
  void close() const { detail::chan_close(core_); }
  // Whether it is closed; values may still be there.
  [[nodiscard]] bool closed() const noexcept { return detail::chan_closed(core_); }
  // Values buffered now; 0 for unbuffered and nil.
  [[nodiscard]] size_t size() const noexcept { return detail::chan_size(core_); }
  // How many values it can hold; 0 for unbuffered and nil.
  [[nodiscard]] size_t capacity() const noexcept { return detail::chan_capacity(core_); }

  // Two handles of one channel.
  friend bool operator==(const chan& a, const chan& b) noexcept { return a.core_ == b.core_; }

  // Receives until closed and drained. The contract of std::input_iterator; keeps a handle of the channel.
  class iterator;
  // Both of these serve the for loop, for (auto& v : c): the value is the loop's, to be moved from at will. So for (T v : c)
  // makes a copy, where T has them. begin() receives the first value.
  [[nodiscard]] iterator begin() const { return iterator(*this); }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

 private:
  friend struct detail::chan_access;

  struct no_core {};  // not nullptr_t, which a literal 0 could mean
  explicit chan(no_core) noexcept : core_(nullptr) {}

  op_status send_ref(T& v, int64_t deadline_ns) const {
    return detail::chan_send(core_, std::addressof(v), deadline_ns);
  }
  [[nodiscard]] op_status send_copy(const T& v, int64_t deadline_ns) const {
    T copy(v);
    return send_ref(copy, deadline_ns);
  }
  template <class Out>
  op_status recv_into(Out& out, int64_t deadline_ns) const {
    detail::slot<T> s;
    const op_status st = detail::chan_recv(core_, std::addressof(s.value), deadline_ns);
    if (st == op_status::ok) {
      struct end_value {
        detail::slot<T>& s;
        ~end_value() { s.value.~T(); }
      } const end{s};
      if constexpr (std::is_same_v<Out, std::optional<T>>) {
        out.emplace(std::move(s.value));
      } else {
        out = std::move(s.value);
      }
    }
    return st;
  }

  detail::chan_core* core_;
};

// What a loop over a channel goes by: holds a handle, and the value that was received last.
template <class T>
class chan<T>::iterator {
 public:
  using iterator_category = std::input_iterator_tag;  // each value comes once
  using value_type = T;                               // of the channel
  using difference_type = std::ptrdiff_t;             // without use
  using pointer = T*;                                 // to the value
  using reference = T&;                               // the same

  // At no channel: only to be assigned to.
  iterator() noexcept = default;
  // Receives the first value.
  explicit iterator(chan c) : chan_(std::move(c)), value_(chan_.recv()) {}
  // The value, which may be moved from.
  T& operator*() const noexcept { return *value_; }
  // The same.
  T* operator->() const noexcept { return std::addressof(*value_); }
  // Receives the next value, as recv().
  iterator& operator++() {
    value_.reset();
    // Not by assignment, which T need not have.
    if (std::optional<T> next = chan_.recv()) value_.emplace(std::move(*next));
    return *this;
  }
  // The same.
  void operator++(int) { ++*this; }
  // True behind the last value.
  friend bool operator==(const iterator& i, std::default_sentinel_t) noexcept {
    return !i.value_.has_value();
  }

 private:
  chan chan_ = nil();
  mutable std::optional<T> value_;
};

namespace detail {
struct chan_access {
  // The channel behind a handle.
  template <class Handle>
  static chan_core* core(const Handle& h) noexcept {
    if constexpr (requires { h.core_; }) {
      return h.core_;
    } else {
      return core(h.chan_);
    }
  }
  // Takes over the reference.
  template <class T>
  static chan<T> adopt(chan_core* core) noexcept {
    chan<T> c = chan<T>::nil();
    c.core_ = core;
    return c;
  }
};
}  // namespace detail

// The end of a channel that sends. Members as in chan.
template <class T>
class sender {
 public:
  using value_type = T;

  // Of the channel c; a chan is taken where a sender is wanted.
  // NOLINTNEXTLINE(google-explicit-constructor): a chan is usable as a sender
  sender(chan<T> c) noexcept : chan_(std::move(c)) {}
  void send(T v) const { chan_.send(std::move(v)); }
  [[nodiscard]] op_status try_send(T&& v) const { return chan_.try_send(std::move(v)); }
  [[nodiscard]] op_status try_send(const T& v) const { return chan_.try_send(v); }
  template <class V, class D>
  [[nodiscard]] op_status send_for(V&& v, D d) const {
    return chan_.send_for(std::forward<V>(v), d);
  }
  template <class V>
  [[nodiscard]] op_status send_until(V&& v, std::chrono::steady_clock::time_point t) const {
    return chan_.send_until(std::forward<V>(v), t);
  }
  void close() const { chan_.close(); }
  [[nodiscard]] bool closed() const noexcept { return chan_.closed(); }
  [[nodiscard]] size_t size() const noexcept { return chan_.size(); }
  [[nodiscard]] size_t capacity() const noexcept { return chan_.capacity(); }

 private:
  friend struct detail::chan_access;

  chan<T> chan_;
};

// The end of a channel that receives. Members as in chan.
template <class T>
class receiver {
 public:
  using value_type = T;

  // Of the channel c; a chan is taken where a receiver is wanted.
  // NOLINTNEXTLINE(google-explicit-constructor): a chan is usable as a receiver
  receiver(chan<T> c) noexcept : chan_(std::move(c)) {}
  [[nodiscard]] std::optional<T> recv() const { return chan_.recv(); }
  template <class Out>
  [[nodiscard]] op_status try_recv(Out& out) const {
    return chan_.try_recv(out);
  }
  template <class Out, class D>
  [[nodiscard]] op_status recv_for(Out& out, D d) const {
    return chan_.recv_for(out, d);
  }
  template <class Out>
  [[nodiscard]] op_status recv_until(Out& out, std::chrono::steady_clock::time_point t) const {
    return chan_.recv_until(out, t);
  }
  [[nodiscard]] bool closed() const noexcept { return chan_.closed(); }
  [[nodiscard]] size_t size() const noexcept { return chan_.size(); }
  [[nodiscard]] size_t capacity() const noexcept { return chan_.capacity(); }
  [[nodiscard]] auto begin() const { return chan_.begin(); }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

 private:
  friend struct detail::chan_access;

  chan<T> chan_;
};

}  // namespace gort
