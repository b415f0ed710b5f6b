// must compile: the others fail for what they say, not for something else
#include "sched/sched.hpp"
#include "sync/parking_lot.hpp"

int threads(gort::Sched& s) {
  const gort::LockGuard guard(s.lock);
  return s.m_count;
}

void wait(gort::ParkingBucket& bucket, gort::Parked& w) {
  bucket.lock.lock();
  bucket.push_back(w);
  gort::park_queued(bucket, w, gort::kNever);
}
