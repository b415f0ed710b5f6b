// pingpong: two fibers hand an int to and fro over two unbuffered channels. Nanoseconds per round
// trip.
#include <gort/gort.hpp>

#include "harness.hpp"

namespace {

constexpr int64_t kRoundTrips = 500'000;

void play() {
  const gort::chan<int> ping;
  const gort::chan<int> pong;
  auto partner = gort::spawn([ping, pong] {
    for (int ball : ping) pong.send(ball + 1);
  });
  int ball = 0;
  for (int64_t i = 0; i < kRoundTrips; ++i) {
    ping.send(ball);
    ball = *pong.recv();
  }
  ping.close();
  partner.get();
}

}  // namespace

int main() {
  for (const int procs : {1, 2}) {
    gort::run({.procs = procs}, [procs] {
      bench::report("pingpong", "gort", procs, bench::median_ns(kRoundTrips, play));
    });
  }
}
