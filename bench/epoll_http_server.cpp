// epoll_http_server: the floor for HTTP: one thread, one epoll instance, level-triggered, no
// fibers.
//
// It shares parsing and answers with examples/http_server.cpp (examples/http/), so the two differ
// only in how they wait. SIGINT or SIGTERM ends it; then it prints one line of JSON: the requests
// served and the CPU time (user + system) spent per request.
//
//     epoll_http_server [port]        0, the default: any free port; it is named on standard error
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <system_error>
#include <unordered_map>

#include "../examples/http/report.hpp"
#include "../examples/http/session.hpp"

namespace {

constexpr int kEventsMax = 128;
// A response that is cut off (431, 400) is followed by reading to the end, but not for ever.
constexpr size_t kDrainBytesMax = 1024 * 1024;

int check(int result, const char* what) {
  if (result < 0) throw std::system_error(errno, std::generic_category(), what);
  return result;
}

struct Connection {
  int fd = -1;
  bool draining = false;  // the last answer is out; only the peer's end is waited for
  bool blocked = false;   // waits until the socket takes more output
  size_t drained = 0;
  size_t written = 0;
  std::string out;
  http::Session session;
};

class Server {
 public:
  explicit Server(uint16_t port) {
    epoll_ = check(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    listen(port);
    listen_for_signals();
  }
  ~Server() {
    for (auto& [fd, connection] : connections_) ::close(fd);
    ::close(signals_);
    ::close(listener_);
    ::close(epoll_);
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void run() {
    epoll_event events[kEventsMax];
    for (;;) {
      const int n = ::epoll_wait(epoll_, events, kEventsMax, -1);
      if (n < 0 && errno != EINTR) check(n, "epoll_wait");
      for (int i = 0; i < n; ++i) {
        if (events[i].data.ptr == &signals_) return;
        if (events[i].data.ptr == &listener_) {
          accept_all();
        } else {
          serve(*static_cast<Connection*>(events[i].data.ptr));
        }
      }
    }
  }

  [[nodiscard]] uint64_t served() const {
    uint64_t n = served_;
    for (const auto& [fd, connection] : connections_) n += connection->session.served();
    return n;
  }

 private:
  void listen(uint16_t port) {
    listener_ = check(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket");
    const int on = 1;
    check(::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "SO_REUSEADDR");
    // Accepted sockets inherit it.
    check(::setsockopt(listener_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "TCP_NODELAY");
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    check(::bind(listener_, reinterpret_cast<sockaddr*>(&address), length), "bind");
    check(::listen(listener_, SOMAXCONN), "listen");
    check(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length), "getsockname");
    watch(EPOLL_CTL_ADD, listener_, EPOLLIN, &listener_);
    std::fprintf(stderr, "listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
  }

  void listen_for_signals() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    check(::pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0 ? 0 : -1, "pthread_sigmask");
    signals_ = check(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), "signalfd");
    watch(EPOLL_CTL_ADD, signals_, EPOLLIN, &signals_);
  }

  void watch(int op, int fd, uint32_t events, void* who) const {
    epoll_event event{};
    event.events = events;
    event.data.ptr = who;
    check(::epoll_ctl(epoll_, op, fd, &event), "epoll_ctl");
  }

  void accept_all() {
    for (;;) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) {
        if (errno == EINTR || errno == ECONNABORTED) continue;
        if (errno == EMFILE || errno == ENFILE) ::usleep(1000);  // level-triggered: do not spin
        return;
      }
      auto connection = std::make_unique<Connection>();
      connection->fd = fd;
      watch(EPOLL_CTL_ADD, fd, EPOLLIN, connection.get());
      connections_.emplace(fd, std::move(connection));
    }
  }

  void serve(Connection& c) {
    if (c.blocked) {
      write(c);
      return;
    }
    const std::span<char> buffer = c.session.buffer();
    const ssize_t n = ::recv(c.fd, buffer.data(), buffer.size(), 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
      close(c);
    } else if (c.draining) {
      c.drained += static_cast<size_t>(n);
      if (c.drained > kDrainBytesMax) close(c);
    } else {
      c.session.feed(static_cast<size_t>(n), c.out, http::pages);
      write(c);
    }
  }

  void write(Connection& c) {
    while (c.written < c.out.size()) {
      const ssize_t n =
          ::send(c.fd, c.out.data() + c.written, c.out.size() - c.written, MSG_NOSIGNAL);
      if (n < 0) {
        if (errno == EINTR) continue;
        if (errno != EAGAIN) return close(c);
        if (!c.blocked) watch(EPOLL_CTL_MOD, c.fd, EPOLLOUT, &c);
        c.blocked = true;
        return;
      }
      c.written += static_cast<size_t>(n);
    }
    if (c.blocked) watch(EPOLL_CTL_MOD, c.fd, EPOLLIN, &c);
    c.blocked = false;
    c.written = 0;
    c.out.clear();
    if (c.session.closing()) {
      ::shutdown(c.fd, SHUT_WR);
      c.draining = true;
    }
  }

  void close(Connection& c) {
    served_ += c.session.served();
    const int fd = c.fd;
    connections_.erase(fd);
    ::close(fd);
  }

  int epoll_ = -1;
  int listener_ = -1;
  int signals_ = -1;
  uint64_t served_ = 0;
  std::unordered_map<int, std::unique_ptr<Connection>> connections_;
};

}  // namespace

int main(int argc, char** argv) try {
  const unsigned long port = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 0;
  if (argc > 2 || port > 65535) {
    std::fprintf(stderr, "usage: %s [port]\n", argv[0]);
    return 1;
  }
  Server server(static_cast<uint16_t>(port));
  server.run();
  http::report("epoll", 1, server.served());
  return 0;
} catch (const std::system_error& error) {
  std::fprintf(stderr, "epoll_http_server: %s\n", error.what());
  return 1;
}
