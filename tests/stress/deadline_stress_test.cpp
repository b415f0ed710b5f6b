// Deadlines of connections, 0 to 200 us away, against data that does come: a call that times out has taken nothing that it does
// not say, so what is read is what was written, whole and in order; whoever is connected is accepted once (P2 to P5 in netpoll.cpp).
// Each case prints its seed; GORT_TEST_SEED repeats one, GORT_TEST_MS sets the time.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "gort/mutex.hpp"
#include "gort/net.hpp"
#include "gort/spawn.hpp"
#include "gort/wait_group.hpp"
#include "support/outcomes.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using std::chrono::microseconds;
using std::chrono::steady_clock;
using test::below;
using test::Outcomes;
using test::Random;

class DeadlineStress : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(DeadlineStress);

steady_clock::time_point soon(Random& random) {
  return steady_clock::now() + microseconds(below(random, 201));
}

void dawdle(Random& random) {
  if (below(random, 4) != 0) return;
  const auto end = soon(random);
  while (steady_clock::now() < end) {
    if (below(random, 2) == 0) yield();
  }
}

// ---- Bytes ----------------------------------------------------------------------------------------

// What stands there in the stream; no two places near each other look alike for long.
char byte_at(uint64_t place) {
  return static_cast<char>((place * 0x9e3779b97f4a7c15U) >> 56);
}

