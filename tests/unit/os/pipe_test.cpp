// pipe: descriptors are made as promised and errors are negative errno.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>

#include "os/linux/thread.hpp"
#include "os/os.hpp"

namespace gort::os {
namespace {

void expect_nonblocking_cloexec(int fd) {
  EXPECT_NE(::fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
  EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
}

TEST(Pipe, CarriesBytesAndNeverBlocks) {
  int fds[2];
  ASSERT_EQ(pipe2(fds, 0), 0);
  expect_nonblocking_cloexec(fds[0]);
  expect_nonblocking_cloexec(fds[1]);
  char buf[8];
  EXPECT_EQ(fd_read(fds[0], buf, sizeof buf), -EAGAIN);
  EXPECT_EQ(fd_write(fds[1], "hello", 5), 5);
  EXPECT_EQ(fd_read(fds[0], buf, sizeof buf), 5);
  EXPECT_EQ(std::memcmp(buf, "hello", 5), 0);
  fd_close(fds[1]);
  EXPECT_EQ(fd_read(fds[0], buf, sizeof buf), 0);  // the end
  fd_close(fds[0]);
  EXPECT_EQ(fd_read(fds[0], buf, sizeof buf), -EBADF);
}

TEST(Pipe, FurtherFlagsAreAddedAndBadOnesRefused) {
  int fds[2];
  ASSERT_EQ(pipe2(fds, O_DIRECT), 0);
  expect_nonblocking_cloexec(fds[0]);
  fd_close(fds[0]);
  fd_close(fds[1]);
  EXPECT_EQ(pipe2(fds, O_APPEND), -EINVAL);
}

// In a handler, too, where libc's function might be bound at its first call, and leaves something in errno.
TEST(Pipe, AWriteGoesPastLibc) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer is to see it";
  errno = 77;
  const char byte = 0;
  EXPECT_EQ(fd_write(-1, &byte, 1), -EBADF);
  EXPECT_EQ(errno, 77);
}

bool is_pending(int sig) {
  sigset_t set;
  ::sigpending(&set);
  return ::sigismember(&set, sig) == 1;
}

// What nobody reads ends the process otherwise, or calls the program's handler.
TEST(Pipe, AWriteThatNobodyReadsRaisesNoSignal) {
  int fds[2];
  ASSERT_EQ(pipe2(fds, 0), 0);
  fd_close(fds[0]);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(pipe_write(fds[1], "x", 1), -EPIPE);
  uint64_t mask = 0;
  rtsigprocmask(SIG_BLOCK, nullptr, &mask);
  EXPECT_EQ(mask & signal_bit(SIGPIPE), 0U);

  constexpr uint64_t kPipe = signal_bit(SIGPIPE);
  rtsigprocmask(SIG_BLOCK, &kPipe, nullptr);
  EXPECT_EQ(pipe_write(fds[1], "x", 1), -EPIPE);
  EXPECT_FALSE(is_pending(SIGPIPE));
  raise(SIGPIPE);  // the program's own stays where it is
  EXPECT_EQ(pipe_write(fds[1], "x", 1), -EPIPE);
  EXPECT_TRUE(is_pending(SIGPIPE));
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGPIPE);
  int sig = 0;
  EXPECT_EQ(::sigwait(&set, &sig), 0);
  rtsigprocmask(SIG_UNBLOCK, &kPipe, nullptr);
  fd_close(fds[1]);
}

TEST(Eventfd, CountsAndNeverBlocks) {
  const int fd = eventfd();
  ASSERT_GE(fd, 0);
  expect_nonblocking_cloexec(fd);
  uint64_t n = 0;
  EXPECT_EQ(fd_read(fd, &n, sizeof n), -EAGAIN);
  const uint64_t three = 3;
  EXPECT_EQ(fd_write(fd, &three, sizeof three), 8);
  EXPECT_EQ(fd_write(fd, &three, sizeof three), 8);
  EXPECT_EQ(fd_read(fd, &n, sizeof n), 8);
  EXPECT_EQ(n, 6u);
  fd_close(fd);
}

}  // namespace
}  // namespace gort::os
