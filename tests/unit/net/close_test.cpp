// Closing from elsewhere, and stop requests: whoever waits is woken, and nothing is left behind.
#include <fcntl.h>

#include <memory>
#include <thread>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/errors.hpp"
#include "net/net_fixture.hpp"
#include "sync/sync_fixture.hpp"

namespace gort::net::testing {
namespace {

class Close : public NetTest {};
INSTANTIATE_TEST_SUITE_P(Procs, Close, ::testing::Values(1, 2));

std::error_code read_error(tcp_stream& s) {
  std::error_code ec;
  char buffer[8];
  s.read_some(buffer, ec);
  return ec;
}

// FD1, FD2 in fd.hpp: who was under way is woken, nobody begins any more, the descriptor goes last.
TEST_P(Close, WakesAReaderAndThoseBehindIt) {
  in_fibers([] {
    Pair p = connected_pair();
    std::vector<gort::task<std::error_code>> readers;
    for (int i = 0; i < 4; ++i) {
      readers.push_back(gort::spawn([&] { return read_error(p.server); }));
    }
    let_others_run();
    const int fd = p.server.native_handle();
    p.server.close();
    EXPECT_EQ(::fcntl(fd, F_GETFD), -1) << "close() has returned: the descriptor is closed";
    for (auto& r : readers) EXPECT_EQ(r.get(), std::errc::operation_canceled);
    EXPECT_EQ(read_error(p.server), std::errc::operation_canceled);
    EXPECT_FALSE(p.server.is_open());
  });
}

TEST_P(Close, WakesAWriter) {
  in_fibers([] {
    Pair p = connected_pair();
    fill(p.client);
    auto writer = gort::spawn([&] { return write_on(p.client); });
    let_others_run();
    p.client.close();
    EXPECT_EQ(writer.get(), std::errc::operation_canceled);
  });
}

TEST_P(Close, WakesAccepters) {
  in_fibers([] {
    auto listener = tcp_listener::listen("127.0.0.1", 0);
    const auto accept = [&] {
      std::error_code ec;
      (void)listener.accept(ec);
      return ec;
    };
    auto first = gort::spawn(accept);
    auto second = gort::spawn(accept);
    let_others_run();
    listener.close();
    EXPECT_EQ(first.get(), std::errc::operation_canceled);
    EXPECT_EQ(second.get(), std::errc::operation_canceled);
  });
}

// R3 in park.hpp: who has no P takes one before the descriptor's lock.
TEST_P(Close, InsideBlocking) {
  in_fibers([] {
    Pair p = connected_pair();
    auto reader = gort::spawn([&] { return read_error(p.server); });
    let_others_run();
    const int fd = p.server.native_handle();
    gort::blocking([&] {
      p.server.close();
      EXPECT_EQ(::fcntl(fd, F_GETFD), -1);
    });
    EXPECT_EQ(reader.get(), std::errc::operation_canceled);
  });
}

// The same for who waits for another's turn to end.
TEST_P(Close, OfAReaderInsideBlocking) {
  in_fibers([] {
    Pair p = connected_pair();
    const auto read_one = [&] {
      char c = 0;
      (void)p.server.read_some(std::span<char>(&c, 1));
      return c;
    };
    test::Waiter has_the_turn;
    auto first = gort::spawn([&] {
      has_the_turn.about_to_wait();
      return read_one();
    });
    has_the_turn.until_it_waits();
    auto second = gort::spawn([&] { return gort::blocking(read_one); });
    let_others_run();
    p.client.write("a");
    EXPECT_EQ(first.get(), 'a');
    p.client.write("b");
    EXPECT_EQ(second.get(), 'b');
  });
}

TEST_P(Close, FromAForeignThread) {
  in_fibers([] {
    Pair p = connected_pair();
    auto reader = gort::spawn([&] { return read_error(p.server); });
    let_others_run();
    std::thread closer([&] { p.server.close(); });
    EXPECT_EQ(reader.get(), std::errc::operation_canceled);
    closer.join();
  });
}

// P3 in netpoll.cpp: records are used again while events of their former lives may be under way.
TEST_P(Close, OfEverythingAtOnceByMany) {
  in_fibers([] {
    for (int i = 0; i < 200; ++i) {
      Pair p = connected_pair();
      std::vector<gort::task<void>> all;
      for (int k = 0; k < 3; ++k) {
        all.push_back(gort::spawn([&] { (void)read_error(p.server); }));
        all.push_back(gort::spawn([&] { p.server.close(); }));
      }
      for (auto& t : all) t.get();
    }
  });
}

// FD4 in fd.hpp: the woken fiber destroys the handle while close() is still returning.
TEST_P(Close, WokenFiberMayDestroyTheHandle) {
  in_fibers([] {
    for (int i = 0; i < 500; ++i) {
      Pair p = connected_pair();
      auto handle = std::make_unique<tcp_stream>(std::move(p.server));
      tcp_stream* seen = handle.get();
      auto reader = gort::spawn([handle = std::move(handle)] { (void)read_error(*handle); });
      if (i % 2 == 0) gort::yield();
      seen->close();
      reader.get();
    }
  });
}

TEST_P(Close, StopRequestEndsARead) {
  in_fibers([] {
    Pair p = connected_pair();
    bool stopped_seen = false;
    auto reader = gort::spawn([&] {
      try {
        (void)read_error(p.server);
      } catch (const gort::stopped&) {
        stopped_seen = true;
        throw;
      }
    });
    let_others_run();
    reader.request_stop();
    reader.join();
    EXPECT_TRUE(stopped_seen);
    p.client.write("x");
    EXPECT_EQ(read_string(p.server, 1), "x") << "the socket stays usable";
  });
}

// The first in the queue is stopped; the others keep their places.
// FD3 in fd.hpp.
TEST_P(Close, StopRequestEndsAWaitForTheTurn) {
  in_fibers([] {
    Pair p = connected_pair();
    auto first = gort::spawn([&] { return read_string(p.server, 1); });
    let_others_run();
    auto second = gort::spawn([&] { (void)read_string(p.server, 1); });
    let_others_run();
    auto third = gort::spawn([&] { return read_string(p.server, 1); });
    let_others_run();
    second.request_stop();
    second.join();
    p.client.write("ab");
    // With one proc they came in this order.
    const std::string read = first.get() + third.get();
    EXPECT_TRUE(read == "ab" || (GetParam() > 1 && read == "ba")) << read;
  });
}

TEST_P(Close, EndOfTheRunStopsReadersAndAccepters) {
  auto listener = std::make_unique<tcp_listener>();
  in_fibers([&] {
    *listener = tcp_listener::listen("127.0.0.1", 0);
    gort::go([&] { (void)listener->accept(); });
    auto p = std::make_shared<Pair>(connected_pair());
    gort::go([p] {
      p->server.read_some(std::span<std::byte>(std::make_unique<std::byte[]>(8).get(), 8));
    });
    let_others_run();
  });
  EXPECT_EQ(gort::num_fibers(), 0U);
  listener.reset();
}

TEST_P(Close, SocketSurvivesItsRuntime) {
  Pair p;
  in_fibers([&] {
    p = connected_pair();
    p.client.write("first");
    EXPECT_EQ(read_string(p.server, 5), "first");
  });
  in_fibers([&] {
    auto reader = gort::spawn([&] { return read_string(p.server, 6); });
    let_others_run();
    p.client.write("second");
    EXPECT_EQ(reader.get(), "second");
  });
  p = Pair();
}

}  // namespace
}  // namespace gort::net::testing
