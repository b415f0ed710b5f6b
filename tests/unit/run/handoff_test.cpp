// What hand-off promises about time: fifty fibers that block their threads for a second, and a server on the same two Ps
// that goes on answering; the fifty need hardly longer than one.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "gort/net.hpp"
#include "gort/spawn.hpp"
#include "http/session.hpp"
#include "support/scheduler_test.hpp"
#include "support/standstill.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr int kFibers = 50;
constexpr auto kBlocked = 1s;
constexpr auto kTotalMax = 1500ms;
constexpr auto kRequestEvery = 1ms;
constexpr double kP99MsMax = 20;

double ms_of(steady_clock::duration d) {
  return std::chrono::duration<double, std::milli>(d).count();
}

void serve(net::tcp_listener& listener) {
  net::tcp_stream peer = listener.accept();
  http::Session session;
  std::string out;
  while (!session.closing()) {
    const size_t n = peer.read_some(session.buffer());
    if (n == 0) return;
    session.feed(n, out, http::pages);
    peer.write(out);
    out.clear();
  }
}

// A client that keeps its connection, on a thread of its own: a request every millisecond, until it is told to end. One
// whose predecessor was late counts from when it should have been sent, so a pause shows in all that fall into it.
class Client {
 public:
  explicit Client(uint16_t port) : thread_([this, port] { ask(port); }) {}
  // The answers' times in milliseconds, the longest last, without those in which the machine stood still.
  std::vector<double> finish() {
    over_.store(true, std::memory_order_relaxed);
    thread_.join();
    std::vector<double> ms;
    for (const Answer& a : answers_) {
      ms.push_back(
          static_cast<double>(a.to_ns - a.from_ns - standstills_.within(a.from_ns, a.to_ns)) / 1e6);
    }
    std::sort(ms.begin(), ms.end());
    return ms;
  }

 private:
  void ask(uint16_t port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    const timeval limit{.tv_sec = std::chrono::seconds(test::kPatience).count(), .tv_usec = 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    auto due = steady_clock::now();
    for (bool good = true; good && !over_.load(std::memory_order_relaxed); due += kRequestEvery) {
      auto from = due;
      if (due > steady_clock::now()) {
        std::this_thread::sleep_until(due);
        from = steady_clock::now();
      }
      good = ask_once(fd);
      answers_.push_back({from.time_since_epoch().count(), test::now_ns()});
    }
    ::close(fd);
  }

  static bool ask_once(int fd) {
    constexpr std::string_view kRequest = "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n";
    EXPECT_EQ(::send(fd, kRequest.data(), kRequest.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(kRequest.size()));
    std::string answer;
    char buffer[1024];
    while (!answer.ends_with("Hello, World!")) {
      const ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
      EXPECT_GT(n, 0) << "no answer, only: " << answer;
      if (n <= 0) return false;
      answer.append(buffer, static_cast<size_t>(n));
    }
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 ")) << answer;
    return true;
  }

  std::atomic<bool> over_{false};
  struct Answer {
    int64_t from_ns, to_ns;
  };
  std::vector<Answer> answers_;
  test::Standstills standstills_;
  std::thread thread_;
};

class HandoffAlone : public testing::Test {
 protected:
  void SetUp() override {
    if (test::kSanitizers) GTEST_SKIP() << "a sanitizer takes its time";
  }

  // Runs block(i) in each of the fifty, which tells whether its call was not cut short.
  template <class Block>
  static void fifty(const char* name, Block&& block) {
    run({.procs = 2, .slice = 10ms}, [&] {
      auto listener = net::tcp_listener::listen("127.0.0.1", 0);
      auto server = spawn([&listener] { serve(listener); });
      Client client(listener.local_endpoint().port());
      std::atomic<int> interrupted{0};
      std::vector<task<void>> fibers;
      fibers.reserve(kFibers);
      const auto start = steady_clock::now();
      for (int i = 0; i < kFibers; ++i) {
        fibers.push_back(spawn([&block, &interrupted, i] {
          if (!block(i)) interrupted.fetch_add(1, std::memory_order_relaxed);
        }));
      }
      for (auto& f : fibers) f.join();
      const double total_ms = ms_of(steady_clock::now() - start);
      const std::vector<double> ms = client.finish();
      server.join();
      ASSERT_FALSE(ms.empty());
      const double p99_ms = ms[ms.size() * 99 / 100];
      std::printf(
          "%s: %zu answers, p50 %.2f, p99 %.2f, longest %.2f ms; all fifty done in %.0f ms\n", name,
          ms.size(), ms[ms.size() / 2], p99_ms, ms.back(), total_ms);
      EXPECT_EQ(interrupted.load(), 0) << "so many calls were cut short";
      EXPECT_GE(ms.size(), 100U) << "the server has hardly answered while the fifty blocked";
      EXPECT_LT(p99_ms, kP99MsMax) << "p99 of the server beside fifty blocked fibers, in ms";
      EXPECT_LT(total_ms, ms_of(kTotalMax))
          << "the fifty should need hardly longer than one, " << ms_of(kBlocked);
    });
  }
};

TEST_F(HandoffAlone, FiftySleepersAndAServer) {
  fifty("fifty in sleep(1)",
        [](int) { return ::sleep(std::chrono::seconds(kBlocked).count()) == 0; });
}

TEST_F(HandoffAlone, FiftyReadersAndAServer) {
  std::array<int[2], kFibers> pipes;
  for (auto& ends : pipes) ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  std::thread feeder([&pipes] {
    std::this_thread::sleep_for(kBlocked);
    for (const auto& ends : pipes) EXPECT_EQ(::write(ends[1], "x", 1), 1);
  });
  fifty("fifty in read(2)", [&pipes](int i) {
    char byte = 0;
    const ssize_t n = ::read(pipes[static_cast<size_t>(i)][0], &byte, 1);
    return n == 1 && byte == 'x';
  });
  feeder.join();
  for (const auto& ends : pipes) {
    ::close(ends[0]);
    ::close(ends[1]);
  }
}

}  // namespace
}  // namespace gort