// Writes until it may end, each write going on where the one before has ended. How much.
template <class Wanted>
uint64_t write_stream(net::tcp_stream& s, Random random, Outcomes& outcomes, Wanted&& wanted) {
  uint64_t sent = 0;
  while (wanted()) {
    std::string text(1 + below(random, 20'000), '\0');
    for (size_t i = 0; i < text.size(); ++i) text[i] = byte_at(sent + i);
    std::error_code ec;
    s.set_write_deadline(soon(random));
    sent += below(random, 2) == 0 ? s.write(text, ec) : s.write_some(text, ec);
    (void)outcomes.add(ec != std::errc::timed_out);
    EXPECT_TRUE(!ec || ec == std::errc::timed_out) << ec.message();
    dawdle(random);
  }
  s.shutdown_write();
  return sent;
}

// Reads to the end. How much.
uint64_t read_stream(net::tcp_stream& s, Random random, Outcomes& outcomes) {
  uint64_t got = 0;
  char buffer[8192];
  for (;;) {
    const std::span<char> to(buffer, 1 + below(random, sizeof buffer));
    std::error_code ec;
    s.set_read_deadline(soon(random));
    const size_t n = below(random, 2) == 0 ? s.read(to, ec) : s.read_some(to, ec);
    for (size_t i = 0; i < n; ++i) {
      if (to[i] == byte_at(got + i)) continue;
      ADD_FAILURE() << "another byte at " << got + i;
      return got;
    }
    got += n;
    (void)outcomes.add(ec != std::errc::timed_out);
    if (!ec && n == 0) return got;
    EXPECT_TRUE(!ec || ec == std::errc::timed_out) << ec.message();
    dawdle(random);
  }
}

// So that writers wait, too.
void keep_small(const net::tcp_stream& s) {
  const int bytes = 8192;
  ASSERT_EQ(setsockopt(s.native_handle(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes), 0);
  ASSERT_EQ(setsockopt(s.native_handle(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes), 0);
}

TEST_P(DeadlineStress, BytesAreNeitherLostNorDoubled) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    Random random(seed);
    auto listener = net::tcp_listener::listen("127.0.0.1", 0);
    Outcomes reads;
    Outcomes writes;
    const auto wanted = [&] { return reads.wanted() || writes.wanted(); };
    wait_group connections;
    for (int i = 0; i < 3; ++i) {
      auto client = net::tcp_stream::connect(listener.local_endpoint());
      auto server = listener.accept();
      keep_small(client);
      keep_small(server);
      // Both ways at once.
      connections.go(
          [&, a = std::move(client), b = std::move(server), r = Random(random())]() mutable {
            const auto write = [&](net::tcp_stream* s, Random mine) {
              return write_stream(*s, std::move(mine), writes, wanted);
            };
            const auto read = [&](net::tcp_stream* s, Random mine) {
              return read_stream(*s, std::move(mine), reads);
            };
            auto to_b = spawn(write, &a, Random(r()));
            auto to_a = spawn(write, &b, Random(r()));
            auto from_a = spawn(read, &b, Random(r()));
            auto from_b = spawn(read, &a, Random(r()));
            EXPECT_EQ(to_b.get(), from_a.get());
            EXPECT_EQ(to_a.get(), from_b.get());
          });
    }
    connections.wait();
    reads.expect_both();
    writes.expect_both();
  });
}

// ---- Connections ----------------------------------------------------------------------------------

// Who has come, by the number that each client sends.
class Guests {
 public:
  void came(uint64_t id) {
    const std::lock_guard guard(m_);
    EXPECT_TRUE(came_.insert(id).second) << "twice";
  }
  [[nodiscard]] size_t count() {
    const std::lock_guard guard(m_);
    return came_.size();
  }

 private:
  mutex m_;
  std::set<uint64_t> came_;
};

std::span<char> bytes_of(uint64_t& id) {
  return {reinterpret_cast<char*>(&id), sizeof id};
}

// Takes the number, and says it again.
void serve(net::tcp_stream s, Guests& guests) {
  uint64_t id = 0;
  std::error_code ec;
  // One whose connect() has timed out says nothing.
  if (s.read(bytes_of(id), ec) != sizeof id) return;
  guests.came(id);
  s.write(std::string_view(reinterpret_cast<const char*>(&id), sizeof id));
}

// False: the time was over before it was connected.
bool visit(const net::endpoint& at, uint64_t id, Random& random) {
  std::error_code ec;
  auto s = below(random, 2) == 0 ? net::tcp_stream::connect(at, soon(random), ec)
                                 : net::tcp_stream::connect(at, ec);
  if (ec) {
    EXPECT_EQ(ec, std::errc::timed_out) << ec.message();
    return false;
  }
  s.write(std::string_view(reinterpret_cast<const char*>(&id), sizeof id));
  uint64_t answer = 0;
  EXPECT_EQ(s.read(bytes_of(answer)), sizeof answer);
  EXPECT_EQ(answer, id);
  return true;
}

TEST_P(DeadlineStress, WhoIsConnectedIsAcceptedOnce) {
  // Not as many as there is time for: their ports stay taken for a minute.
  constexpr int kClients = 8;
  constexpr uint64_t kVisits = test::kTsan ? 20 : 150;
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    Random random(seed);
    auto listener = net::tcp_listener::listen("127.0.0.1", 0);
    const net::endpoint at = listener.local_endpoint();
    Guests guests;
    Outcomes accepts;
    std::atomic<bool> over{false};
    auto server = spawn([&, r = Random(random())]() mutable {
      wait_group served;
      while (!over || !accepts.both()) {
        listener.set_deadline(soon(r));
        std::error_code ec;
        net::tcp_stream s = listener.accept(ec);
        (void)accepts.add(ec != std::errc::timed_out);
        if (!ec) {
          served.go([&, s = std::move(s)]() mutable { serve(std::move(s), guests); });
        } else {
          EXPECT_EQ(ec, std::errc::timed_out) << ec.message();
        }
        dawdle(r);
      }
      served.wait();
    });
    std::atomic<size_t> connected{0};
    wait_group clients;
    for (uint64_t k = 0; k < kClients; ++k) {
      clients.go([&, k, r = Random(random())]() mutable {
        for (uint64_t i = 0; i < kVisits; ++i) {
          connected += visit(at, k * kVisits + i, r) ? 1 : 0;
          dawdle(r);
        }
      });
    }
    clients.wait();
    over = true;
    server.join();
    EXPECT_EQ(guests.count(), connected.load());
    EXPECT_GT(connected.load(), 0U);
    accepts.expect_both();
  });
}

}  // namespace
}  // namespace gort
