// must not compile: calling function 'pop' requires holding park lock 'bucket.lock'
#include "sync/parking_lot.hpp"

gort::Parked* first(gort::ParkingBucket& bucket, const void* address) {
  return bucket.pop(address);
}
