// latch: what it says to those who miscount. The rest is countdown.cpp.
#include "gort/latch.hpp"

namespace gort {

void latch::throw_no_such_count() {
  throw std::logic_error("gort::latch: the count would fall below zero, or rise");
}

}  // namespace gort
