// Sockets from ordinary threads: beside a runtime, and without any.
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>

#include "net/net_fixture.hpp"

namespace gort::net::testing {
namespace {

class Foreign : public NetTest {};
INSTANTIATE_TEST_SUITE_P(Procs, Foreign, ::testing::Values(1, 2));

void echo(tcp_stream s) {
  char buffer[512];
  while (const size_t n = s.read_some(buffer)) s.write(std::string_view(buffer, n));
}

void ask(const endpoint& server, int times) {
  auto s = tcp_stream::connect(server);
  for (int i = 0; i < times; ++i) {
    const std::string message = "message " + std::to_string(i);
    s.write(message);
    ASSERT_EQ(read_string(s, message.size()), message);
  }
}

TEST_P(Foreign, ThreadAsksAFiber) {
  in_fibers([] {
    auto listener = tcp_listener::listen("127.0.0.1", 0);
    std::thread client(ask, listener.local_endpoint(), 500);
    echo(listener.accept());
    client.join();
  });
}

TEST_P(Foreign, ThreadServesAFiber) {
  auto listener = tcp_listener::listen("127.0.0.1", 0);
  std::thread server([&] { echo(listener.accept()); });
  in_fibers([&] { ask(listener.local_endpoint(), 500); });
  server.join();
}

TEST_P(Foreign, ThreadAndFiberShareAStream) {
  in_fibers([] {
    Pair p = connected_pair();
    std::string from_thread;
    std::thread reader([&] { from_thread = read_string(p.server, 1000); });
    auto other = gort::spawn([&] { return read_string(p.server, 1000); });
    p.client.write(std::string(2000, 'x'));
    EXPECT_EQ(other.get().size(), 1000U);
    reader.join();
    EXPECT_EQ(from_thread.size(), 1000U);
  });
}

TEST(ForeignAlone, NoRuntimeAtAll) {
  auto listener = tcp_listener::listen("127.0.0.1", 0);
  std::thread server([&] { echo(listener.accept()); });
  ask(listener.local_endpoint(), 100);
  server.join();
  std::thread accepter([&] {
    std::error_code ec;
    (void)listener.accept(ec);
    EXPECT_EQ(ec, std::errc::operation_canceled);
  });
  listener.close();
  accepter.join();
}

TEST(ForeignAlone, DeadlineWithoutRuntime) {
  auto listener = tcp_listener::listen("127.0.0.1", 0);
  listener.set_deadline(in(kSoon));
  std::error_code ec;
  (void)listener.accept(ec);
  EXPECT_EQ(ec, std::errc::timed_out);
}

// The deadline is set, in the future or in the past, once the thread is in poll(2).
TEST(ForeignAlone, DeadlineIsSetUnderWay) {
  for (const auto delay : {kSoon, -kSoon}) {
    auto listener = tcp_listener::listen("127.0.0.1", 0);
    std::atomic<pid_t> thread{0};
    std::thread accepter([&] {
      thread = gettid();
      std::error_code ec;
      (void)listener.accept(ec);
      EXPECT_EQ(ec, std::errc::timed_out);
    });
    while (thread == 0 || !sleeps(thread)) std::this_thread::yield();
    listener.set_deadline(in(delay));
    accepter.join();
  }
}

}  // namespace
}  // namespace gort::net::testing
