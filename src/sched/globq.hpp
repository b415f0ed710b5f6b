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

// The queue of fibers that belong to no P. Protected by Sched::lock; `approx_size` may be read
// without.
class GlobalQueue {
 public:
  void push(G* g) noexcept {
    list_.push_back(g);
    publish();
  }
  [[nodiscard]] G* pop() noexcept {
    G* g = list_.pop_front();
    publish();
    return g;
  }
  // The first that is bound to an M (PR1 in preempt.hpp), or nullptr.
  [[nodiscard]] G* take_bound() noexcept {
    G* g = list_.take_first([](const G& each) { return each.bound_to != nullptr; });
    publish();
    return g;
  }
  // relaxed: a hint; whoever acts on it looks again under the lock, and the sleep protocol
  // (idle.cpp) looks under the lock before an M sleeps.
  [[nodiscard]] uint32_t approx_size() const noexcept {
    return size_.load(std::memory_order_relaxed);
  }

 private:
  // relaxed: under the lock; who pushes fences before it looks for an idle M (I1 in idle.cpp).
  void publish() noexcept { size_.store(list_.size(), std::memory_order_relaxed); }

  GList list_;
  Atomic<uint32_t> size_{0};
};

}  // namespace gort
