// blocked: an echo server beside 50 fibers that read from pipes with read(2), which blocks their threads. Microseconds
// that a request takes: median, 99th percentile, maximum; and what gort::blocking(f) costs where f does nothing.
//
// A byte comes to each pipe once a second, to one of them every 20 ms, and its fiber reads again at once. The client, a
// thread that is none of gort's, sends a request every millisecond. If the answer before it was late, the request counts
// from when it should have been sent: a pause of the server shows in all the requests that fall into it.
//
// gort is a plain read(2), and the hand-off of Ps whose threads block; gort.blocking the same inside gort::blocking();
// threads a thread for each reader and for the connection. The Go peer's client is a process of its own.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <gort/gort.hpp>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "harness.hpp"
#include "slice.hpp"

namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr int kReaders = 50;
constexpr auto kFeedEvery = 20ms;  // one of them; so each waits for a second
constexpr auto kRequestEvery = 1ms;
constexpr int64_t kUsualSeconds = 3;
constexpr std::string_view kRequest = "0123456789abcdef";
constexpr int64_t kCalls = 200'000;

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::_Exit(1);
}

// What the readers read from, and the thread that writes to it.
class Pipes {
 public:
  Pipes() {
    for (auto& ends : ends_) {
      if (::pipe2(ends, O_CLOEXEC) != 0) fail("pipe2");
    }
    feeder_ = std::jthread([this](const std::stop_token& over) {
      for (int i = 0; !over.stop_requested(); i = (i + 1) % kReaders) {
        std::this_thread::sleep_for(kFeedEvery);
        if (::write(ends_[i][1], "x", 1) != 1) fail("write to a pipe");
      }
    });
  }
  ~Pipes() {
    for (auto& ends : ends_) ::close(ends[0]);
  }
  Pipes(const Pipes&) = delete;
  Pipes& operator=(const Pipes&) = delete;

  [[nodiscard]] int reading_end(int i) const { return ends_[i][0]; }
  // Every reader sees the end.
  void finish() {
    feeder_.request_stop();
    feeder_.join();
    for (auto& ends : ends_) ::close(ends[1]);
  }

 private:
  int ends_[kReaders][2];
  std::jthread feeder_;
};

ssize_t read_one(int fd) {
  char byte;
  return ::read(fd, &byte, 1);
}

void read_all(int fd) {
  while (read_one(fd) == 1) {
  }
}

void read_all_in_blocking(int fd) {
  while (gort::blocking([fd] { return read_one(fd); }) == 1) {
  }
}

int connect_to(uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd < 0 || ::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) fail("connect");
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

// How long each request took, in microseconds.
std::vector<double> requests(uint16_t port) {
  const int fd = connect_to(port);
  std::vector<double> us;
  char answer[kRequest.size()];
  auto due = steady_clock::now();
  const auto end = due + std::chrono::seconds(bench::seconds(kUsualSeconds));
  for (; due < end; due += kRequestEvery) {
    auto from = due;
    if (due > steady_clock::now()) {
      std::this_thread::sleep_until(due);
      from = steady_clock::now();  // when this thread wakes is not the server's doing
    }
    if (::send(fd, kRequest.data(), kRequest.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(kRequest.size()))
      fail("send");
    if (::recv(fd, answer, sizeof answer, MSG_WAITALL) != sizeof answer) fail("receive");
    us.push_back(std::chrono::duration<double, std::micro>(steady_clock::now() - from).count());
  }
  ::close(fd);
  return us;
}

void report(const char* impl, int procs, std::vector<double> us) {
  bench::report("blocked_p50", impl, procs, bench::quantile(us, 0.5), "us");
  bench::report("blocked_p99", impl, procs, bench::quantile(us, 0.99), "us");
  bench::report("blocked_max", impl, procs, bench::quantile(us, 1), "us");
}

void echo(gort::net::tcp_listener& listener) {
  gort::net::tcp_stream peer = listener.accept();
  char buffer[4096];
  while (const size_t n = peer.read_some(buffer)) peer.write(std::string_view(buffer, n));
}

enum class How { plain, blocking };

std::vector<double> fibers(int procs, How how) {
  std::vector<double> us;
  gort::run({.procs = procs, .slice = bench::slice()}, [&us, how] {
    Pipes pipes;
    auto listener = gort::net::tcp_listener::listen("127.0.0.1", 0);
    auto server = gort::spawn([&listener] { echo(listener); });
    std::vector<gort::task<void>> readers;
    readers.reserve(kReaders);
    for (int i = 0; i < kReaders; ++i) {
      readers.push_back(
          gort::spawn(how == How::plain ? read_all : read_all_in_blocking, pipes.reading_end(i)));
    }
    std::thread client([&us, &pipes, port = listener.local_endpoint().port()] {
      us = requests(port);
      pipes.finish();
    });
    server.join();
    for (auto& reader : readers) reader.join();
    client.join();
  });
  return us;
}

std::vector<double> threads() {
  Pipes pipes;
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof at;
  if (::bind(listener, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 ||
      ::listen(listener, 1) != 0 ||
      ::getsockname(listener, reinterpret_cast<sockaddr*>(&at), &bytes) != 0) {
    fail("listen");
  }
  std::jthread server([listener] {
    const int peer = ::accept(listener, nullptr, nullptr);
    char buffer[4096];
    for (ssize_t n = 0; (n = ::recv(peer, buffer, sizeof buffer, 0)) > 0;) {
      if (::send(peer, buffer, static_cast<size_t>(n), MSG_NOSIGNAL) != n) fail("send");
    }
    ::close(peer);
    ::close(listener);
  });
  std::vector<std::jthread> readers;
  readers.reserve(kReaders);
  for (int i = 0; i < kReaders; ++i) readers.emplace_back(read_all, pipes.reading_end(i));
  std::vector<double> us = requests(ntohs(at.sin_port));
  pipes.finish();
  for (auto& reader : readers) reader.join();
  return us;
}

// Nobody else wants the P.
double empty_call_ns(int procs) {
  return gort::run({.procs = procs, .slice = bench::slice()}, [] {
    return bench::median_ns(kCalls, [] {
      for (int64_t i = 0; i < kCalls; ++i) gort::blocking([] {});
    });
  });
}

}  // namespace

int main() {
  for (const int procs : {1, 2}) {
    bench::report("blocked_call", "gort", procs, empty_call_ns(procs));
    report("gort", procs, fibers(procs, How::plain));
    report("gort.blocking", procs, fibers(procs, How::blocking));
    report("threads", procs, threads());
  }
}
