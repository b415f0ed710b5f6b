// Forks while sockets and timers come and go (FK1, FK4 in fork.hpp): the child closes and drops what it has inherited, waits for
// nobody, and the parent's connections notice nothing. Each case prints its seed; GORT_TEST_SEED repeats one, GORT_TEST_MS sets
// the time.
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include "gort/gort.hpp"
#include "support/child.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using test::below;
using test::ChildEnd;
using test::Random;

class ForkStress : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(ForkStress);

// Sends back what comes, until the peer is done.
void echo(net::tcp_stream peer) {
  char c = 0;
  while (peer.read_some(std::span<char>(&c, 1)) == 1) peer.write(std::string_view(&c, 1));
}

// Connections that live for some round trips, from a fiber or a thread.
void connect_again_and_again(uint16_t port, Random random, const test::StressClock& clock) {
  while (clock.running()) {
    auto s = net::tcp_stream::connect("127.0.0.1", port);
    for (uint64_t i = below(random, 8); i > 0; --i) {
      char c = 'x';
      s.write(std::string_view(&c, 1));
      ASSERT_EQ(s.read_some(std::span<char>(&c, 1)), 1U);
    }
  }
}

void tick(Random random, const test::StressClock& clock) {
  while (clock.running()) {
    const ticker beat(std::chrono::microseconds(20 + below(random, 100)));
    for (uint64_t i = below(random, 4); i > 0; --i) (void)beat.channel().recv();
  }
}

TEST_P(ForkStress, SocketsAndTimersComeAndGo) {
  if (test::kTsan) GTEST_SKIP() << "TSan does not follow a fork of a process with threads";
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    Random random(seed);
    const test::StressClock clock;
    auto listener = net::tcp_listener::listen("127.0.0.1", 0);
    const uint16_t port = listener.local_endpoint().port();
    auto server = spawn([&listener] {
      std::vector<task<void>> peers;
      std::error_code ec;
      for (;;) {
        auto peer = listener.accept(ec);
        if (ec) return;
        peers.push_back(spawn(echo, std::move(peer)));
        std::erase_if(peers, [](const task<void>& t) { return t.done(); });
      }
    });
    // One that stays, with a thread in its reader's turn.
    auto lasting = net::tcp_stream::connect("127.0.0.1", port);
    char last = 0;
    std::thread reader([&] { (void)lasting.read_some(std::span<char>(&last, 1)); });
    auto beats = std::make_unique<std::vector<ticker>>();
    for (int i = 0; i < 4; ++i) beats->emplace_back(50us + i * 1us);
    std::vector<task<void>> others;
    for (int i = 0; i < 2; ++i) {
      others.push_back(spawn(connect_again_and_again, port, Random(random()), std::cref(clock)));
      others.push_back(spawn(tick, Random(random()), std::cref(clock)));
    }
    std::thread foreign(connect_again_and_again, port, Random(random()), std::cref(clock));
    int well = 0;
    while (clock.running()) {
      const ChildEnd end = test::in_child([&] {
        listener.close();
        lasting.close();
        beats.reset();
        return 0;
      });
      // Or it stands in the middle of what another thread of the parent was doing, and says so.
      ASSERT_TRUE(end.exited(0) || end.aborted_with("gort: fatal: the child of a fork waits"))
          << end;
      well += end.exited(0) ? 1 : 0;
    }
    EXPECT_GT(well, 0);
    for (auto& t : others) t.get();
    blocking([&] { foreign.join(); });
    lasting.write("z");
    blocking([&] { reader.join(); });
    EXPECT_EQ(last, 'z');
    lasting.close();
    listener.close();
    server.get();
  });
}

}  // namespace
}  // namespace gort
