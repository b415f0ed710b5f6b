// poll: epoll. Implements the first half of the section "Descriptors" of os.hpp; called by netpoll.
//
//   PO1  A wait never ends before its time because of rounding: where the kernel counts
//        milliseconds only, the timeout is rounded up.
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstddef>

#include "base/mem.hpp"
#include "os/linux/internal.hpp"
#include "os/linux/sanitizer.hpp"
#include "os/linux/syscall.hpp"
#include "os/os.hpp"

namespace gort::os {

static_assert(sizeof(PollEvent) == sizeof(epoll_event));
static_assert(offsetof(PollEvent, data) == offsetof(epoll_event, data));

namespace {

#ifndef SYS_epoll_pwait2
constexpr long SYS_epoll_pwait2 = 441;  // the same number on every architecture
#endif

constexpr int64_t kNsPerSecond = 1'000'000'000;
constexpr int64_t kNsPerMs = 1'000'000;

// False once the kernel has refused epoll_pwait2 (before 5.11, or a seccomp filter that does not
// know it). relaxed everywhere: each thread may find out for itself; the value publishes nothing.
Atomic<bool> has_pwait2{true};

struct KernelTimespec {
  int64_t sec;
  int64_t nsec;
};

long wait_pwait2(int epfd, std::span<PollEvent> out, int64_t ns) noexcept {
  const KernelTimespec timeout{ns / kNsPerSecond, ns % kNsPerSecond};
  const long n = raw_syscall(SYS_epoll_pwait2, epfd, out.data(), out.size(),
                             ns < 0 ? nullptr : &timeout, nullptr, 0);
  // libc does not pass this one on to the sanitizer, so the order epoll_add -> epoll_wait is told
  // here.
  if (n > 0) tsan_acquire(&has_pwait2);
  return n;
}

// Rounds up (PO1).
int to_ms(int64_t ns) noexcept {
  if (ns < 0) return -1;
  const int64_t ms = ns / kNsPerMs + (ns % kNsPerMs != 0 ? 1 : 0);
  return static_cast<int>(std::min<int64_t>(ms, INT_MAX));
}

}  // namespace

[[gnu::noinline]] int epoll_create() noexcept {
  const int fd = ::epoll_create1(EPOLL_CLOEXEC);
  return fd >= 0 ? fd : -errno;
}

[[gnu::noinline]] int epoll_add(int epfd, int fd, uint32_t events, uint64_t data) noexcept {
  epoll_event event{};
  event.events = events;
  event.data.u64 = data;
  tsan_release(&has_pwait2);
  return ::epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

[[gnu::noinline]] int epoll_del(int epfd, int fd) noexcept {
  epoll_event unused{};  // kernels before 2.6.9 insist on a pointer
  return ::epoll_ctl(epfd, EPOLL_CTL_DEL, fd, &unused) == 0 ? 0 : -errno;
}

[[gnu::noinline]] int epoll_wait(int epfd, std::span<PollEvent> out, int64_t ns) noexcept {
  // relaxed: see has_pwait2.
  if (has_pwait2.load(std::memory_order_relaxed)) {
    const long n = wait_pwait2(epfd, out, ns);
    // EPERM is what container filters answer to a call that they do not know.
    if (n != -ENOSYS && n != -EPERM) return static_cast<int>(n);
    has_pwait2.store(false, std::memory_order_relaxed);  // relaxed: see has_pwait2
  }
  return epoll_wait_ms(epfd, out, ns);
}

// The fallback, apart so that it can be tested on kernels that do not need it.
[[gnu::noinline]] int epoll_wait_ms(int epfd, std::span<PollEvent> out, int64_t ns) noexcept {
  const int n = ::epoll_wait(epfd, reinterpret_cast<epoll_event*>(out.data()),
                             static_cast<int>(out.size()), to_ms(ns));
  if (n < 0) return -errno;
  if (n > 0) tsan_acquire(&has_pwait2);
  return n;
}

}  // namespace gort::os
