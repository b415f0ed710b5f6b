#include "net/sys.hpp"

#include <fcntl.h>
#include <sys/stat.h>

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

[[gnu::noinline]] int file_type(int fd) noexcept {
  struct stat about;
  return ::fstat(fd, &about) == 0 ? static_cast<int>(about.st_mode & S_IFMT) : -errno;
}

[[gnu::noinline]] int make_blocking(int fd) noexcept {
  const int flags = ::fcntl(fd, F_GETFL);
  return flags < 0 ? -errno : result(::fcntl(fd, F_SETFL, flags & ~O_NONBLOCK));
}

[[gnu::noinline]] int make_nonblocking(int fd) noexcept {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return -errno;
  if ((flags & O_NONBLOCK) != 0) return 0;
  return ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 ? 1 : -errno;
}

[[gnu::noinline]] int local_address(int fd, sockaddr* address, socklen_t* bytes) noexcept {
  return result(::getsockname(fd, address, bytes));
}

[[gnu::noinline]] int remote_address(int fd, sockaddr* address, socklen_t* bytes) noexcept {
  return result(::getpeername(fd, address, bytes));
}

}  // namespace gort::net::sys
