// tcp_listener: the public handle over an Fd, and listening.
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <string>

#include "net/handle.hpp"
#include "net/throw.hpp"
#include "os/os.hpp"

namespace gort::net {

using detail::Fd;
using detail::kNoSocket;
using detail::or_throw;
using detail::settle;
using detail::SockAddr;

tcp_listener& tcp_listener::operator=(tcp_listener&& other) noexcept {
  if (this != &other) {
    if (fd_ != nullptr) fd_->destroy();
    fd_ = std::exchange(other.fd_, nullptr);
  }
  return *this;
}

tcp_listener::~tcp_listener() {
  if (fd_ != nullptr) fd_->destroy();
}

// ---- Listening ----------------------------------------------------------------------------------

namespace {

// 0 or -errno.
int set_up(int fd, const SockAddr& address) noexcept {
  int rc = sys::set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  // Accepted sockets inherit it, which saves a call for each.
  if (rc == 0) rc = sys::set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  if (rc == 0 && address.family() == AF_INET6)
    rc = sys::set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  if (rc == 0) rc = sys::bind(fd, address.get(), address.bytes);
  return rc == 0 ? sys::listen(fd) : rc;
}

Fd* open_listener(const endpoint& at, int* error) noexcept {
  const SockAddr address(at);
  const int fd = sys::socket(address.family(), SOCK_STREAM);
  if (fd < 0) {
    *error = -fd;
    return nullptr;
  }
  const int rc = set_up(fd, address);
  if (rc == 0) return Fd::adopt(fd, error);
  os::fd_close(fd);
  *error = -rc;
  return nullptr;
}

}  // namespace

tcp_listener tcp_listener::listen(const endpoint& at, std::error_code& ec) {
  int error = 0;
  Fd* fd = open_listener(at, &error);
  (void)settle(fd == nullptr ? -error : 0, ec);
  return tcp_listener(fd);
}

tcp_listener tcp_listener::listen(std::string_view host, uint16_t port, std::error_code& ec) {
  const std::vector<endpoint> found = resolve(host, std::to_string(port), ec);
  std::error_code first_error = ec;
  for (const endpoint& at : found) {
    tcp_listener listener = listen(at, ec);
    if (!ec) return listener;
    if (!first_error) first_error = ec;
    // Taken is taken: the next address of the host would hide the mistake.
    if (ec == std::errc::address_in_use) break;
  }
  ec = first_error;
  return {};
}

tcp_listener tcp_listener::listen(std::string_view host, uint16_t port) {
  return or_throw("gort: listen", [&](std::error_code& ec) { return listen(host, port, ec); });
}

tcp_listener tcp_listener::listen(const endpoint& at) {
  return or_throw("gort: listen", [&](std::error_code& ec) { return listen(at, ec); });
}

// ---- Accepting and the rest ---------------------------------------------------------------------

tcp_stream tcp_listener::accept(std::error_code& ec) {
  const long fd = fd_ == nullptr ? kNoSocket : fd_->accept();
  (void)settle(fd, ec);
  if (ec) return {};
  int error = 0;
  Fd* accepted = Fd::adopt(static_cast<int>(fd), &error);
  (void)settle(accepted == nullptr ? -error : 0, ec);
  return tcp_stream(accepted);
}

tcp_stream tcp_listener::accept() {
  return or_throw("gort: accept", [&](std::error_code& ec) { return accept(ec); });
}

void tcp_listener::close() noexcept {
  if (fd_ != nullptr) fd_->close();
}

bool tcp_listener::is_open() const noexcept {
  return fd_ != nullptr && fd_->is_open();
}

int tcp_listener::native_handle() const noexcept {
  return is_open() ? fd_->number() : -1;
}

void tcp_listener::set_deadline(time_point when, std::error_code& ec) {
  detail::set_deadline(fd_, PollMode::read, when, ec);
}

void tcp_listener::set_deadline(time_point when) {
  or_throw("gort: set_deadline", [&](std::error_code& ec) { set_deadline(when, ec); });
}

endpoint tcp_listener::local_endpoint(std::error_code& ec) const {
  return detail::address_of(fd_, sys::local_address, ec);
}

endpoint tcp_listener::local_endpoint() const {
  return or_throw("gort: local_endpoint", [&](std::error_code& ec) { return local_endpoint(ec); });
}

}  // namespace gort::net
