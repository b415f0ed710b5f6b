// tcp_stream: the public handle over an Fd, and connecting.
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <memory>
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

void tcp_stream::shutdown_write(std::error_code& ec) {
  (void)settle(fd_ == nullptr ? kNoSocket : fd_->with(sys::shutdown_write), ec);
}

void tcp_stream::shutdown_write() {
  or_throw("gort: shutdown", [&](std::error_code& ec) { shutdown_write(ec); });
}

// ---- Options and addresses --------------------------------------------------------------------------

void tcp_stream::set_no_delay(bool on, std::error_code& ec) {
  const auto set = [on](int fd) {
    return sys::set_option(fd, IPPROTO_TCP, TCP_NODELAY, on ? 1 : 0);
  };
  (void)settle(fd_ == nullptr ? kNoSocket : fd_->with(set), ec);
}

void tcp_stream::set_no_delay(bool on) {
  or_throw("gort: set_no_delay", [&](std::error_code& ec) { set_no_delay(on, ec); });
}

endpoint tcp_stream::local_endpoint(std::error_code& ec) const {
  return detail::address_of(fd_, sys::local_address, ec);
}

endpoint tcp_stream::remote_endpoint(std::error_code& ec) const {
  return detail::address_of(fd_, sys::remote_address, ec);
}

endpoint tcp_stream::local_endpoint() const {
  return or_throw("gort: local_endpoint", [&](std::error_code& ec) { return local_endpoint(ec); });
}

endpoint tcp_stream::remote_endpoint() const {
  return or_throw("gort: remote_endpoint",
                  [&](std::error_code& ec) { return remote_endpoint(ec); });
}

// ---- Connecting ---------------------------------------------------------------------------------

namespace {

struct Destroy {
  void operator()(Fd* fd) const noexcept { fd->destroy(); }
};
using OwnedFd = std::unique_ptr<Fd, Destroy>;

// Two sockets that connect to each other's port at the same time are connected (RFC 793, 3.4), and
// one socket whose own port happens to be the one it asks for is connected to itself. On loopback,
// with nobody listening, that is rare but real (golang.org/issue/2690).
bool connected_to_itself(Fd& fd) noexcept {
  std::error_code ec;
  const endpoint local = detail::address_of(&fd, sys::local_address, ec);
  if (ec) return false;
  const endpoint remote = detail::address_of(&fd, sys::remote_address, ec);
  return !ec && local == remote;
}

// 0 or -errno; throws gort::stopped.
long connect_once(const endpoint& to, time_point deadline, OwnedFd& out) {
  const SockAddr address(to);
  const int n = sys::socket(address.family(), SOCK_STREAM);
  if (n < 0) return n;
  int error = 0;
  out.reset(Fd::adopt(n, &error));
  if (out == nullptr) return -error;
  if (const int rc = sys::set_option(n, IPPROTO_TCP, TCP_NODELAY, 1); rc < 0) return rc;
  const int rc = sys::connect(n, address.get(), address.bytes);
  // EINTR: the attempt goes on by itself, as after EINPROGRESS.
  if (rc != -EINPROGRESS && rc != -EINTR) return rc;
  if (deadline == time_point::max()) return out->finish_connect();
  (void)out->set_deadline(PollMode::write, detail::deadline_ns(deadline));
  const long result = out->finish_connect();
  (void)out->set_deadline(PollMode::write, INT64_MAX);
  return result;
}

// The first address that works; else the error of the first that was tried.
long connect_any(std::span<const endpoint> addresses, time_point deadline, OwnedFd& out) {
  constexpr int kSelfConnectRetries = 2;
  long first_error = 0;
  for (const endpoint& to : addresses) {
    long result = connect_once(to, deadline, out);
    for (int i = 0; result == 0 && connected_to_itself(*out); ++i) {
      result = i < kSelfConnectRetries ? connect_once(to, deadline, out) : -ECONNREFUSED;
    }
    if (result == 0) return 0;
    out.reset();
    if (first_error == 0) first_error = result;
    if (result == -ETIMEDOUT && std::chrono::steady_clock::now() >= deadline) break;
  }
  return first_error;
}

}  // namespace

tcp_stream tcp_stream::connect(const endpoint& to, time_point deadline, std::error_code& ec) {
  OwnedFd fd;
  (void)settle(connect_any({&to, 1}, deadline, fd), ec);
  return tcp_stream(fd.release());
}

tcp_stream tcp_stream::connect(std::string_view host, uint16_t port, time_point deadline,
                               std::error_code& ec) {
  const std::vector<endpoint> found =
      resolve(host.empty() ? "localhost" : host, std::to_string(port), ec);
  if (ec) return {};
  OwnedFd fd;
  (void)settle(connect_any(found, deadline, fd), ec);
  return tcp_stream(fd.release());
}

tcp_stream tcp_stream::connect(std::string_view host, uint16_t port, std::error_code& ec) {
  return connect(host, port, time_point::max(), ec);
}

tcp_stream tcp_stream::connect(const endpoint& to, std::error_code& ec) {
  return connect(to, time_point::max(), ec);
}

tcp_stream tcp_stream::connect(std::string_view host, uint16_t port, time_point deadline) {
  return or_throw("gort: connect",
                  [&](std::error_code& ec) { return connect(host, port, deadline, ec); });
}

tcp_stream tcp_stream::connect(const endpoint& to, time_point deadline) {
  return or_throw("gort: connect", [&](std::error_code& ec) { return connect(to, deadline, ec); });
}

}  // namespace gort::net
