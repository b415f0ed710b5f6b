// select: what it costs when something is ready, when nothing is and it does not wait, and when it parks. Nanoseconds per
// select (and the send that fills the channel again), or per round trip.
#include <array>
#include <gort/gort.hpp>

#include "harness.hpp"

namespace {

using gort::on_recv;

constexpr int64_t kSelects = 1'000'000;
constexpr int64_t kRoundTrips = 500'000;

// One of two cases is ready.
void one_ready() {
  const gort::chan<int> full(1);
  const gort::chan<int> never;
  full.send(1);
  for (int64_t i = 0; i < kSelects; ++i) {
    gort::select(on_recv(full), on_recv(never));
    full.send(1);
  }
}

// All of eight are.
void eight_ready() {
  std::array<gort::chan<int>, 8> c;
  for (auto& one : c) {
    one = gort::chan<int>(1);
    one.send(1);
  }
  for (int64_t i = 0; i < kSelects; ++i) {
    const size_t won = gort::select(on_recv(c[0]), on_recv(c[1]), on_recv(c[2]), on_recv(c[3]),
                                    on_recv(c[4]), on_recv(c[5]), on_recv(c[6]), on_recv(c[7]));
    c[won].send(1);
  }
}

// Nothing is: one case and a default, and two.
void default_of_one() {
  const gort::chan<int> never;
  for (int64_t i = 0; i < kSelects; ++i) gort::select(on_recv(never), gort::otherwise());
}
void default_of_two() {
  const gort::chan<int> one;
  const gort::chan<int> two;
  for (int64_t i = 0; i < kSelects; ++i)
    gort::select(on_recv(one), on_recv(two), gort::otherwise());
}

// Two fibers hand an int to and fro, each over one of two channels in turn, on both of which the other waits.
void ping_pong() {
  const std::array<gort::chan<int>, 2> ping;
  const std::array<gort::chan<int>, 2> pong;
  auto partner = gort::spawn([&] {
    for (int64_t i = 0; i < kRoundTrips; ++i) {
      gort::select(on_recv(ping[0]), on_recv(ping[1]));
      pong[i % 2].send(1);
    }
  });
  for (int64_t i = 0; i < kRoundTrips; ++i) {
    ping[i % 2].send(1);
    gort::select(on_recv(pong[0]), on_recv(pong[1]));
  }
  partner.get();
}

}  // namespace

int main() {
  for (const int procs : {1, 2}) {
    gort::run({.procs = procs}, [procs] {
      bench::report("select_ready", "gort", procs, bench::median_ns(kSelects, one_ready));
      bench::report("select_ready_8", "gort", procs, bench::median_ns(kSelects, eight_ready));
      bench::report("select_default", "gort", procs, bench::median_ns(kSelects, default_of_one));
      bench::report("select_default_2", "gort", procs, bench::median_ns(kSelects, default_of_two));
      bench::report("select_pingpong", "gort", procs, bench::median_ns(kRoundTrips, ping_pong));
    });
  }
}
