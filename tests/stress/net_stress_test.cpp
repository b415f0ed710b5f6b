// Races of the poller: deadlines that are moved while their timers fire (P2, P4, P5 in netpoll.cpp); closes,
// deadlines and stop requests among connections at work.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/errors.hpp"
#include "gort/net.hpp"
#include "gort/wait_group.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using std::chrono::microseconds;
using std::chrono::steady_clock;
using test::below;
using test::Random;

class NetStress : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(NetStress);

constexpr int kReaders = 4;
constexpr int kTurns = test::kTsan ? 100 : 400;

// Moves a deadline to and fro, at times that meet the firing of its timer, and leaves one that is near.
void move_deadlines(net::tcp_stream& s, Random& random) {
  for (int i = 0; i < 6; ++i) {
    const auto near = steady_clock::now() + std::chrono::microseconds(random() % 200);
    s.set_read_deadline(random() % 4 == 0 ? steady_clock::time_point::max() : near);
    if (random() % 2 == 0) yield();
  }
  s.set_read_deadline(steady_clock::now() + std::chrono::microseconds(random() % 200));
}

// A reader that no byte ever reaches must get out at each last deadline: a timer that is lost is a hang.
TEST_P(NetStress, MovedDeadlinesEndEveryWait) {
  const uint64_t seed = test::test_seed();
  in_fibers([&] {
    auto listener = net::tcp_listener::listen("127.0.0.1", 0);
    std::vector<net::tcp_stream> clients;  // say nothing, and stay until the last reader is done
    std::vector<task<void>> readers;
    for (int r = 0; r < kReaders; ++r) {
      clients.push_back(net::tcp_stream::connect(listener.local_endpoint()));
      readers.push_back(spawn([server = listener.accept(), seed, r]() mutable {
        Random random(seed + static_cast<uint64_t>(r));
        for (int turn = 0; turn < kTurns; ++turn) {
          server.set_read_deadline(steady_clock::time_point::max());
          // Now and then the mover is no fiber.
          const bool foreign = turn % 10 == 0;
          std::thread thread;
          task<void> fiber;
          if (foreign) {
            thread = std::thread([&] { move_deadlines(server, random); });
          } else {
            fiber = spawn([&] { move_deadlines(server, random); });
          }
          std::error_code ec;
          char byte[1];
          // An earlier deadline may end the read before the last one is set.
          EXPECT_EQ(server.read_some(byte, ec), 0U);
          EXPECT_EQ(ec, std::errc::timed_out);
          if (foreign) {
            thread.join();
          } else {
            fiber.join();
          }
          server.read_some(byte, ec);
          EXPECT_EQ(ec, std::errc::timed_out);
        }
      }));
    }
    for (auto& r : readers) r.join();
  });
}

// ---- Echo -----------------------------------------------------------------------------------------

// Sends back what it gets until the peer, or somebody here, ends it.
void echo(net::tcp_stream peer) {
  char buffer[512];
  std::error_code ec;
  for (;;) {
    const size_t n = peer.read_some(buffer, ec);
    if (n == 0 || ec) return;
    peer.write(std::string_view(buffer, n), ec);
    if (ec) return;
  }
}

// Every error that a connection may end with when somebody closes it, lets its time pass or goes away.
bool is_an_end(const std::error_code& ec) {
  return ec == std::errc::timed_out || ec == std::errc::operation_canceled ||
         ec == std::errc::connection_reset || ec == std::errc::broken_pipe;
}

// Writes messages and reads their echo. Whatever comes back is what was sent, in that order, as far as it
// comes; false: the connection has been ended on the way.
bool talk(net::tcp_stream& s, Random random) {
  std::error_code ec;
  for (uint64_t turn = 1 + below(random, 8); turn > 0; --turn) {
    const std::string sent(1 + below(random, 2000), static_cast<char>('a' + below(random, 26)));
    std::string got(sent.size(), '\0');
    if (below(random, 4) == 0) {
      s.set_deadline(steady_clock::now() + microseconds(below(random, 2000)), ec);
      if (ec) break;
    }
    const size_t written = s.write(sent, ec);
    if (ec) break;
    EXPECT_EQ(written, sent.size());
    const size_t read = s.read(std::span<char>(got), ec);
    EXPECT_EQ(std::memcmp(got.data(), sent.data(), read), 0);
    if (ec || read != sent.size()) break;
    s.set_deadline(steady_clock::time_point::max(), ec);
    if (ec) break;
  }
  EXPECT_TRUE(!ec || is_an_end(ec)) << ec.message();
  return !ec;
}

// One client: talks, while others may close its connection, set its deadline or ask it to stop.
void client(const net::endpoint& server, Random random) {
  std::error_code ec;
  net::tcp_stream s = net::tcp_stream::connect(server, ec);
  if (ec) {
    ADD_FAILURE() << "connect: " << ec.message();
    return;
  }
  auto talker = spawn([&s, r = Random(random())] {
    try {
      talk(s, r);
    } catch (const stopped&) {
    }
  });
  const auto disturb = [&s, &talker, kind = below(random, 5), us = below(random, 500)] {
    std::error_code ignored;
    switch (kind) {
      case 0:
        return s.close();
      case 1:
        return talker.request_stop();
      case 2:
        return s.set_deadline(steady_clock::now() + microseconds(us), ignored);
      case 3:
        return s.set_read_deadline(steady_clock::now() - 1us, ignored);
      default:
        return;  // nobody disturbs this one
    }
  };
  if (below(random, 2) == 0) sleep_for(microseconds(below(random, 500)));
  if (below(random, 8) == 0) {
    blocking([&] { std::thread(disturb).join(); });
  } else {
    disturb();
  }
  talker.join();
}

TEST_P(NetStress, EchoUnderClosesDeadlinesAndStops) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    Random random(seed);
    auto listener = net::tcp_listener::listen("127.0.0.1", 0);
    const net::endpoint at = listener.local_endpoint();
    auto server = spawn([&listener] {
      wait_group connections;
      for (;;) {
        std::error_code ec;
        net::tcp_stream peer = listener.accept(ec);
        if (ec) break;
        connections.go([p = std::move(peer)]() mutable { echo(std::move(p)); });
      }
      connections.wait();
    });
    const test::StressClock clock;
    while (clock.running()) {
      wait_group clients;
      for (int i = 0; i < 12; ++i) {
        clients.go([&at, r = Random(random())] { client(at, r); });
      }
      clients.wait();
    }
    listener.close();
    server.join();
    test::until([] { return num_fibers() == 1; });
  });
}

}  // namespace
}  // namespace gort
