// resolve: names to addresses, by the C library's getaddrinfo, which may wait for a server.
#include <netdb.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <string>

#include "gort/blocking.hpp"
#include "net/service.hpp"
#include "net/sockaddr.hpp"
#include "net/throw.hpp"

namespace gort::net {
namespace {

class ResolveCategory final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "gort.resolve"; }
  [[nodiscard]] std::string message(int value) const override { return ::gai_strerror(value); }
};

struct FreeAddrInfo {
  void operator()(addrinfo* list) const noexcept { ::freeaddrinfo(list); }
};
using AddrInfoList = std::unique_ptr<addrinfo, FreeAddrInfo>;

// errno is read in the same call that sets it: the fiber may change threads around it.
[[gnu::noinline]] std::error_code look_up(const char* host, const char* service, int flags,
                                          AddrInfoList& out) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;  // one entry per address, not one per protocol
  hints.ai_flags = flags;
  addrinfo* list = nullptr;
  const int rc = ::getaddrinfo(host, service, &hints, &list);
  if (rc == 0) {
    out.reset(list);
    return {};
  }
  if (rc == EAI_SYSTEM) return {errno, std::generic_category()};
  return {rc, resolve_category()};
}

bool has_zero(std::string_view text) noexcept {
  return text.find('\0') != std::string_view::npos;
}

}  // namespace

detail::Service detail::read_service(std::string_view text, uint16_t& port) noexcept {
  if (text.empty()) {
    port = 0;
    return Service::port;
  }
  uint16_t number = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && stop == text.data() + text.size()) {
    port = number;
    return Service::port;
  }
  const bool letter = std::any_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  });
  return letter && !has_zero(text) ? Service::name : Service::malformed;
}

const std::error_category& resolve_category() noexcept {
  static const ResolveCategory category;
  return category;
}

std::vector<endpoint> resolve(std::string_view host, std::string_view service,
                              std::error_code& ec) {
  ec.clear();
  uint16_t port = 0;
  const detail::Service kind = detail::read_service(service, port);
  if (kind == detail::Service::malformed) {
    ec = {EAI_SERVICE, resolve_category()};
    return {};
  }
  const bool numeric_port = kind == detail::Service::port;
  if (numeric_port) {
    // A dual-stack socket on :: takes IPv4 as well; 0.0.0.0 is for systems without IPv6.
    if (host.empty()) return {endpoint("::", port), endpoint("0.0.0.0", port)};
    std::error_code not_numeric;
    const endpoint e(host, port, not_numeric);
    if (!not_numeric) return {e};
  }
  // The resolver would see the name up to the zero only.
  if (has_zero(host)) {
    ec = {EAI_NONAME, resolve_category()};
    return {};
  }
  const std::string host_text(host);
  const std::string service_text(service);
  const char* name = host.empty() ? nullptr : host_text.c_str();
  const char* what = service.empty() ? nullptr : service_text.c_str();
  const int flags = (numeric_port ? AI_NUMERICSERV : 0) | (host.empty() ? AI_PASSIVE : 0);
  AddrInfoList list;
  ec = blocking([&] { return look_up(name, what, flags, list); });
  std::vector<endpoint> found;
  for (const addrinfo* i = list.get(); i != nullptr; i = i->ai_next) {
    if (i->ai_family != AF_INET && i->ai_family != AF_INET6) continue;
    detail::SockAddr address;
    std::memcpy(&address.storage, i->ai_addr, i->ai_addrlen);
    found.push_back(address.to_endpoint());
  }
  if (!ec && found.empty()) ec = {EAI_NONAME, resolve_category()};
  return found;
}

std::vector<endpoint> resolve(std::string_view host, std::string_view service) {
  return detail::or_throw("gort: resolve",
                          [&](std::error_code& ec) { return resolve(host, service, ec); });
}

}  // namespace gort::net
