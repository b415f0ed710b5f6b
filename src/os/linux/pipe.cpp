// pipe: pipes and the four calls on a descriptor that the layers above need.
//
// They go through libc, so that the sanitizers see the buffers and the order that a descriptor
// establishes; fd_write() only where there is one: a handler that interrupts a fiber wakes the poller by it, and libc's function
// might be bound there at its first call, by the loader and under its locks. All are noinline: see syscall.hpp about errno.
#include <fcntl.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "os/linux/sanitizer.hpp"
#include "os/linux/syscall.hpp"
#include "os/linux/thread.hpp"
#include "os/os.hpp"

namespace gort::os {

[[gnu::noinline]] int pipe2(int fds[2], int flags) noexcept {
  return ::pipe2(fds, O_CLOEXEC | O_NONBLOCK | flags) == 0 ? 0 : -errno;
}

[[gnu::noinline]] int eventfd() noexcept {
  const int fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return fd >= 0 ? fd : -errno;
}

[[gnu::noinline]] long fd_read(int fd, void* buf, size_t n) noexcept {
  const ssize_t got = ::read(fd, buf, n);
  return got >= 0 ? got : -errno;
}

[[gnu::noinline]] long fd_write(int fd, const void* buf, size_t n) noexcept {
  if constexpr (kSanitized) {
    const ssize_t put = ::write(fd, buf, n);
    return put >= 0 ? put : -errno;
  } else {
    return raw_syscall(SYS_write, fd, buf, n);
  }
}

// There is no flag for write(2) as MSG_NOSIGNAL is one for send(2), and the signal's action is the program's. So the signal is
// blocked meanwhile, and taken back: it is sent to the thread that writes, where sigtimedwait looks first. Where the program itself
// blocks SIGPIPE and one is pending, ours is left beside it: nobody can tell them apart.
//
// ThreadSanitizer calls handlers that it has put off where libc is called next, which for gort's is under the mask of back then
// (MaskWhilePutOff in src/signal/handler.cpp): the signal would get through. So libc is called before, with nothing, which tells TSan
// of the order that a write establishes.
[[gnu::noinline]] long pipe_write(int fd, const void* buf, size_t n) noexcept {
  if constexpr (kUnderTsan) (void)::write(fd, buf, 0);
  constexpr uint64_t kPipe = signal_bit(SIGPIPE);
  uint64_t before = 0;
  rtsigprocmask(SIG_BLOCK, &kPipe, &before);
  uint64_t pending = 0;
  if ((before & kPipe) != 0) raw_syscall(SYS_rt_sigpending, &pending, sizeof pending);
  const long put = kUnderTsan ? raw_syscall(SYS_write, fd, buf, n) : fd_write(fd, buf, n);
  if (put == -EPIPE && (pending & kPipe) == 0) {
    constexpr timespec kNow{};
    raw_syscall(SYS_rt_sigtimedwait, &kPipe, nullptr, &kNow, sizeof kPipe);
  }
  if ((before & kPipe) == 0) rtsigprocmask(SIG_UNBLOCK, &kPipe, nullptr);
  return put;
}

// Once only: after EINTR Linux has closed the descriptor, and its number may already be another's.
[[gnu::noinline]] void fd_close(int fd) noexcept {
  ::close(fd);
}

}  // namespace gort::os
