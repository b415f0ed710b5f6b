// sync_fixture: looks into the parking lot, so that tests wait for a waiter to be there instead of
// sleeping.
#pragma once

#include <cstddef>

#include "support/scheduler_test.hpp"
#include "sync/parking_lot.hpp"

namespace gort::test {

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
