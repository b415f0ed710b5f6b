// pipe: descriptors are made as promised and errors are negative errno.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>
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
