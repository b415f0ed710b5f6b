// What the models of mutex, condition_variable, wait_group and channels share.
#pragma once

#include <cstddef>
#include <functional>
#include <new>

#include "checker/checker.hpp"
#include "sched/sched.hpp"
#include "support.hpp"
#include "sync/parking_lot.hpp"

namespace gort {

// The parking lot outlives runs: whatever one that failed has left in it is forgotten. At the start of an object.
inline void start_without_waiters(const void* object) {
  parking_lot.bucket_for(object).top = nullptr;
}

// An object that its program ends itself, while others may still be about to touch it.
template <class T>
class Ended {
 public:
  Ended() : object_(new (memory_) T) { start_without_waiters(object_); }
  Ended(const Ended&) = delete;
  Ended& operator=(const Ended&) = delete;
  T& operator*() const { return *object_; }
  T* operator->() const { return object_; }
  T* get() const { return object_; }
  void end() { object_->~T(); }

 private:
  alignas(T) std::byte memory_[sizeof(T)];
  T* object_;
};

// How many are queued there, seen from outside of the program.
inline int waiters_of(const void* object) {
  const Parked* w = parking_lot.bucket_for(object).top.raw();
  while (w != nullptr && w->address.raw() != object) {
    w = object < w->address.raw() ? w->left.raw() : w->right.raw();
  }
  int n = 0;
  for (; w != nullptr; w = w->next.raw()) ++n;
  return n;
}
// Returns once there are n.
inline void wait_for_waiters(int n, const void* object) {
  model::await([=] { return waiters_of(object) == n; });
}

// Nothing is left behind: nobody in the queue, no foreign thread that counts as asleep (D3 in deadlock.cpp). For the end
// of a program.
inline void check_all_over(const void* object) {
  model::check(waiters_of(object) == 0, "nobody is queued any more");
  model::check(ForeignParked::asleep(foreign_parked.now()) == 0,
               "who was woken does not count as asleep");
}

// What is too big for all its runs, or for more preemptions, goes further at random.
inline void expect_right_at_random(uint64_t runs, const std::function<void()>& program) {
  if (test::kSanitizers) runs = runs / 10 + 1;
  const model::Result r = model::explore({.random_runs = runs, .seed = 1}, program);
  EXPECT_FALSE(r.failed) << r;
}

}  // namespace gort
