// Regions in programs in which nobody interrupts a fiber: nothing. Takes the place of src/sched/region.hpp, which the
// worlds of Ms have as it is (tests/model/ms).
#pragma once

#include "sched/current.hpp"

namespace gort {

class Region {
 public:
  Region() noexcept {}
  ~Region() {}
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;
  void leave() noexcept {}
};

inline void enter_region() noexcept {}
inline void leave_region() noexcept {}

}  // namespace gort
