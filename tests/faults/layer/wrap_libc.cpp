// Wrappers of the libc functions that gort calls: the result, or -1 with errno.
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "layer/faults.hpp"
#include "layer/real.hpp"

namespace gort::faults {
namespace {

template <class R>
R failed(const Fault& fault) noexcept {
  errno = static_cast<int>(fault.value);
  return static_cast<R>(-1);
}

// A call without more to it than its result.
template <class F>
[[gnu::noinline]] auto plain(Call call, F&& real) noexcept -> decltype(real()) {
  using R = decltype(real());
  const Fault fault = decide(call);
  if (fault.kind == Fault::Kind::error) return failed<R>(fault);
  if (fault.kind == Fault::Kind::early) return static_cast<R>(fault.value);
  const R rc = real();
  if (fault.after_ns > 0) {
    const int saved = errno;
    sleep_ns(fault.after_ns);
    errno = saved;
  }
  return rc;
}

// A call that moves bytes.
template <class F>
[[gnu::noinline]] ssize_t transfer(Call call, int fd, size_t bytes, F&& real) noexcept {
  const Fault fault = decide(call);
  if (fault.kind == Fault::Kind::error) return failed<ssize_t>(fault);
  if (fault.kind == Fault::Kind::early) return fault.value;
  const bool shortened =
      fault.kind == Fault::Kind::shortened && bytes > static_cast<size_t>(fault.value);
  const ssize_t rc = real(shortened ? static_cast<size_t>(fault.value) : bytes);
  const int saved = errno;
  if (shortened) raise_edge(fd);
  if (fault.after_ns > 0) sleep_ns(fault.after_ns);
  errno = saved;
  return rc;
}

// Errors that accept(2) reports of the connection that it has just taken off the queue (FA3).
bool concerns_the_peer(long error) noexcept {
  constexpr int kErrors[] = {ECONNABORTED, ENETDOWN,     EPROTO,     ENOPROTOOPT, EHOSTDOWN,
                             ENONET,       EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH, EPERM};
  return std::find(std::begin(kErrors), std::end(kErrors), error) != std::end(kErrors);
}

}  // namespace
}  // namespace gort::faults

using namespace gort::faults;

