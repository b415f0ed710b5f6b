#include "net/sys.hpp"

#include <cerrno>
#include <limits>

namespace gort::net::sys {
namespace {

template <class T>
T result(T r) noexcept {
  return r >= 0 ? r : static_cast<T>(-errno);
}

}  // namespace

[[gnu::noinline]] int socket(int family, int type) noexcept {
  return result(::socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

[[gnu::noinline]] int accept(int fd) noexcept {
  return result(::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

[[gnu::noinline]] int bind(int fd, const sockaddr* address, socklen_t bytes) noexcept {
  return result(::bind(fd, address, bytes));
}

// The kernel cuts the number down to net.core.somaxconn.
[[gnu::noinline]] int listen(int fd) noexcept {
  return result(::listen(fd, std::numeric_limits<int>::max()));
}

[[gnu::noinline]] int connect(int fd, const sockaddr* address, socklen_t bytes) noexcept {
  return result(::connect(fd, address, bytes));
}

[[gnu::noinline]] int shutdown_write(int fd) noexcept {
  return result(::shutdown(fd, SHUT_WR));
}

[[gnu::noinline]] int set_option(int fd, int level, int name, int value) noexcept {
  return result(::setsockopt(fd, level, name, &value, sizeof value));
}

[[gnu::noinline]] int get_option(int fd, int level, int name, int* value) noexcept {
  socklen_t bytes = sizeof *value;
  return result(::getsockopt(fd, level, name, value, &bytes));
}

[[gnu::noinline]] int local_address(int fd, sockaddr* address, socklen_t* bytes) noexcept {
  return result(::getsockname(fd, address, bytes));
}

[[gnu::noinline]] int remote_address(int fd, sockaddr* address, socklen_t* bytes) noexcept {
  return result(::getpeername(fd, address, bytes));
}

}  // namespace gort::net::sys
