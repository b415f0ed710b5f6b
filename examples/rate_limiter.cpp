// rate_limiter: clients that would send as fast as they can, and a limit for all of them together.
//
//     rate_limiter [RATE [BURST [REQUESTS]]]     20 a second, 5 at once, for ever if none are given
//
//     ticker --tick--> bucket of permits --permit--> client, client, client...
//
// A request takes a permit from the bucket, or waits for one. The bucket holds BURST, and a ticker
// puts in RATE each second; what finds it full is lost. So after a quiet time there are BURST at
// once, and in the first t seconds at most BURST + RATE * t. Ticks that the program was too late for
// are not made up for (gort/timer.hpp).
//
// Ends after so many requests, or by Ctrl-C or SIGTERM, with status 0; by a second signal at once.
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <gort/gort.hpp>
#include <optional>
#include <stop_token>
#include <vector>

#include "arguments.hpp"

namespace {

using std::chrono::steady_clock;

constexpr int kClients = 3;

struct Permit {};

// One permit each period; nobody waits for who does not need them.
void refill(const gort::chan<Permit>& bucket, steady_clock::duration period) {
  const gort::ticker beat(period);
  for ([[maybe_unused]] const auto tick : beat.channel()) (void)bucket.try_send(Permit());
}

struct Request {
  int client;
  steady_clock::time_point when;
};

void send_requests(int client, const gort::receiver<Permit>& bucket,
                   const gort::sender<Request>& server) {
  while (bucket.recv()) server.send({client, steady_clock::now()});
}

void limit(int rate, int burst, int requests) {
  const gort::chan<int> signals(1);
  gort::signals::notify(signals, {SIGINT, SIGTERM});
  std::stop_source end;
  gort::go([signals, end]() mutable {
    (void)signals.recv();
    gort::signals::stop(signals);  // the next one does what it does by itself
    end.request_stop();
  });
  const gort::chan<Permit> bucket(static_cast<size_t>(burst));
  const gort::chan<Request> server;
  for (int i = 0; i < burst; ++i) bucket.send(Permit());
  const auto start = steady_clock::now();
  // None of them ends by itself. At the end of the run they are asked to stop, and each does, in
  // the wait where it is.
  gort::go(refill, bucket, steady_clock::duration(std::chrono::seconds(1)) / rate);
  for (int i = 0; i < kClients; ++i) gort::go(send_requests, i, bucket, server);

  int served = 0;
  const auto serve = [&](const Request& request) {
    ++served;
    const std::chrono::duration<double, std::milli> at = request.when - start;
    std::printf("%9.3f ms: request %d, of client %d\n", at.count(), served, request.client);
    std::fflush(stdout);
  };
  while (!end.stop_requested() && (requests == 0 || served < requests)) {
    gort::select(gort::on_recv(server, [&](std::optional<Request> request) { serve(*request); }),
                 gort::on_stop(end.get_token()));
  }
  const std::chrono::duration<double> took = steady_clock::now() - start;
  std::printf("%d requests in %.3f s\n", served, took.count());
}

}  // namespace

int main(int argc, char** argv) try {
  examples::check_count(argc, 3, "rate_limiter [RATE [BURST [REQUESTS]]]");
  const int rate = examples::parse(argc, argv, 1, {"RATE", 1, 10'000, 20});
  const int burst = examples::parse(argc, argv, 2, {"BURST", 1, 1000, 5});
  const int requests = examples::parse(argc, argv, 3, {"REQUESTS", 0, 1'000'000, 0});
  gort::run(limit, rate, burst, requests);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "rate_limiter: %s\n", error.what());
  return 1;
}
