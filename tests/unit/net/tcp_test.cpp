// Streams and listeners: what arrives, how it ends, what the errors are.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <numeric>
#include <string>
#include <vector>

#include "net/net_fixture.hpp"

namespace gort::net::testing {
namespace {

class Tcp : public NetTest {};
INSTANTIATE_TEST_SUITE_P(Procs, Tcp, ::testing::Values(1, 2));

void echo(tcp_stream s) {
  char buffer[512];
  while (const size_t n = s.read_some(buffer)) s.write(std::string_view(buffer, n));
}

TEST_P(Tcp, EchoesRoundTrips) {
  in_fibers([] {
    Pair p = connected_pair();
    auto server = gort::spawn(echo, std::move(p.server));
    for (int i = 0; i < 200; ++i) {
      const std::string message = "message " + std::to_string(i);
      EXPECT_EQ(p.client.write(message), message.size());
      EXPECT_EQ(read_string(p.client, message.size()), message);
    }
    p.client.shutdown_write();
    char byte;
    EXPECT_EQ(p.client.read_some(std::span<char>(&byte, 1)), 0U);
    server.get();
  });
}

// Far more than the socket buffers hold, both ways at once: short reads and writes, and waits for
// both.
TEST_P(Tcp, MovesAllOfALargeBufferBothWays) {
  in_fibers([] {
    constexpr size_t kBytes = 16 * 1024 * 1024;
    std::vector<char> sent(kBytes);
    std::iota(sent.begin(), sent.end(), 0);
    Pair p = connected_pair();
    const auto send = [&](tcp_stream& s) {
      EXPECT_EQ(s.write(std::string_view(sent.data(), kBytes)), kBytes);
      s.shutdown_write();
    };
    const auto receive = [&](tcp_stream& s) {
      std::vector<char> got(kBytes);
      EXPECT_EQ(s.read(got), kBytes);
      EXPECT_TRUE(got == sent);
      EXPECT_EQ(s.read(got), 0U);
    };
    auto a = gort::spawn([&] { send(p.client); });
    auto b = gort::spawn([&] { receive(p.client); });
    auto c = gort::spawn([&] { send(p.server); });
    receive(p.server);
    a.get();
    b.get();
    c.get();
  });
}

TEST_P(Tcp, HalfClosedPeerStillGetsItsAnswer) {
  in_fibers([] {
    Pair p = connected_pair();
    p.client.write("question");
    p.client.shutdown_write();
    EXPECT_EQ(read_string(p.server, 100), "question");
    p.server.write("answer");
    p.server.close();
    EXPECT_EQ(read_string(p.client, 100), "answer");
  });
}

// E2 in fd.hpp: data and end arrive together, and the read that takes the data is a short one.
TEST_P(Tcp, EndThatComesWithTheDataIsSeen) {
  in_fibers([] {
    Pair p = connected_pair();
    char buffer[64];
    p.client.write("a");
    p.client.shutdown_write();
    EXPECT_EQ(p.server.read_some(buffer), 1U);
    EXPECT_EQ(p.server.read_some(buffer), 0U);
    EXPECT_EQ(p.server.read_some(buffer), 0U);
  });
}

TEST_P(Tcp, EndThatComesWithLaterDataIsSeen) {
  in_fibers([] {
    for (int i = 0; i < 100; ++i) {
      Pair p = connected_pair();
      auto reader = gort::spawn([&] {
        char buffer[64];
        size_t total = 0;
        while (const size_t n = p.server.read_some(buffer)) total += n;
        return total;
      });
      let_others_run();
      p.client.write("one");
      if (i % 2 == 0) let_others_run();
      p.client.write("two");
      p.client.close();
      EXPECT_EQ(reader.get(), 6U);
    }
  });
}

// E1: after a short read the next one waits for an edge, and the edge comes.
// P1: nor is one lost that comes while the reader is about to wait.
TEST_P(Tcp, ShortReadsLoseNothing) {
  in_fibers([] {
    Pair p = connected_pair();
    auto writer = gort::spawn([&] {
      for (int i = 0; i < 5000; ++i) {
        p.client.write(std::string_view("0123456789", static_cast<size_t>(i % 10 + 1)));
        if (i % 3 == 0) gort::yield();
      }
      p.client.shutdown_write();
    });
    size_t total = 0;
    char buffer[64];
    while (const size_t n = p.server.read_some(buffer)) total += n;
    EXPECT_EQ(total, 27500U);
    writer.get();
  });
}

TEST_P(Tcp, EmptyBufferIsNotTheEnd) {
  in_fibers([] {
    Pair p = connected_pair();
    std::error_code ec = std::make_error_code(std::errc::io_error);
    EXPECT_EQ(p.client.read_some(std::span<std::byte>(), ec), 0U);
    EXPECT_FALSE(ec);
    EXPECT_EQ(p.client.write_some(std::string_view(), ec), 0U);
    EXPECT_FALSE(ec);
  });
}

TEST_P(Tcp, ResetIsAnErrorAndNoSignal) {
  in_fibers([] {
    Pair p = connected_pair();
    const linger now{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(p.client.native_handle(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    p.client.close();
    std::error_code ec;
    char buffer[8];
    EXPECT_EQ(p.server.read_some(buffer, ec), 0U);
    EXPECT_EQ(ec, std::errc::connection_reset);
    p.server.write("x", ec);
    EXPECT_EQ(ec, std::errc::broken_pipe);
  });
}

TEST_P(Tcp, ConnectRefused) {
  in_fibers([] {
    auto listener = tcp_listener::listen("127.0.0.1", 0);
    const endpoint nobody = listener.local_endpoint();
    listener.close();
    std::error_code ec;
    EXPECT_FALSE(tcp_stream::connect(nobody, ec).is_open());
    EXPECT_EQ(ec, std::errc::connection_refused);
    EXPECT_THROW((void)tcp_stream::connect(nobody), std::system_error);
  });
}

TEST_P(Tcp, PortInUse) {
  in_fibers([] {
    auto first = tcp_listener::listen("127.0.0.1", 0);
    std::error_code ec;
    auto second = tcp_listener::listen("127.0.0.1", first.local_endpoint().port(), ec);
    EXPECT_EQ(ec, std::errc::address_in_use);
    EXPECT_FALSE(second.is_open());
  });
}

// close() returns once the descriptor is closed, so the port is free again.
TEST_P(Tcp, PortIsFreeAfterClose) {
  in_fibers([] {
    auto first = tcp_listener::listen("127.0.0.1", 0);
    const uint16_t port = first.local_endpoint().port();
    auto accepter = gort::spawn([&] {
      std::error_code ec;
      (void)first.accept(ec);
      return ec;
    });
    let_others_run();
    first.close();
    EXPECT_TRUE(tcp_listener::listen("127.0.0.1", port).is_open());
    EXPECT_EQ(accepter.get(), std::errc::operation_canceled);
  });
}

TEST_P(Tcp, ListensOnEveryAddress) {
  in_fibers([] {
    auto listener = tcp_listener::listen("", 0);
    auto client = tcp_stream::connect("127.0.0.1", listener.local_endpoint().port());
    auto server = listener.accept();
    client.write("x");
    EXPECT_EQ(read_string(server, 1), "x");
  });
}

TEST_P(Tcp, ConnectsByName) {
  in_fibers([] {
    auto listener = tcp_listener::listen("127.0.0.1", 0);
    auto client = tcp_stream::connect("localhost", listener.local_endpoint().port());
    EXPECT_TRUE(client.is_open());
  });
}

TEST_P(Tcp, EndpointsOfBothSidesAgree) {
  in_fibers([] {
    Pair p = connected_pair();
    EXPECT_EQ(p.client.local_endpoint(), p.server.remote_endpoint());
    EXPECT_EQ(p.client.remote_endpoint(), p.server.local_endpoint());
    EXPECT_EQ(p.client.local_endpoint().address(), "127.0.0.1");
  });
}

TEST_P(Tcp, SmallWritesAreNotDelayed) {
  in_fibers([] {
    Pair p = connected_pair();
    for (tcp_stream* s : {&p.client, &p.server}) {
      int on = 0;
      socklen_t bytes = sizeof on;
      ::getsockopt(s->native_handle(), IPPROTO_TCP, TCP_NODELAY, &on, &bytes);
      EXPECT_EQ(on, 1);
    }
    p.client.set_no_delay(false);
  });
}

// Reads take turns, and write() is not interleaved with another.
TEST_P(Tcp, FibersShareAStream) {
  in_fibers([] {
    constexpr size_t kBlock = 100'000;
    Pair p = connected_pair();
    std::vector<gort::task<void>> writers;
    for (const char c : {'a', 'b', 'c', 'd'}) {
      writers.push_back(gort::spawn([&p, c] { p.client.write(std::string(kBlock, c)); }));
    }
    std::string order;
    for (size_t i = 0; i < writers.size(); ++i) {
      const std::string block = read_string(p.server, kBlock);
      EXPECT_EQ(block, std::string(kBlock, block[0]));
      order += block[0];
    }
    EXPECT_EQ(order.size(), 4U);
    for (auto& w : writers) w.get();

    std::vector<gort::task<size_t>> readers;
    for (int i = 0; i < 4; ++i) {
      readers.push_back(gort::spawn([&p] { return read_string(p.server, 1000).size(); }));
    }
    p.client.write(std::string(4000, 'x'));
    for (auto& r : readers) EXPECT_EQ(r.get(), 1000U);
  });
}

TEST_P(Tcp, HandleWithoutSocket) {
  in_fibers([] {
    tcp_stream none;
    std::error_code ec;
    char buffer[8];
    EXPECT_EQ(none.read_some(buffer, ec), 0U);
    EXPECT_EQ(ec, std::errc::bad_file_descriptor);
    EXPECT_THROW(none.write("x"), std::system_error);
    EXPECT_FALSE(none.is_open());
    EXPECT_EQ(none.native_handle(), -1);
    none.close();
    tcp_listener no_listener;
    (void)no_listener.accept(ec);
    EXPECT_EQ(ec, std::errc::bad_file_descriptor);
  });
}

TEST_P(Tcp, MovedHandleTakesTheSocketAlong) {
  in_fibers([] {
    Pair p = connected_pair();
    tcp_stream moved = std::move(p.client);
    EXPECT_FALSE(p.client.is_open());
    moved.write("x");
    EXPECT_EQ(read_string(p.server, 1), "x");
    moved = tcp_stream();
    EXPECT_EQ(read_string(p.server, 1), "");
  });
}

}  // namespace
}  // namespace gort::net::testing
