// Random: numbers for choices that need no secret.
#pragma once

#include <cstdint>

namespace gort {

// splitmix64; good enough to pick victims and cases, one multiplication per number.
class Random {
 public:
  void seed(uint64_t s) noexcept { state_ = s; }
  uint64_t next() noexcept {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }

 private:
  uint64_t state_ = 0;
};

}  // namespace gort
