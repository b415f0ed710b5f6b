// The kernel's side of poll(2). As in kernel.cpp it promises no order of the caller's memory.
#include "ms/sockets.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

#include "ms/world.hpp"
#include "os/os.hpp"

namespace gort {
namespace {

constexpr int kFds = 8;
constexpr uint32_t kReadable = 1;
constexpr uint32_t kShut = 2;

std::array<Atomic<uint32_t>, kFds> levels;

Atomic<uint32_t>& level(int fd) {
  return levels[static_cast<size_t>(fd)];
}

void raise(int fd, uint32_t bit) {
  level(fd).fetch_or(bit, std::memory_order_relaxed);
  model::futex_wake(level(fd).location(), UINT32_MAX);
}

// The newest, whoever knows of it.
uint32_t look(int fd) {
  return level(fd).fetch_or(0, std::memory_order_relaxed);
}

}  // namespace

void ModelSocket::data(int fd) {
  raise(fd, kReadable);
}

bool ModelSocket::is_shut(int fd) {
  return (look(fd) & kShut) != 0;
}

namespace os {

void fd_shutdown(int fd) noexcept {
  raise(fd, kShut);
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
}  // namespace gort
