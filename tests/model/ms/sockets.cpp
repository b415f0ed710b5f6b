// The kernel's side of sockets and of poll(2). As in kernel.cpp it promises no order of the caller's memory.
#include "ms/sockets.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "ms/world.hpp"
#include "net/sys.hpp"
#include "os/os.hpp"

namespace gort {
namespace {

constexpr int kFds = 8;
constexpr uint32_t kReadable = 1;
constexpr uint32_t kShut = 2;

std::array<Atomic<uint32_t>, kFds> levels;
// Whoever makes the step of levels may touch these.
std::array<int, kFds> held;
std::array<model::var<bool>, kFds>
    closed;  // every use of a number must be known to whoever closes it

Atomic<uint32_t>& level(int fd) {
  return levels[static_cast<size_t>(fd)];
}

void set_level(int fd, uint32_t bit) {
  level(fd).fetch_or(bit, std::memory_order_relaxed);
  model::futex_wake(level(fd).location(), UINT32_MAX);
}

// The newest, whoever knows of it.
uint32_t look(int fd) {
  return level(fd).fetch_or(0, std::memory_order_relaxed);
}

// Each use of a descriptor's number.
void use(int fd) {
  (void)look(fd);
  model::check(!closed[static_cast<size_t>(fd)], "FD1: a descriptor is used that has been closed");
}

}  // namespace

void ModelSocket::begin() {
  held = {};
  for (model::var<bool>& c : closed) c = false;
}

void ModelSocket::arrive(int fd, int bytes) {
  (void)look(fd);
  held[static_cast<size_t>(fd)] += bytes;
  set_level(fd, kReadable);
  ModelKernel::event(fd, EPOLLIN);
}

bool ModelSocket::is_open(int fd) {
  return !closed[static_cast<size_t>(fd)].raw();
}

void ModelSocket::data(int fd) {
  set_level(fd, kReadable);
}

bool ModelSocket::is_shut(int fd) {
  return (look(fd) & kShut) != 0;
}

namespace os {

void fd_shutdown(int fd) noexcept {
  use(fd);
  set_level(fd, kShut);
}

void fd_close(int fd) noexcept {
  if (fd == 0 || fd >= kFds) return;  // the poller's own
  use(fd);
  closed[static_cast<size_t>(fd)] = true;
}

long sock_recv(int fd, void*, size_t n) noexcept {
  use(fd);
  int& there = held[static_cast<size_t>(fd)];
  if (there == 0) return -EAGAIN;
  const int taken = std::min(there, static_cast<int>(n));
  there -= taken;
  if (there == 0) level(fd).fetch_and(~kReadable, std::memory_order_relaxed);
  return taken;
}

long sock_send(int fd, const void*, size_t n) noexcept {
  use(fd);
  return static_cast<long>(n);
}

// Pipes and other descriptors: no model has any.
long pipe_write(int, const void*, size_t) noexcept {
  return -EAGAIN;
}

int poll_fd(int fd, FdWait what, int64_t ns) noexcept {
  const int64_t until = ModelKernel::now_ns() + std::max<int64_t>(ns, 0);
  const uint32_t wanted = what == FdWait::read ? kReadable | kShut : kShut;
  for (;;) {
    const uint32_t seen = look(fd);
    if ((seen & wanted) != 0) return 1;
    if (ns == 0) return 0;
    switch (model::futex_sleep(level(fd).location(), seen, ns > 0)) {
      case model::SleepEnd::time:
        ModelKernel::pass_until(until);
        return 0;
      case model::SleepEnd::early:
        return -EINTR;
      case model::SleepEnd::woken:
      case model::SleepEnd::other_value:
        break;
    }
  }
}

}  // namespace os

// Listeners and connects: no model has any.
namespace net::sys {

int accept(int) noexcept {
  return -EAGAIN;
}
int get_option(int, int, int, int*) noexcept {
  return -ENOPROTOOPT;
}
int remote_address(int, sockaddr*, socklen_t*) noexcept {
  return -ENOTCONN;
}

}  // namespace net::sys
}  // namespace gort
