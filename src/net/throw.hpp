// throw: the throwing form of a call, made from its error_code form.
#pragma once

#include <system_error>
#include <type_traits>

namespace gort::net::detail {

template <class F>
decltype(auto) or_throw(const char* what, F&& call) {
  std::error_code ec;
  if constexpr (std::is_void_v<decltype(call(ec))>) {
    call(ec);
    if (ec) throw std::system_error(ec, what);
  } else {
    auto result = call(ec);
    if (ec) throw std::system_error(ec, what);
    return result;
  }
}

}  // namespace gort::net::detail
