// Waiting for one descriptor with the whole thread, for threads that are no Ms.
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

#include "os/os.hpp"

namespace gort::os {
namespace {
constexpr int64_t kNsPerSecond = 1'000'000'000;
}

int poll_fd(int fd, FdWait what, int64_t ns) noexcept {
  pollfd p{fd, static_cast<short>(what == FdWait::read ? POLLIN | POLLRDHUP : POLLOUT), 0};
  const timespec limit{ns / kNsPerSecond, ns % kNsPerSecond};
  if (ns < 0 && ns != kForever) return 0;
  const int n = ::ppoll(&p, 1, ns == kForever ? nullptr : &limit, nullptr);
  return n < 0 ? -errno : n;
}

void fd_shutdown(int fd) noexcept {
  ::shutdown(fd, SHUT_RDWR);
}

}  // namespace gort::os
