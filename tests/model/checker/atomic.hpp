// What programs under the checker use in place of std::atomic, and of plain shared data.
//
// Outside a run (static initialization, the test around it) an atomic is a plain value. Static ones
// start every run with the value that they were initialized with.
#pragma once

#include <atomic>
#include <cstring>
#include <type_traits>

#include "checker/checker.hpp"

namespace model {

template <class T>
class atomic {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(uint64_t));

 public:
  using value_type = T;
  constexpr atomic() noexcept : initial_() {}
  // NOLINTNEXTLINE(google-explicit-constructor): as std::atomic has it
  constexpr atomic(T initial) noexcept : initial_(initial) {}
  atomic(const atomic&) = delete;
  atomic& operator=(const atomic&) = delete;
  ~atomic() {
    if (known()) end_location(location_);
    *const_cast<volatile bool*>(&ended_) =
        true;  // kept by the compiler, for those who come too late
  }

  T load(std::memory_order order, Where where = Where::current()) const noexcept {
    if (!running()) return initial_;
    order = order_at(where, Op::load, order);
    const Step step = step_of(Op::load, false, order);
    before(step);
    const uint64_t v = memory().load(this_thread(), location_, order);
    after(step, v, order);
    return unpack(v);
  }
  void store(T v, std::memory_order order, Where where = Where::current()) noexcept {
    if (!running()) {
      initial_ = v;
      return;
    }
    order = order_at(where, Op::store, order);
    const Step step = step_of(Op::store, true, order);
    before(step);
    memory().store(this_thread(), location_, pack(v), order);
    after(step, pack(v), order);
  }
  T exchange(T v, std::memory_order order, Where where = Where::current()) noexcept {
    return modify([v](T) { return v; }, order, where);
  }
  bool compare_exchange_strong(T& expected, T desired, std::memory_order success,
                               std::memory_order failure, Where where = Where::current()) noexcept {
    if (!running()) {
      if (std::memcmp(&initial_, &expected, sizeof(T)) == 0) {
        initial_ = desired;
        return true;
      }
      expected = initial_;
      return false;
    }
    success = order_at(where, Op::modify, success);
    failure = order_at(where, Op::load, failure);
    const Step step = step_of(Op::modify, true, success);
    before(step);
    uint64_t e = pack(expected);
    const bool done =
        memory().compare_exchange(this_thread(), location_, e, pack(desired), success, failure);
    after(step, done ? pack(desired) : e, done ? success : failure);
    if (!done) expected = unpack(e);
    return done;
  }
  bool compare_exchange_strong(T& expected, T desired, std::memory_order order,
                               Where where = Where::current()) noexcept {
    return compare_exchange_strong(expected, desired, order, failure_of(order), where);
  }
  // Does not fail for no reason here: that is one more turn of the loop around it.
  bool compare_exchange_weak(T& expected, T desired, std::memory_order success,
                             std::memory_order failure, Where where = Where::current()) noexcept {
    return compare_exchange_strong(expected, desired, success, failure, where);
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order order,
                             Where where = Where::current()) noexcept {
    return compare_exchange_strong(expected, desired, order, failure_of(order), where);
  }
  T fetch_add(T n, std::memory_order order, Where where = Where::current()) noexcept {
    return modify([n](T v) { return static_cast<T>(v + n); }, order, where);
  }
  T fetch_sub(T n, std::memory_order order, Where where = Where::current()) noexcept {
    return modify([n](T v) { return static_cast<T>(v - n); }, order, where);
  }
  T fetch_or(T n, std::memory_order order, Where where = Where::current()) noexcept {
    return modify([n](T v) { return static_cast<T>(v | n); }, order, where);
  }
  T fetch_and(T n, std::memory_order order, Where where = Where::current()) noexcept {
    return modify([n](T v) { return static_cast<T>(v & n); }, order, where);
  }

  // For the futex. Waking by the address of what has ended is allowed: no one is woken, or somebody early.
  [[nodiscard]] LocationId location() const { return find(); }
  [[nodiscard]] LocationId location_for_wake() const { return known() ? location_ : find(); }

