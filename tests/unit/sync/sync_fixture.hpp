// sync_fixture: looks at fibers and into the parking lot, so that tests wait for a waiter to be there instead of
// sleeping.
#pragma once

#include <atomic>
#include <cstddef>

#include "sched/current.hpp"
#include "support/scheduler_test.hpp"
#include "sync/parking_lot.hpp"

namespace gort::test {

// A fiber that is about to wait, and to do nothing before, so that others can see when it does.
class Waiter {
 public:
  void about_to_wait() { g_ = current_fiber(); }
  void until_it_waits() const {
    until([this] {
      const G* g = g_.load();
      return g != nullptr && g->get_state() == GState::waiting;
    });
  }

 private:
  std::atomic<const G*> g_{nullptr};
};

// How many wait for the object at this address.
inline size_t waiters(const void* address) {
  ParkingBucket& bucket = parking_lot.bucket_for(address);
  const Region in;
  const LockGuard guard(bucket.lock);
  size_t n = 0;
  for (const Parked* w = bucket.front(address); w != nullptr; w = w->next) ++n;
  return n;
}

inline void until_waiters(const void* address, size_t n) {
  until([&] { return waiters(address) == n; });
}

}  // namespace gort::test
