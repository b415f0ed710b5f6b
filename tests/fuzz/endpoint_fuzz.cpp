// Addresses and ports. The input is the text of an address, and of a service; and the bytes of a
// kernel's socket address.
#include <algorithm>
#include <cstring>
#include <system_error>

#include "fuzz.hpp"
#include "gort/net.hpp"
#include "net/service.hpp"
#include "net/sockaddr.hpp"

namespace gort::fuzz {
namespace {

using net::endpoint;

bool throws(std::string_view text) {
  try {
    const endpoint e(text, 0);
    return false;
  } catch (const std::system_error& error) {
    require(error.code() == std::errc::invalid_argument, "the documented error", text);
    return true;
  }
}

void require_round_trips(const endpoint& e) {
  std::error_code ec;
  require(endpoint(e.address(), e.port(), ec) == e && !ec, "print and parse", e.to_string());
  require(net::detail::SockAddr(e).to_endpoint() == e, "to the kernel and back", e.to_string());
  const std::string tail = ":" + std::to_string(e.port());
  require(e.to_string() == (e.is_v6() ? "[" + e.address() + "]" : e.address()) + tail,
          "an address and a port", e.to_string());
}

void check_address(std::string_view text) {
  constexpr uint16_t kPort = 8080;
  std::error_code ec = std::make_error_code(std::errc::io_error);
  const endpoint e(text, kPort, ec);
  require(throws(text) == static_cast<bool>(ec), "both forms agree", text);
  if (ec) {
    require(e == endpoint(), "never both a value and an error", text);
    require(ec == std::errc::invalid_argument, "the documented error", text);
    return;
  }
  require(e.port() == kPort, "the port is kept", text);
  require(e.is_v6() == (text.find(':') != std::string_view::npos), "colons are IPv6's", text);
  const std::string_view number = text.substr(0, text.find('%'));
  require(number.find_first_not_of("0123456789abcdefABCDEF.:") == std::string_view::npos,
          "a numeric address and nothing else", text);
  require(text.find('\0') == std::string_view::npos, "no zero in it", text);
  require_round_trips(e);
}

void check_service(std::string_view text) {
  using net::detail::Service;
  constexpr uint16_t kUntouched = 4711;
  uint16_t port = kUntouched;
  const Service service = net::detail::read_service(text, port);
  const bool digits = text.find_first_not_of("0123456789") == std::string_view::npos;
  if (service == Service::port) {
    require(digits, "a port is a number", text);
    require(text.empty() ? port == 0 : std::stoul(std::string(text)) == port, "its value", text);
    return;
  }
  require(port == kUntouched, "only a port is written", text);
  const bool letter = std::any_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  });
  // getaddrinfo would take "65616" and " 80" for port 80.
  require((service == Service::name) == (letter && text.find('\0') == std::string_view::npos),
          "a name has a letter and no zero; anything else nobody is asked about", text);
}

void check_kernel(std::string_view bytes) {
  net::detail::SockAddr address;
  std::memcpy(&address.storage, bytes.data(), std::min(bytes.size(), sizeof address.storage));
  const endpoint e = address.to_endpoint();
  const bool known = address.family() == AF_INET || address.family() == AF_INET6;
  require(known || e == endpoint(), "an unknown family is no address");
  require(e.is_v6() == (address.family() == AF_INET6), "the family");
  require_round_trips(e);
}

}  // namespace
}  // namespace gort::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  gort::fuzz::check_address(text);
  gort::fuzz::check_service(text);
  if (!text.empty()) gort::fuzz::check_kernel(text);
  return 0;
}
