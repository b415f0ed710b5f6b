// socket: the two calls of which a server makes one each per request.
//
// Straight to the kernel: in a process with threads, libc makes recv and send cancellation points, which
// costs two locked instructions per call, and nobody may cancel a thread of ours. A sanitizer needs to
// see them, so there they go through libc. MSG_DONTWAIT, though the sockets are non-blocking: an adopted one may be shared with
// others, who can change that at any time.
#include <sys/socket.h>

#include <cerrno>

#include "os/linux/syscall.hpp"
#include "os/linux/thread.hpp"
#include "os/os.hpp"

namespace gort::os {

[[gnu::noinline]] long sock_recv(int fd, void* to, size_t n) noexcept {
  if constexpr (kSanitized) {
    const ssize_t got = ::recv(fd, to, n, MSG_DONTWAIT);
    return got < 0 ? -errno : got;
  } else {
    return raw_syscall(SYS_recvfrom, fd, to, n, MSG_DONTWAIT, nullptr, nullptr);
  }
}

[[gnu::noinline]] long sock_send(int fd, const void* from, size_t n) noexcept {
  if constexpr (kSanitized) {
    const ssize_t sent = ::send(fd, from, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent < 0 ? -errno : sent;
  } else {
    return raw_syscall(SYS_sendto, fd, from, n, MSG_NOSIGNAL | MSG_DONTWAIT, nullptr, 0);
  }
}

}  // namespace gort::os
