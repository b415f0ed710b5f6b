// SockAddr: an endpoint as the kernel writes it.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include "gort/net.hpp"

namespace gort::net::detail {

struct SockAddr {
  SockAddr() noexcept = default;
  explicit SockAddr(const endpoint& e) noexcept;

  // The inverse; the family is AF_INET or AF_INET6.
  [[nodiscard]] endpoint to_endpoint() const noexcept;

  [[nodiscard]] sockaddr* get() noexcept { return reinterpret_cast<sockaddr*>(&storage); }
  [[nodiscard]] const sockaddr* get() const noexcept {
    return reinterpret_cast<const sockaddr*>(&storage);
  }
  [[nodiscard]] int family() const noexcept { return storage.ss_family; }

  // Reads a numeric address. False: it is none.
  static bool parse(std::string_view address, endpoint& out) noexcept;

  sockaddr_storage storage{};
  socklen_t bytes = sizeof storage;
};

}  // namespace gort::net::detail
