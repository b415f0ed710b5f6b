// GList and GlobalQueue: intrusive queues of fibers linked through G::link.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/mem.hpp"
#include "sched/g.hpp"

namespace gort {

// A singly linked FIFO. Whoever holds the list owns it.
class GList {
 public:
  void push_back(G* g) noexcept {
    g->link = nullptr;
    if (tail_ != nullptr) {
      tail_->link = g;
    } else {
      head_ = g;
    }
    tail_ = g;
    ++size_;
  }
  [[nodiscard]] G* pop_front() noexcept {
    G* g = head_;
    if (g == nullptr) return nullptr;
    head_ = g->link;
    if (head_ == nullptr) tail_ = nullptr;
    --size_;
    g->link = nullptr;
    return g;
  }
  // nullptr: there is none.
  [[nodiscard]] G* front() const noexcept { return head_; }
  // The first for which it is true, or nullptr.
  template <class Condition>
  [[nodiscard]] G* take_first(Condition is) noexcept {
    G* before = nullptr;
    for (G* g = head_; g != nullptr; before = g, g = g->link) {
      if (!is(*g)) continue;
      (before != nullptr ? before->link : head_) = g->link;
      if (tail_ == g) tail_ = before;
      --size_;
      g->link = nullptr;
      return g;
    }
    return nullptr;
  }
  [[nodiscard]] bool empty() const noexcept { return head_ == nullptr; }
  [[nodiscard]] uint32_t size() const noexcept { return size_; }

 private:
  G* head_ = nullptr;
  G* tail_ = nullptr;
  uint32_t size_ = 0;
};

// The queue of fibers that belong to no P, in two lines: those whose time has come go first (F7 in find.cpp). Protected by
// Sched::lock; `approx_size` and `approx_timely` may be read without.
class GlobalQueue {
 public:
  // So many in a row go before one that waits in the other line.
  static constexpr uint32_t kTimelyMax = 8;

  void push(G* g) noexcept {
    list_.push_back(g);
    publish();
  }
  void push_timely(G* g) noexcept {
    timely_.push_back(g);
    publish();
  }
  [[nodiscard]] G* pop() noexcept {
    G* g = nullptr;
    if (list_.empty() || timely_streak_ < kTimelyMax) g = timely_.pop_front();
    timely_streak_ = g != nullptr && !list_.empty() ? timely_streak_ + 1 : 0;
    if (g == nullptr) g = list_.pop_front();
    took(g);
    return g;
  }
  // The one that pop() would return, if that is bound to an M.
  [[nodiscard]] G* pop_if_bound() noexcept {
    const bool timely = !timely_.empty() && (list_.empty() || timely_streak_ < kTimelyMax);
    const G* const g = timely ? timely_.front() : list_.front();
    return g != nullptr && is_bound(*g) ? pop() : nullptr;
  }
  // The first that is bound to an M (PR1 in preempt.hpp), or nullptr.
  [[nodiscard]] G* take_bound() noexcept {
    G* g = timely_.take_first(is_bound);
    if (g == nullptr) g = list_.take_first(is_bound);
    took(g);
    return g;
  }
  // The first of those whose time has come, if that one is bound to an M.
  [[nodiscard]] G* take_timely_bound() noexcept {
    if (timely_.empty() || !is_bound(*timely_.front())) return nullptr;
    G* g = timely_.pop_front();
    took(g);
    return g;
  }
  // How many have been taken out so far: where it stands, nobody comes by.
  [[nodiscard]] uint64_t taken() const noexcept { return taken_; }
  // relaxed: a hint; whoever acts on it looks again under the lock, and the sleep protocol
  // (idle.cpp) looks under the lock before an M sleeps.
  [[nodiscard]] uint32_t approx_size() const noexcept {
    return size_.load(std::memory_order_relaxed);
  }
  // relaxed: a hint; where one was missed the ladder comes a turn later (F7).
  [[nodiscard]] uint32_t approx_timely() const noexcept {
    return timely_size_.load(std::memory_order_relaxed);
  }

 private:
  static bool is_bound(const G& g) noexcept { return g.bound_to != nullptr; }

  void took(const G* g) noexcept {
    if (g != nullptr) ++taken_;
    publish();
  }
  void publish() noexcept {
    // relaxed: under the lock; who pushes fences before it looks for an idle M (I1 in idle.cpp).
    size_.store(list_.size() + timely_.size(), std::memory_order_relaxed);
    timely_size_.store(timely_.size(), std::memory_order_relaxed);  // relaxed: a hint
  }

  GList list_;
  GList timely_;
  uint64_t taken_ = 0;
  uint32_t timely_streak_ = 0;  // how many of those in a row went before one of the others
  Atomic<uint32_t> size_{0};
  Atomic<uint32_t> timely_size_{0};
};

}  // namespace gort
