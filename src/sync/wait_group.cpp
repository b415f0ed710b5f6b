// wait_group: what it says to those who miscount. The rest is countdown.cpp.
#include "gort/wait_group.hpp"

#include <stdexcept>

namespace gort {

void wait_group::throw_no_such_count(std::ptrdiff_t added) {
  if (added < 0) throw std::logic_error("gort::wait_group: the count would fall below zero");
  throw std::logic_error("gort::wait_group: the count is too large");
}

}  // namespace gort
