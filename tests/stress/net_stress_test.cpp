// Races of the poller: deadlines that are moved while their timers fire (P2, P4, P5 in netpoll.cpp).
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <random>
#include <system_error>
#include <thread>
#include <vector>

#include "gort/net.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

class NetStress : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(NetStress);

constexpr int kReaders = 4;
constexpr int kTurns = test::kTsan ? 100 : 400;

// Moves a deadline to and fro, at times that meet the firing of its timer, and leaves one that is near.
void move_deadlines(net::tcp_stream& s, std::mt19937& random) {
  for (int i = 0; i < 6; ++i) {
    const auto near = steady_clock::now() + std::chrono::microseconds(random() % 200);
    s.set_read_deadline(random() % 4 == 0 ? steady_clock::time_point::max() : near);
    if (random() % 2 == 0) yield();
  }
  s.set_read_deadline(steady_clock::now() + std::chrono::microseconds(random() % 200));
}

// A reader that no byte ever reaches must get out at each last deadline: a timer that is lost is a hang.
TEST_P(NetStress, MovedDeadlinesEndEveryWait) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  in_fibers([&] {
    auto listener = net::tcp_listener::listen("127.0.0.1", 0);
    std::vector<net::tcp_stream> clients;  // say nothing, and stay until the last reader is done
    std::vector<task<void>> readers;
    for (int r = 0; r < kReaders; ++r) {
      clients.push_back(net::tcp_stream::connect(listener.local_endpoint()));
      readers.push_back(spawn([server = listener.accept(), seed, r]() mutable {
        std::mt19937 random(seed + static_cast<unsigned>(r));
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

}  // namespace
}  // namespace gort
