// throw: the throwing form of a call, made from its error_code form.
#pragma once

#include <string>
#include <system_error>
#include <type_traits>

#include "os/os.hpp"

namespace gort::net::detail {

// Who has no descriptor left is told how many there may be.
[[noreturn]] inline void throw_error(const char* what, const std::error_code& ec) {
  if (ec != std::errc::too_many_files_open) throw std::system_error(ec, what);
  throw std::system_error(ec, std::string(what) + ": this process may have " +
                                  std::to_string(os::descriptor_limit()) +
                                  " descriptors (ulimit -n, RLIMIT_NOFILE)");
}

template <class F>
decltype(auto) or_throw(const char* what, F&& call) {
  std::error_code ec;
  if constexpr (std::is_void_v<decltype(call(ec))>) {
    call(ec);
    if (ec) throw_error(what, ec);
  } else {
    auto result = call(ec);
    if (ec) throw_error(what, ec);
    return result;
  }
}

}  // namespace gort::net::detail
