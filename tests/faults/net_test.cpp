// Sockets under faults: what accept() passes over and what it reports, streams that move a byte at a
// time, interrupted calls, a poller that does not take the descriptor.
#include <cerrno>
#include <chrono>
#include <thread>
#include <vector>

#include "fault_test.hpp"
#include "gort/gort.hpp"

namespace gort::faults {
namespace {

using namespace std::chrono_literals;

class Net : public FaultTest {
 protected:
  struct Pair {
    net::tcp_stream client;
    net::tcp_stream server;
  };
  static Pair connected_pair() {
    auto listener = net::tcp_listener::listen("127.0.0.1", 0);
    auto client = net::tcp_stream::connect(listener.local_endpoint());
    return {std::move(client), listener.accept()};
  }
  static std::string pattern(size_t bytes) {
    std::string text(bytes, '\0');
    for (size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>('a' + i * 7 % 26 + i / 4096 % 3);
    return text;
  }
  // `bytes` there and back through a server that echoes.
  static void echo(size_t bytes) {
    auto [client, server] = connected_pair();
    auto echoing = spawn([&s = server] {
      char buffer[512];
      while (const size_t n = s.read_some(buffer)) s.write(std::string_view(buffer, n));
      s.shutdown_write();
    });
    const std::string text = pattern(bytes);
    auto writer = spawn([&, &c = client] {
      c.write(text);
      c.shutdown_write();
    });
    std::string back(bytes, '\0');
    EXPECT_EQ(client.read(std::span<char>(back)), bytes);
    EXPECT_EQ(back, text);
    char more;
    EXPECT_EQ(client.read_some(std::span<char>(&more, 1)), 0U);
    echoing.join();
    writer.join();
  }
};

// ---- The poller does not take it

// With one proc: a fiber that kept its thread would wait for one that can not run.
TEST_F(Net, AReadThatThePollerRefusesFails) {
  for (const int error : {ENOSPC, ENOMEM}) {
    run(options{.procs = 1}, [&] {
      auto [client, server] = connected_pair();  // the client is registered: it has waited
      auto other = spawn([&c = client] { c.write("x"); });
      char c = 0;
      std::error_code ec;
      {
        Armed armed({{Call::epoll_add, always(), fail(error)}});
        EXPECT_EQ(server.read_some(std::span<char>(&c, 1), ec), 0U);
        EXPECT_EQ(ec.value(), error) << ec.message();
        EXPECT_THROW(server.read_some(std::span<char>(&c, 1)), std::system_error);
        EXPECT_EQ(armed.fired(), 2U);
        EXPECT_TRUE(server.is_open());
      }
      EXPECT_EQ(server.read_some(std::span<char>(&c, 1)), 1U) << "the socket stays usable";
      EXPECT_EQ(c, 'x');
      other.join();
    });
  }
  expect_nothing_left("refused reads");
}

TEST_F(Net, AcceptAndConnectThatThePollerRefusesFail) {
  run(options{.procs = 1}, [] {
    auto listener = net::tcp_listener::listen("127.0.0.1", 0);
    std::error_code ec;
    {
      Armed armed({{Call::epoll_add, always(), fail(ENOSPC)}});
      EXPECT_FALSE(listener.accept(ec).is_open());
      EXPECT_EQ(ec, std::errc::no_space_on_device);
      EXPECT_FALSE(net::tcp_stream::connect(listener.local_endpoint(), ec).is_open());
      EXPECT_EQ(ec, std::errc::no_space_on_device);
      EXPECT_EQ(armed.fired(), 2U);
    }
    auto client = spawn([&] { return net::tcp_stream::connect(listener.local_endpoint()); });
    // The connection that was refused to us is in the queue, and ended.
    auto first = listener.accept();
    char c;
    EXPECT_EQ(first.read_some(std::span<char>(&c, 1), ec), 0U);
    EXPECT_TRUE(listener.accept().is_open());
    EXPECT_TRUE(client.get().is_open());
  });
  expect_nothing_left("refused accepts");
}

TEST_F(Net, ABlockThatIsCutShortByARefusalSaysHowMuchWasMoved) {
  run(options{.procs = 2}, [] {
    auto [client, server] = connected_pair();
    client.write("12345");
    std::string text(10, '\0');
    std::error_code ec;
    Armed armed({{Call::epoll_add, always(), fail(ENOMEM)}});
    EXPECT_EQ(server.read(std::span<char>(text), ec), 5U);
    EXPECT_EQ(ec, std::errc::not_enough_memory);
    EXPECT_GT(armed.fired(), 0U);
  });
}

// ---- Accept

TEST_F(Net, AcceptPassesOverConnectionsThatFailed) {
  for (const int error : {ECONNABORTED, EPROTO, ENETDOWN, ENOPROTOOPT, EHOSTDOWN, ENONET,
                          EHOSTUNREACH, ENETUNREACH}) {
    run(options{.procs = 2}, [&] {
      auto listener = net::tcp_listener::listen("127.0.0.1", 0);
      const auto to = listener.local_endpoint();
      Armed armed({{Call::accept, nth(1), fail(error)}});
      auto gone = net::tcp_stream::connect(to);
      auto second = net::tcp_stream::connect(to);
      second.write("2");
      auto peer = listener.accept();
      char c = 0;
      EXPECT_EQ(peer.read_some(std::span<char>(&c, 1)), 1U);
      EXPECT_EQ(c, '2');
      EXPECT_EQ(armed.fired(), 1U) << std::strerror(error);
    });
  }
  expect_nothing_left("aborted connections");
}

TEST_F(Net, AnAcceptThatNeverSucceedsSaysSo) {
  run(options{.procs = 1}, [] {
    auto listener = net::tcp_listener::listen("127.0.0.1", 0);
    std::vector<net::tcp_stream> clients;
    for (int i = 0; i < 64; ++i)
      clients.push_back(net::tcp_stream::connect(listener.local_endpoint()));
    Armed armed({{Call::accept, always(), fail(ENETDOWN)}});
    std::error_code ec;
    EXPECT_FALSE(listener.accept(ec).is_open());
    EXPECT_EQ(ec, std::errc::network_down);
    EXPECT_EQ(armed.fired(), 64U);
  });
}

// The caller is told, once for each call and at once, and the connection waits for a better time.
TEST_F(Net, AcceptReportsWhatIsMissing) {
  for (const int error : {EMFILE, ENFILE, ENOMEM, ENOBUFS}) {
    run(options{.procs = 1}, [&] {
      auto listener = net::tcp_listener::listen("127.0.0.1", 0);
      auto client = net::tcp_stream::connect(listener.local_endpoint());
      {
        Armed armed({{Call::accept, always(), fail(error)}});
        for (int i = 0; i < 3; ++i) {
          try {
            (void)listener.accept();
            ADD_FAILURE() << "accepted";
          } catch (const std::system_error& e) {
            EXPECT_EQ(e.code().value(), error);
            EXPECT_EQ(std::string(e.what()).find("gort: accept: "), 0U) << e.what();
          }
        }
        EXPECT_EQ(armed.fired(), 3U);
      }
      auto server = listener.accept();
      server.write("1");
      char c;
      EXPECT_EQ(client.read_some(std::span<char>(&c, 1)), 1U);
    });
  }
  expect_nothing_left("accept without descriptors");
}

TEST_F(Net, AFirewallTakesTheConnectionAndIsReported) {
  run(options{.procs = 1}, [] {
    auto listener = net::tcp_listener::listen("127.0.0.1", 0);
    auto first = net::tcp_stream::connect(listener.local_endpoint());
    Armed armed({{Call::accept, nth(1), fail(EPERM)}});
    std::error_code ec;
    EXPECT_FALSE(listener.accept(ec).is_open());
    EXPECT_EQ(ec, std::errc::operation_not_permitted);
    auto second = net::tcp_stream::connect(listener.local_endpoint());
    EXPECT_TRUE(listener.accept().is_open());
  });
}

// ---- Streams

TEST_F(Net, AByteAtATime) {
  for (const int procs : {1, 2}) {
    run(options{.procs = procs}, [] {
      Armed armed({{Call::recv, always(), shorten(1)}, {Call::send, always(), shorten(1)}});
      echo(3000);
      EXPECT_GE(armed.fired(0), 6000U);
      EXPECT_GE(armed.fired(1), 5000U);
    });
  }
  expect_nothing_left("a byte at a time");
}

TEST_F(Net, AFewBytesNowAndThen) {
  const uint64_t seed = test::test_seed();
  run(options{.procs = 2}, [&] {
    Armed armed({{Call::recv, chance(300), shorten(1)},
                 {Call::recv, chance(300), shorten(37)},
                 {Call::send, chance(300), shorten(1)},
                 {Call::send, chance(300), shorten(100)}},
                seed);
    for (int i = 0; i < 5; ++i) echo(30'000);
    for (size_t i = 0; i < 4; ++i) EXPECT_GT(armed.fired(i), 0U);
  });
}

TEST_F(Net, InterruptedEverywhere) {
  const uint64_t seed = test::test_seed();
  for (const int procs : {1, 2}) {
    run(options{.procs = procs}, [&] {
      Armed armed({{Call::recv, chance(500), fail(EINTR)},
                   {Call::send, chance(500), fail(EINTR)},
                   {Call::accept, chance(500), fail(EINTR)},
                   {Call::connect, chance(500), fail(EINTR)},
                   {Call::epoll_wait, chance(500), fail(EINTR)},
                   {Call::close, chance(500), fail(EINTR)}},
                  seed);
      for (int i = 0; i < 20; ++i) echo(10'000);
      for (size_t i = 0; i < 6; ++i) EXPECT_GT(armed.fired(i), 0U) << i;
    });
  }
  expect_nothing_left("interrupted calls");
}

// A thread that is no M waits in poll(2).
TEST_F(Net, AForeignThreadIsInterrupted) {
  runtime rt(options{.procs = 1});
  Pair pair = rt.run([] { return connected_pair(); });
  Armed armed({{Call::poll, every(2), fail(EINTR)}, {Call::poll, every(3), early(0)}});
  auto echoing = rt.spawn([&s = pair.server] {
    char buffer[16];
    while (const size_t n = s.read_some(buffer)) {
      yield();
      s.write(std::string_view(buffer, n));
    }
  });
  for (int i = 0; i < 100 || armed.fired() == 0; ++i) {
    pair.client.write("ping");
    std::string back(4, '\0');
    ASSERT_EQ(pair.client.read(std::span<char>(back)), 4U);
    ASSERT_EQ(back, "ping");
  }
  pair.client.shutdown_write();
  rt.run([&] { echoing.join(); });
}

TEST_F(Net, ASocketThatCanNotBeSetUpIsClosed) {
  struct {
    Call call;
    int error;
  } const refusals[] = {{Call::socket, EMFILE},         {Call::set_option, ENOBUFS},
                        {Call::bind, EADDRINUSE},       {Call::listen, EADDRINUSE},
                        {Call::connect, EADDRNOTAVAIL}, {Call::get_option, ENOBUFS}};
  run(options{.procs = 1}, [&] {
    auto listener = net::tcp_listener::listen("127.0.0.1", 0);
    const auto to = listener.local_endpoint();
    const int fds = test::entries_of("/proc/self/fd");
    for (const auto& r : refusals) {
      Armed armed({{r.call, always(), fail(r.error)}});
      std::error_code listen_error;
      std::error_code connect_error;
      (void)net::tcp_listener::listen(net::endpoint("127.0.0.1", 0), listen_error);
      (void)net::tcp_stream::connect(to, connect_error);
      armed.disarm();
      EXPECT_GT(armed.fired(), 0U) << name_of(r.call);
      EXPECT_TRUE(listen_error.value() == r.error || connect_error.value() == r.error)
          << name_of(r.call);
      EXPECT_EQ(test::entries_of("/proc/self/fd"), fds) << name_of(r.call);
    }
  });
}

}  // namespace
}  // namespace gort::faults
