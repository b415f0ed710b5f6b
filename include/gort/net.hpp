// TCP for fibers: listeners, streams, endpoints and name resolution.
//
// Every call looks like a blocking one and blocks only the fiber (or the thread, when called from
// an ordinary one). The rules that hold for all of them:
//
//   errors       Each call comes twice: the plain form throws std::system_error; the form with a
//                trailing std::error_code& reports there (and clears it on success). Both throw
//                gort::stopped when the fiber is asked to stop while it waits.
//   end          Reading 0 bytes into a buffer that is not empty is the end of the stream, not an
//                error.
//   deadlines    A point in time, sticky until moved, effective on calls under way; a passed one
//                makes every call fail with std::errc::timed_out, also when data is there.
//                time_point::max() removes it.
//   close()      Wakes everybody who waits for the socket: their calls, and all later ones, fail
//                with std::errc::operation_canceled. Returns once the descriptor is closed, or released (fd.hpp).
//   concurrency  Any number of fibers and threads may use one socket. Reads take turns, and so do
//                writes; read() and write() are not interleaved with others of their kind. Moving
//                and destroying are not such uses.
//   default      A default-constructed or moved-from handle fails with
//                std::errc::bad_file_descriptor.
//   memory       Whatever waits fails with not_enough_memory, or no_space_on_device (no more
//                descriptors may be watched: /proc/sys/fs/epoll/max_user_watches), if the kernel does
//                not let the poller watch the socket. The socket stays usable.
//
// No call ever raises SIGPIPE.
#pragma once

#include <array>
#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "gort/export.hpp"
#include "gort/fd.hpp"

namespace gort::net {

namespace detail {
struct SockAddr;
}  // namespace detail

// Deadlines are of the monotonic clock.
using time_point = std::chrono::steady_clock::time_point;

// An IPv4 or IPv6 address with a port. A value.
class GORT_API endpoint {
 public:
  endpoint() noexcept = default;  // 0.0.0.0:0
  // A numeric address: "127.0.0.1", "::1", "fe80::1%eth0". Throws std::system_error
  // (invalid_argument).
  endpoint(std::string_view address, uint16_t port);
  endpoint(std::string_view address, uint16_t port, std::error_code& ec);

  // The address without the port: "127.0.0.1", "::1".
  [[nodiscard]] std::string address() const;
  // The port, in the host's order.
  [[nodiscard]] uint16_t port() const noexcept { return port_; }
  // True: an IPv6 address; false: IPv4.
  [[nodiscard]] bool is_v6() const noexcept { return v6_; }
  // Address and port: "127.0.0.1:8080", "[::1]:8080".
  [[nodiscard]] std::string to_string() const;

  // Equal: the same address, scope and port. The order is one, and means nothing else.
  friend auto operator<=>(const endpoint&, const endpoint&) noexcept = default;

 private:
  friend struct detail::SockAddr;
  bool v6_ = false;
  std::array<unsigned char, 16> bytes_{};  // network order; IPv4 uses the first four
  uint32_t scope_ = 0;
  uint16_t port_ = 0;
};

// The addresses of a host, in the order in which they should be tried. A numeric host and port
// never wait; names go to getaddrinfo while the fiber's P runs others. Nothing ends that before the
// resolver itself does, which may take half a minute (resolv.conf(5)): no deadline, and a stop request
// not before the next wait. host "" is every local address; service is a port number or a name such as
// "http". Errors of the resolver have resolve_category().
[[nodiscard]] GORT_API std::vector<endpoint> resolve(std::string_view host,
                                                     std::string_view service);
[[nodiscard]] GORT_API std::vector<endpoint> resolve(std::string_view host,
                                                     std::string_view service, std::error_code& ec);
// Values are those of getaddrinfo (EAI_NONAME, ...).
[[nodiscard]] GORT_API const std::error_category& resolve_category() noexcept;

// A connected TCP socket; reads, writes, deadlines and closing are those of fd. Small writes go out at once (TCP_NODELAY) unless
// set_no_delay(false).
class GORT_API tcp_stream : public fd {
 public:
  tcp_stream() noexcept = default;  // no socket
  // Would make an fd.
  static tcp_stream adopt(int number) = delete;
  static tcp_stream adopt(int number, std::error_code& ec) = delete;