extern "C" {

int __wrap_pthread_create(pthread_t* thread, const pthread_attr_t* attr, void* (*routine)(void*),
                          void* arg) {
  const Fault fault = decide(Call::thread);
  if (fault.kind == Fault::Kind::error) return static_cast<int>(fault.value);
  const int rc = __real_pthread_create(thread, attr, routine, arg);
  if (fault.after_ns > 0) sleep_ns(fault.after_ns);
  return rc;
}

void* __wrap_mmap(void* hint, size_t bytes, int prot, int flags, int fd, off_t offset) {
  const Fault fault = decide(Call::map);
  if (fault.kind == Fault::Kind::error) {
    errno = static_cast<int>(fault.value);
    return MAP_FAILED;
  }
  return __real_mmap(hint, bytes, prot, flags, fd, offset);
}

int __wrap_munmap(void* addr, size_t bytes) {
  return plain(Call::unmap, [&] { return __real_munmap(addr, bytes); });
}

int __wrap_epoll_create1(int flags) {
  return plain(Call::epoll_create, [&] { return __real_epoll_create1(flags); });
}

int __wrap_epoll_ctl(int epfd, int op, int fd, epoll_event* event) {
  if (op != EPOLL_CTL_ADD) {
    forget_registration(fd);
    return __real_epoll_ctl(epfd, op, fd, event);
  }
  return plain(Call::epoll_add, [&] {
    const int rc = __real_epoll_ctl(epfd, op, fd, event);
    if (rc == 0) note_registration(epfd, fd, event->events, event->data.u64);
    return rc;
  });
}

int __wrap_epoll_wait(int epfd, epoll_event* events, int count, int ms) {
  return plain(Call::epoll_wait, [&] { return __real_epoll_wait(epfd, events, count, ms); });
}

int __wrap_eventfd(unsigned int count, int flags) {
  return plain(Call::eventfd, [&] { return __real_eventfd(count, flags); });
}

int __wrap_pipe2(int* fds, int flags) {
  return plain(Call::pipe, [&] { return __real_pipe2(fds, flags); });
}

ssize_t __wrap_read(int fd, void* to, size_t bytes) {
  return transfer(Call::read, fd, bytes, [&](size_t n) { return __real_read(fd, to, n); });
}

ssize_t __wrap_write(int fd, const void* from, size_t bytes) {
  return transfer(fd > 2 ? Call::write : Call::say, fd, bytes,
                  [&](size_t n) { return __real_write(fd, from, n); });
}

int __wrap_close(int fd) {
  const Fault fault = decide(Call::close);
  forget_registration(fd);
  const int rc = __real_close(fd);
  return fault.kind == Fault::Kind::error ? failed<int>(fault) : rc;  // FA3
}

ssize_t __wrap_recv(int fd, void* to, size_t bytes, int flags) {
  return transfer(Call::recv, fd, bytes, [&](size_t n) { return __real_recv(fd, to, n, flags); });
}

ssize_t __wrap_send(int fd, const void* from, size_t bytes, int flags) {
  return transfer(Call::send, fd, bytes, [&](size_t n) { return __real_send(fd, from, n, flags); });
}

int __wrap_accept4(int fd, sockaddr* address, socklen_t* bytes, int flags) {
  pollfd queue{fd, POLLIN, 0};
  const timespec no_time{};
  // Without a connection in the queue there is nothing to fail: the rule waits for one.
  if (__real_ppoll(&queue, 1, &no_time, nullptr) != 1) {
    return __real_accept4(fd, address, bytes, flags);
  }
  const Fault fault = decide(Call::accept);
  if (fault.kind == Fault::Kind::error && !concerns_the_peer(fault.value)) {
    return failed<int>(fault);
  }
  const int accepted = __real_accept4(fd, address, bytes, flags);
  if (fault.kind != Fault::Kind::error || accepted < 0) return accepted;
  __real_close(accepted);
  return failed<int>(fault);
}

int __wrap_socket(int family, int type, int protocol) {
  return plain(Call::socket, [&] { return __real_socket(family, type, protocol); });
}

int __wrap_bind(int fd, const sockaddr* address, socklen_t bytes) {
  return plain(Call::bind, [&] { return __real_bind(fd, address, bytes); });
}

int __wrap_listen(int fd, int backlog) {
  return plain(Call::listen, [&] { return __real_listen(fd, backlog); });
}

int __wrap_connect(int fd, const sockaddr* address, socklen_t bytes) {
  const Fault fault = decide(Call::connect);
  if (fault.kind == Fault::Kind::error && fault.value != EINTR) return failed<int>(fault);
  const int rc = __real_connect(fd, address, bytes);
  const bool under_way = rc == 0 || errno == EINPROGRESS;
  return fault.kind == Fault::Kind::error && under_way ? failed<int>(fault) : rc;  // FA3
}

int __wrap_setsockopt(int fd, int level, int name, const void* value, socklen_t bytes) {
  return plain(Call::set_option, [&] { return __real_setsockopt(fd, level, name, value, bytes); });
}

int __wrap_getsockopt(int fd, int level, int name, void* value, socklen_t* bytes) {
  return plain(Call::get_option, [&] { return __real_getsockopt(fd, level, name, value, bytes); });
}

int __wrap_getsockname(int fd, sockaddr* address, socklen_t* bytes) {
  return plain(Call::address, [&] { return __real_getsockname(fd, address, bytes); });
}

int __wrap_getpeername(int fd, sockaddr* address, socklen_t* bytes) {
  return plain(Call::address, [&] { return __real_getpeername(fd, address, bytes); });
}

int __wrap_ppoll(pollfd* fds, nfds_t count, const timespec* limit, const sigset_t* mask) {
  return plain(Call::poll, [&] { return __real_ppoll(fds, count, limit, mask); });
}

}  // extern "C"
