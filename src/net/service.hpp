// service: the text that names a port, before anybody is asked about it.
#pragma once

#include <cstdint>
#include <string_view>

namespace gort::net::detail {

enum class Service : uint8_t {
  port,  // a number from 0 to 65535, or nothing at all, which is 0
  name,  // the resolver has to know it; has a letter, as RFC 6335 (5.1) wants
  // Neither: getaddrinfo would take "65616" and " 80" for port 80, and "http\0x" for "http".
  malformed,
};

// Pure. Writes `port` if it is one.
[[nodiscard]] Service read_service(std::string_view text, uint16_t& port) noexcept;

}  // namespace gort::net::detail
