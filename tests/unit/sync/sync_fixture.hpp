// sync_fixture: test bodies that run as the main fiber of runtimes with 1, 2, 4 and 8 Ps, and looks into
// the parking lot, so that tests wait for a waiter to be there instead of sleeping.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <thread>
#include <utility>

#include "gort/fiber.hpp"
#include "gort/run.hpp"
#include "sync/parking_lot.hpp"

namespace gort::test {

class OnProcs : public testing::TestWithParam<int> {
 protected:
  template <class F>
  auto in_scheduler(F&& body) {
    return gort::run({.procs = GetParam()}, std::forward<F>(body));
  }
};

#define GORT_ON_PROCS(suite)                                               \
  INSTANTIATE_TEST_SUITE_P(Procs, suite, testing::Values(1, 2, 4, 8),      \
                           [](const testing::TestParamInfo<int>& info) {   \
                             return std::to_string(info.param);            \
                           })

// How many wait for the object at this address.
inline size_t waiters(const void* address) {
  ParkingBucket& bucket = parking_lot.bucket_for(address);
  const LockGuard guard(bucket.lock);
  const Parked* w = bucket.top;
  while (w != nullptr && w->address != address) w = w->below;
  size_t n = 0;
  for (; w != nullptr; w = w->next) ++n;
  return n;
}

// Gives way until the condition holds, on fibers and threads alike.
template <class Condition>
void until(Condition&& holds) {
  while (!holds()) {
    gort::yield();
    std::this_thread::yield();
  }
}

inline void until_waiters(const void* address, size_t n) {
  until([&] { return waiters(address) == n; });
}

}  // namespace gort::test
