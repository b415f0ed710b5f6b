// endpoint: text to address and back, and the kernel's form of it.
#include <arpa/inet.h>
#include <net/if.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "net/sockaddr.hpp"

namespace gort::net {
namespace detail {

SockAddr::SockAddr(const endpoint& e) noexcept {
  if (e.v6_) {
    sockaddr_in6 a{};
    a.sin6_family = AF_INET6;
    a.sin6_port = htons(e.port_);
    a.sin6_scope_id = e.scope_;
    std::memcpy(&a.sin6_addr, e.bytes_.data(), sizeof a.sin6_addr);
    std::memcpy(&storage, &a, sizeof a);
    bytes = sizeof a;
  } else {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(e.port_);
    std::memcpy(&a.sin_addr, e.bytes_.data(), sizeof a.sin_addr);
    std::memcpy(&storage, &a, sizeof a);
    bytes = sizeof a;
  }
}

endpoint SockAddr::to_endpoint() const noexcept {
  endpoint e;
  if (storage.ss_family == AF_INET6) {
    sockaddr_in6 a;
    std::memcpy(&a, &storage, sizeof a);
    e.v6_ = true;
    e.port_ = ntohs(a.sin6_port);
    e.scope_ = a.sin6_scope_id;
    std::memcpy(e.bytes_.data(), &a.sin6_addr, sizeof a.sin6_addr);
  } else if (storage.ss_family == AF_INET) {
    sockaddr_in a;
    std::memcpy(&a, &storage, sizeof a);
    e.port_ = ntohs(a.sin_port);
    std::memcpy(e.bytes_.data(), &a.sin_addr, sizeof a.sin_addr);
  }
  return e;
}

bool SockAddr::parse(std::string_view address, endpoint& out) noexcept {
  char text[INET6_ADDRSTRLEN + 1 + IF_NAMESIZE];  // both sizes count a terminating zero
  if (address.size() >= sizeof text) return false;
  // The C library would read as far as the zero and take "1.2.3.4\0x" for an address.
  if (address.find('\0') != std::string_view::npos) return false;
  // Not by memcpy(), which takes no null pointer: an empty text may have one.
  *std::copy(address.begin(), address.end(), text) = '\0';
  if (::inet_pton(AF_INET, text, out.bytes_.data()) == 1) {
    out.v6_ = false;
    out.scope_ = 0;
    return true;
  }
  char* zone = std::strchr(text, '%');
  if (zone != nullptr) *zone++ = '\0';
  if (::inet_pton(AF_INET6, text, out.bytes_.data()) != 1) return false;
  out.v6_ = true;
  out.scope_ = 0;
  if (zone == nullptr) return true;
  const char* end = zone + std::strlen(zone);
  const auto [stop, error] = std::from_chars(zone, end, out.scope_);
  if (error == std::errc() && stop == end) return true;
  out.scope_ = ::if_nametoindex(zone);
  return out.scope_ != 0;
}

}  // namespace detail

endpoint::endpoint(std::string_view address, uint16_t port, std::error_code& ec) : port_(port) {
  if (detail::SockAddr::parse(address, *this)) {
    ec.clear();
  } else {
    *this = endpoint();
    ec = std::make_error_code(std::errc::invalid_argument);
  }
}

endpoint::endpoint(std::string_view address, uint16_t port) {
  std::error_code ec;
  *this = endpoint(address, port, ec);
  if (ec) throw std::system_error(ec, "gort: not a numeric address");
}

std::string endpoint::address() const {
  char text[INET6_ADDRSTRLEN];
  ::inet_ntop(v6_ ? AF_INET6 : AF_INET, bytes_.data(), text, sizeof text);
  std::string result = text;
  if (v6_ && scope_ != 0) result += "%" + std::to_string(scope_);
  return result;
}

std::string endpoint::to_string() const {
  const std::string port = std::to_string(port_);
  return v6_ ? "[" + address() + "]:" + port : address() + ":" + port;
}

}  // namespace gort::net
