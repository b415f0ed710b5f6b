// must not compile: releasing mutex 'bucket.lock' that was not held
#include "sync/parking_lot.hpp"

void wait(gort::ParkingBucket& bucket, gort::Parked& w) {
  bucket.lock.lock();
  bucket.push_back(w);
  gort::park_queued(bucket, w, gort::kNever);
  bucket.lock.unlock();
}
