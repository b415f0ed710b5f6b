// Deadlines: sticky, effective on calls under way, and stronger than data that is there.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vector>

#include "net/net_fixture.hpp"

namespace gort::net::testing {
namespace {

class Deadline : public NetTest {};
INSTANTIATE_TEST_SUITE_P(Procs, Deadline, ::testing::Values(1, 2));

TEST_P(Deadline, EndsAReadThatWaits) {
  in_fibers([] {
    Pair p = connected_pair();
    const time_point when = in(kSoon);
    p.server.set_deadline(when);
    std::error_code ec;
    char buffer[8];
    p.server.read_some(buffer, ec);
    EXPECT_EQ(ec, std::errc::timed_out);
    EXPECT_GE(std::chrono::steady_clock::now(), when);
    // Sticky.
    p.server.read_some(buffer, ec);
    EXPECT_EQ(ec, std::errc::timed_out);
    p.server.write("x", ec);
    EXPECT_EQ(ec, std::errc::timed_out);
  });
}

// Its timer belongs to a runtime, the deadline does not.
TEST_P(Deadline, HoldsInARuntimeThatStartsLater) {
  Pair p = connected_pair();
  p.server.set_read_deadline(in(kSoon));
  const auto read = [&p] {
    std::error_code ec;
    char buffer[8];
    p.server.read_some(buffer, ec);
    EXPECT_EQ(ec, std::errc::timed_out);
  };
  in_fibers(read);
  in_fibers([&p] { p.server.set_read_deadline(in(kSoon)); });
  in_fibers(read);
}

TEST_P(Deadline, IsStrongerThanData) {
  in_fibers([] {
    Pair p = connected_pair();
    p.client.write("x");
    p.server.set_read_deadline(in(-kSoon));
    std::error_code ec;
    char buffer[8];
    EXPECT_EQ(p.server.read_some(buffer, ec), 0U);
    EXPECT_EQ(ec, std::errc::timed_out);
    p.server.set_read_deadline(time_point::min());
    p.server.read_some(buffer, ec);
    EXPECT_EQ(ec, std::errc::timed_out);
    p.server.write("the other direction has none");
    p.server.set_deadline(time_point::max());
    EXPECT_EQ(p.server.read_some(buffer), 1U);
  });
}

TEST_P(Deadline, EndsAWriteThatWaits) {
  in_fibers([] {
    Pair p = connected_pair();
    fill(p.client);
    p.client.set_write_deadline(in(kSoon));
    EXPECT_EQ(write_on(p.client), std::errc::timed_out);
  });
}

TEST_P(Deadline, EndsAnAcceptAndCanBeMoved) {
  in_fibers([] {
    auto listener = tcp_listener::listen("127.0.0.1", 0);
    listener.set_deadline(in(kSoon));
    std::error_code ec;
    (void)listener.accept(ec);
    EXPECT_EQ(ec, std::errc::timed_out);
    listener.set_deadline(in(kLong));
    auto client = tcp_stream::connect(listener.local_endpoint());
    EXPECT_TRUE(listener.accept().is_open());
  });
}

TEST_P(Deadline, CanBeMovedEarlierUnderWay) {
  in_fibers([] {
    Pair p = connected_pair();
    p.server.set_deadline(in(kLong));
    auto reader = gort::spawn([&] {
      char buffer[8];
      std::error_code ec;
      p.server.read_some(buffer, ec);
      return ec;
    });
    let_others_run();
    p.server.set_deadline(in(kSoon));
    EXPECT_EQ(reader.get(), std::errc::timed_out);
  });
}

TEST_P(Deadline, InThePastEndsAReadUnderWay) {
  in_fibers([] {
    Pair p = connected_pair();
    auto reader = gort::spawn([&] {
      char buffer[8];
      std::error_code ec;
      p.server.read_some(buffer, ec);
      return ec;
    });
    let_others_run();
    p.server.set_deadline(in(-kSoon));
    EXPECT_EQ(reader.get(), std::errc::timed_out);
  });
}

// P1 in netpoll.cpp: data comes when the deadline has ended the wait, and the reader has not run yet.
// With one proc always: the timer is due and the descriptor ready when the test's fiber parks.
TEST_P(Deadline, DataThatComesWithItIsThereForTheNextRead) {
  in_fibers([] {
    Pair other = connected_pair();  // its reader keeps the poller at work
    auto waits = gort::spawn([&] { EXPECT_EQ(read_string(other.server, 1), "z"); });
    for (int round = 0; round < 20; ++round) {
      Pair p = connected_pair();
      p.client.write("x");
      char buffer[8];
      ASSERT_EQ(p.server.read_some(buffer), 1U);  // short: the next one waits without asking
      const time_point limit = in(std::chrono::milliseconds(2));
      p.server.set_deadline(limit);
      std::error_code ec;
      size_t n = 0;
      auto reader = gort::spawn([&] { n = p.server.read_some(buffer, ec); });
      let_others_run();
      while (std::chrono::steady_clock::now() <= limit) {
      }
      p.client.write("y");
      reader.get();
      if (ec == std::errc::timed_out) {
        p.server.set_deadline(in(std::chrono::seconds(5)));
        n = p.server.read_some(buffer, ec);
      }
      ASSERT_EQ(ec, std::error_code{}) << "the edge was lost, round " << round;
      ASSERT_EQ(n, 1U);
    }
    other.client.write("z");
    waits.get();
  });
}

// On a machine so busy that the first deadline passes before it is moved, the attempt is repeated.
TEST_P(Deadline, CanBeMovedLaterUnderWay) {
  in_fibers([] {
    for (auto limit = std::chrono::steady_clock::duration(kSoon);; limit *= 2) {
      Pair p = connected_pair();
      const time_point first = in(limit);
      p.server.set_deadline(first);
      std::error_code ec;
      auto reader = gort::spawn([&] {
        char byte;
        return p.server.read_some(std::span<char>(&byte, 1), ec);
      });
      let_others_run();
      p.server.set_deadline(in(kLong));
      const bool in_time = std::chrono::steady_clock::now() < first;
      gort::sleep_until(first + kSoon);
      p.client.write("x");
      const size_t n = reader.get();
      if (!in_time) continue;
      EXPECT_EQ(n, 1U) << ec.message();
      return;
    }
  });
}

// A listener whose queue is full answers no more; connecting waits.
TEST_P(Deadline, EndsAConnect) {
  in_fibers([] {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof address;
    ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), bytes), 0);
    ASSERT_EQ(::listen(fd, 0), 0);
    ASSERT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &bytes), 0);
    const endpoint to("127.0.0.1", ntohs(address.sin_port));
    std::vector<tcp_stream> waiting;
    std::error_code ec;
    for (int i = 0; i < 10 && !ec; ++i) {
      waiting.push_back(tcp_stream::connect(to, in(10 * kSoon), ec));
    }
    EXPECT_EQ(ec, std::errc::timed_out);
    ::close(fd);
  });
}

}  // namespace
}  // namespace gort::net::testing
