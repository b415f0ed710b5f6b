// future: what promises and futures throw. The rest is their header, once.cpp and countdown.cpp.
#include "gort/future.hpp"

#include <stdexcept>

namespace gort::detail {

void throw_future_error(std::future_errc code) {
  throw std::future_error(code);
}

std::exception_ptr broken_promise() noexcept {
  return std::make_exception_ptr(std::future_error(std::future_errc::broken_promise));
}

void check_is_exception(const std::exception_ptr& e) {
  if (e == nullptr) throw std::invalid_argument("gort::promise: no exception");
}

}  // namespace gort::detail
