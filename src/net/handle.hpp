// handle: what the public handles have in common: from an Fd's numbers to error codes.
#pragma once

#include <cerrno>
#include <system_error>

#include "gort/net.hpp"
#include "net/fd.hpp"
#include "net/sockaddr.hpp"
#include "net/sys.hpp"

namespace gort::net::detail {

// Sets ec from a result or -errno; the result, or 0 where there is none.
inline size_t settle(long result, std::error_code& ec) noexcept {
  if (result >= 0) {
    if (ec) ec.clear();  // nearly always clear already, and clearing asks libstdc++ for a category
    return static_cast<size_t>(result);
  }
  ec.assign(static_cast<int>(-result), std::generic_category());
  return 0;
}

inline constexpr long kNoSocket = -EBADF;  // default-constructed or moved-from

// steady_clock and os::nanotime() are the same clock. Times before its start have passed as well.
inline int64_t deadline_ns(time_point when) noexcept {
  const int64_t ns = std::chrono::nanoseconds(when.time_since_epoch()).count();
  return ns < 1 ? 1 : ns;
}

// f(fd, address, bytes) is sys::local_address or sys::remote_address.
template <class F>
endpoint address_of(Fd* fd, F&& f, std::error_code& ec) noexcept {
  SockAddr address;
  const int rc = fd == nullptr
                     ? static_cast<int>(kNoSocket)
                     : fd->with([&](int n) { return f(n, address.get(), &address.bytes); });
  (void)settle(rc, ec);
  return rc < 0 ? endpoint() : address.to_endpoint();
}

inline void set_deadline(Fd* fd, PollMode mode, time_point when, std::error_code& ec) noexcept {
  (void)settle(fd == nullptr ? kNoSocket : fd->set_deadline(mode, deadline_ns(when)), ec);
}

}  // namespace gort::net::detail