 private:
  static uint64_t pack(T v) noexcept {
    uint64_t bits = 0;
    std::memcpy(&bits, &v, sizeof(T));
    return bits;
  }
  static T unpack(uint64_t bits) noexcept {
    T v;
    std::memcpy(&v, &bits, sizeof(T));
    return v;
  }
  static std::memory_order failure_of(std::memory_order o) {
    return o == std::memory_order_acq_rel   ? std::memory_order_acquire
           : o == std::memory_order_release ? std::memory_order_relaxed
                                            : o;
  }
  [[nodiscard]] bool known() const { return running() && run_ == run_number(); }
  LocationId find() const {
    if (*const_cast<const volatile bool*>(&ended_)) fail("an atomic is used after its end");
    if (!known()) {
      run_ = run_number();
      location_ = make_location(pack(initial_));
    }
    return location_;
  }
  Step step_of(Op op, bool writes, std::memory_order order) const {
    Step s;
    s.op = op;
    s.location = find();
    s.has_location = true;
    s.writes = writes;
    s.seq_cst = order == std::memory_order_seq_cst;
    return s;
  }
  template <class F>
  T modify(F&& change, std::memory_order order, Where where) noexcept {
    if (!running()) {
      const T old = initial_;
      initial_ = change(old);
      return old;
    }
    order = order_at(where, Op::modify, order);
    const Step step = step_of(Op::modify, true, order);
    before(step);
    uint64_t made = 0;
    const uint64_t old = memory().modify(
        this_thread(), location_, [&](uint64_t bits) { return made = pack(change(unpack(bits))); },
        order);
    after(step, made, order);
    return unpack(old);
  }

  T initial_;
  mutable uint64_t run_ = 0;
  mutable LocationId location_ = 0;
  bool ended_ = false;
};

inline void thread_fence(std::memory_order order, Where where = Where::current()) noexcept {
  if (!running()) return;
  order = order_at(where, Op::fence, order);
  if (order == std::memory_order_relaxed) return;
  Step s;
  s.op = Op::fence;
  s.seq_cst = order == std::memory_order_seq_cst;
  before(s);
  memory().fence(this_thread(), order);
  after(s, 0, order);
}

// Plain data that threads share: two accesses that are not ordered, one of them a write, are a race.
template <class T>
class var {
 public:
  constexpr var() noexcept : value_() {
    if (!std::is_constant_evaluated()) begin();
  }
  // NOLINTNEXTLINE(google-explicit-constructor): as plain data has it
  constexpr var(T v) noexcept : value_(v) {
    if (!std::is_constant_evaluated()) begin();
  }
  var(const var&) = delete;
  var& operator=(const var& other) noexcept {
    *this = static_cast<T>(other);
    return *this;
  }
  ~var() {
    if (running()) will_write("a race: the end of what another thread uses");
  }

  // NOLINTNEXTLINE(google-explicit-constructor): as plain data has it
  operator T() const noexcept {
    if (running()) {
      forget_other_runs();
      if (!knows(written_by_, written_at_)) fail("a race: read of what another thread writes");
      read_at_[this_thread()] = now();
    }
    return value_;
  }
  T operator->() const noexcept { return *this; }
  // For await(): what is there, whoever knows of it.
  [[nodiscard]] const T& raw() const noexcept { return value_; }
  // NOLINTNEXTLINE(misc-unconventional-assign-operator): as plain data has it
  T operator=(T v) noexcept {
    if (running()) will_write("a race: write of what another thread uses");
    return value_ = v;
  }
  T operator++() noexcept { return *this = static_cast<T>(static_cast<T>(*this) + 1); }
  T operator--() noexcept { return *this = static_cast<T>(static_cast<T>(*this) - 1); }

 private:
  // Who sees it must have it from somebody who knows that it was made.
  void begin() {
    if (!running()) return;
    run_ = run_number();
    written_by_ = this_thread();
    written_at_ = now();
  }
  static uint32_t now() { return memory().clock(this_thread()).of(this_thread()); }
  static bool knows(ThreadId t, uint32_t step) {
    return memory().clock(this_thread()).of(t) >= step;
  }
  void will_write(const char* or_else) {
    forget_other_runs();
    if (!knows(written_by_, written_at_)) fail(or_else);
    for (ThreadId t = 0; t < kMaxThreads; ++t) {
      if (!knows(t, read_at_[t])) fail(or_else);
    }
    // volatile: kept by the compiler also at the end, for those who come too late.
    *const_cast<volatile ThreadId*>(&written_by_) = this_thread();
    *const_cast<volatile uint32_t*>(&written_at_) = now();
  }
  void forget_other_runs() const {
    if (run_ == run_number()) return;
    run_ = run_number();
    written_at_ = 0;
    read_at_ = {};
  }

  T value_;
  mutable uint64_t run_ = 0;
  mutable ThreadId written_by_ = 0;
  mutable uint32_t written_at_ = 0;
  mutable std::array<uint32_t, kMaxThreads> read_at_{};
};

}  // namespace model