  // Tries every address of the host in turn, until the deadline. While a name is looked up, neither the deadline nor a
  // stop request ends the call: see resolve().
  [[nodiscard]] static tcp_stream connect(std::string_view host, uint16_t port,
                                          time_point deadline = time_point::max());
  [[nodiscard]] static tcp_stream connect(std::string_view host, uint16_t port,
                                          std::error_code& ec);
  [[nodiscard]] static tcp_stream connect(std::string_view host, uint16_t port, time_point deadline,
                                          std::error_code& ec);
  [[nodiscard]] static tcp_stream connect(const endpoint& to,
                                          time_point deadline = time_point::max());
  [[nodiscard]] static tcp_stream connect(const endpoint& to, std::error_code& ec);
  [[nodiscard]] static tcp_stream connect(const endpoint& to, time_point deadline,
                                          std::error_code& ec);

  // The peer reads the end of the stream; we may read on.
  void shutdown_write();
  void shutdown_write(std::error_code& ec);

  // TCP_NODELAY: false lets the kernel gather small writes.
  void set_no_delay(bool on);
  void set_no_delay(bool on, std::error_code& ec);

  // Our address and port.
  [[nodiscard]] endpoint local_endpoint() const;
  [[nodiscard]] endpoint local_endpoint(std::error_code& ec) const;
  // The peer's.
  [[nodiscard]] endpoint remote_endpoint() const;
  [[nodiscard]] endpoint remote_endpoint(std::error_code& ec) const;

 private:
  friend class tcp_listener;
  explicit tcp_stream(detail::Fd* opened) noexcept : fd(opened) {}
};

// A TCP socket that accepts connections.
class GORT_API tcp_listener {
 public:
  tcp_listener() noexcept = default;  // no socket
  tcp_listener(tcp_listener&& other) noexcept : fd_(std::exchange(other.fd_, nullptr)) {}
  tcp_listener& operator=(tcp_listener&& other) noexcept;
  ~tcp_listener();  // closes

  // host "" listens on every local address, IPv6 and IPv4 alike; a name on its first address that
  // works, but on none behind one where the port is taken: that fails (address_in_use). Port 0: any free
  // one, see local_endpoint(). SO_REUSEADDR is set.
  [[nodiscard]] static tcp_listener listen(std::string_view host, uint16_t port);
  [[nodiscard]] static tcp_listener listen(std::string_view host, uint16_t port,
                                           std::error_code& ec);
  [[nodiscard]] static tcp_listener listen(const endpoint& at);
  [[nodiscard]] static tcp_listener listen(const endpoint& at, std::error_code& ec);

  // Waits for a connection. One that has failed before it was taken is passed over. Without a
  // descriptor or memory left (too_many_files_open, too_many_files_open_in_system, not_enough_memory,
  // no_buffer_space), or when a firewall forbids the connection (operation_not_permitted), it fails and
  // the listener stays usable: wait a little and go on.
  [[nodiscard]] tcp_stream accept();
  [[nodiscard]] tcp_stream accept(std::error_code& ec);

  // Closes the socket and wakes who waits in accept() (above). Does nothing without a socket.
  void close() noexcept;
  // Whether there is a socket that has not been closed.
  [[nodiscard]] bool is_open() const noexcept;

  // Until when accept() may take (above).
  void set_deadline(time_point when);
  void set_deadline(time_point when, std::error_code& ec);

  // Where it listens; with the port that was chosen, if it was to be any.
  [[nodiscard]] endpoint local_endpoint() const;
  [[nodiscard]] endpoint local_endpoint(std::error_code& ec) const;
  // As fd::native_handle().
  [[nodiscard]] int native_handle() const noexcept;

 private:
  explicit tcp_listener(detail::Fd* fd) noexcept : fd_(fd) {}
  detail::Fd* fd_ = nullptr;
};

}  // namespace gort::net
