// http_server: HTTP/1.1 with keep-alive and pipelining, a fiber for every connection.
//
//     http_server [--host H] [--port N] [--procs N] [--quiet] [--report]
//
// `/` is a small page, `/hello` plain text, `/stats` the scheduler's counters as JSON. Ctrl-C or
// SIGTERM ends it: requests under way are answered, then it exits with status 0, in some seconds at most; a second signal
// ends it at once. --report prints the CPU time per request then. http/ does the parsing; here is only what waits.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <functional>
#include <gort/gort.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "http/report.hpp"
#include "http/session.hpp"
#include "http/settings.hpp"
#include "http/stats_json.hpp"

namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr auto kIdleTime = 60s;    // then a connection is closed: without a request, or within one
constexpr auto kTick = 5s;         // how often the log looks, and how coarse kIdleTime is
constexpr auto kLastCall = 100ms;  // at the end: for a request that is on its way, if all is quiet
constexpr auto kGrace = 3s;        // at the end: for all that is still read and answered
constexpr auto kLingerTime = 2s;   // after the last answer: for the peer to take it and close
constexpr size_t kLingerBytesMax = 1024 * 1024;
constexpr auto kShortagePause = 50ms;

// Shared by all fibers; outlives them.
struct Server {
  http::Settings settings;
  gort::net::tcp_listener listener;
  std::atomic<uint64_t> requests{0};  // of connections that have ended
  std::atomic<uint64_t> connections{0};
  std::atomic<unsigned> ticks{0};  // a clock that costs its readers nothing
  std::atomic<bool> ends{false};
};

struct Connection {
  gort::net::tcp_stream peer;
  http::Session session;
  std::optional<steady_clock::time_point> end;  // known once the run ends

  // The server ends: gort::stopped has come, as it does once, wherever the fiber waits, or the fiber has seen it without a wait. All that
  // is still to be done has this time.
  void end_soon(std::error_code& ec) {
    if (end) return;
    session.close_soon();
    end = steady_clock::now() + kGrace;
    peer.set_deadline(*end, ec);
  }
};

// Writes all of `out`, also if the run ends meanwhile.
bool write_all(Connection& connection, std::string_view out) {
  std::error_code ec;
  while (!out.empty() && !ec) {
    try {
      out.remove_prefix(connection.peer.write_some(out, ec));
    } catch (const gort::stopped&) {
      connection.end_soon(ec);
    }
  }
  return !ec;
}

// Closing at once would reset a connection that has unread input, and the answer with it.
void linger(Connection& connection) {
  gort::net::tcp_stream& peer = connection.peer;
  const std::span<char> buffer = connection.session.buffer();
  auto until = steady_clock::now() + kLingerTime;
  if (connection.end) until = std::min(until, *connection.end);
  std::error_code ec;
  peer.shutdown_write(ec);
  if (!ec) peer.set_deadline(until, ec);
  for (size_t total = 0; !ec && total < kLingerBytesMax;) {
    try {
      const size_t n = peer.read_some(buffer, ec);
      if (n == 0) return;
      total += n;
    } catch (const gort::stopped&) {  // it is over soon enough
    }
  }
}

void serve(Server& server, gort::net::tcp_stream peer) try {
  Connection connection{std::move(peer), {}, {}};
  http::Session& session = connection.session;
  std::string out;
  std::string json;
  const auto handler = [&json](const http::Request& request) -> http::Reply {
    if (request.path() != "/stats") return http::pages(request);
    json = http::to_json(gort::stats());
    return {.type = "application/json", .body = json};
  };
  std::error_code ec;
  unsigned tick = ~0U;
  bool fresh = true;  // the last read has begun or completed a request
  while (!session.closing()) {
    const unsigned now = server.ticks.load(std::memory_order_relaxed);
    // Who never lets us wait, by sending fast and taking fast, would never let us hear of it.
    if (server.ends.load(std::memory_order_relaxed)) connection.end_soon(ec);
    if (connection.end) {
      const auto last_call = std::min(*connection.end, steady_clock::now() + kLastCall);
      connection.peer.set_read_deadline(session.idle() ? last_call : *connection.end, ec);
    } else if (fresh && now != tick) {  // moving the deadline for every request would be a waste
      tick = now;
      connection.peer.set_deadline(steady_clock::now() + kIdleTime, ec);
    }
    size_t n = 0;
    try {
      n = connection.peer.read_some(session.buffer(), ec);
    } catch (const gort::stopped&) {
      connection.end_soon(ec);
      continue;
    }
    if (ec || n == 0) break;
    // A byte every few seconds is neither.
    fresh = session.idle();
    const uint64_t before = session.served();
    session.feed(n, out, handler);
    fresh = fresh || session.served() != before;
    if (!write_all(connection, out)) break;
    out.clear();
  }
  server.requests.fetch_add(session.served(), std::memory_order_relaxed);
  if (session.closing() || connection.end) linger(connection);
} catch (const std::exception& error) {  // no memory: this peer is sent away, and the others stay
  std::fprintf(stderr, "http_server: a connection is given up: %s\n", error.what());
}

// Says once per shortage what is missing, and gives it time to pass: without the pause a connection
// that waits for a descriptor would keep a processor busy.
void wait_out(const char* what, const std::string& why, bool& complained) {
  if (!complained) std::fprintf(stderr, "http_server: %s: %s\n", what, why.c_str());
  complained = true;
  gort::sleep_for(kShortagePause);
}

void accept_all(Server& server) {
  bool complained = false;
  for (;;) {
    std::error_code ec;
    gort::net::tcp_stream peer = server.listener.accept(ec);
    if (ec == std::errc::operation_canceled) return;  // end_at_signal() has closed the listener
    if (ec) {
      // No descriptor is left, most likely. Connections that end will free some.
      wait_out("accept", ec.message(), complained);
      continue;
    }
    server.connections.fetch_add(1, std::memory_order_relaxed);
    try {
      gort::go(serve, std::ref(server), std::move(peer));
      complained = false;
    } catch (const std::system_error& error) {  // no memory for a stack: this peer is sent away
      wait_out("a connection", error.what(), complained);
    }
  }
}

void end_at_signal(Server& server, const gort::chan<int>& signals) {
  (void)signals.recv();
  gort::signals::stop(signals);  // the next one does what it does by itself
  server.ends.store(true, std::memory_order_relaxed);
  server.listener.close();
}

// Every few seconds, when something has happened, a line about the scheduler.
void log_stats(Server& server) {
  uint64_t before = 0;
  for (;;) {
    gort::sleep_for(kTick);
    server.ticks.fetch_add(1, std::memory_order_relaxed);
    const auto stats = gort::stats();
    const uint64_t connections = server.connections.load(std::memory_order_relaxed);
    const bool news = stats.parks > before + 1;  // our own sleep is none
    before = stats.parks;
    if (!news || server.settings.quiet) continue;
    std::fprintf(stderr, "%llu connections; %s\n", static_cast<unsigned long long>(connections),
                 http::to_line(stats).c_str());
  }
}

gort::net::tcp_listener open_listener(const http::Settings& settings, FILE* out) {
  constexpr uint16_t kFirstPort = 8080;
  constexpr uint16_t kPortsToTry = 10;
  if (settings.port >= 0) {
    return gort::net::tcp_listener::listen(settings.host, static_cast<uint16_t>(settings.port));
  }
  std::error_code ec;
  for (uint16_t port = kFirstPort; port < kFirstPort + kPortsToTry; ++port) {
    auto listener = gort::net::tcp_listener::listen(settings.host, port, ec);
    if (!ec) return listener;
    if (ec != std::errc::address_in_use) break;
    std::fprintf(out, "Port %d is taken.\n", port);
  }
  return gort::net::tcp_listener::listen(settings.host, 0);
}

void serve_until_signal(Server& server) {
  const http::Settings& settings = server.settings;
  FILE* out = settings.quiet ? stderr : stdout;
  server.listener = open_listener(settings, out);
  const gort::chan<int> signals(1);
  gort::signals::notify(signals, {SIGINT, SIGTERM});
  const std::string url = "http://" + server.listener.local_endpoint().to_string();
  std::fprintf(out, "Serving on %s/\n", url.c_str());
  if (!settings.quiet) {
    std::fprintf(out,
                 "Try:  curl -i %s/hello\n      curl %s/stats\n      wrk -c 64 %s/hello\n"
                 "Ctrl-C ends it.\n",
                 url.c_str(), url.c_str(), url.c_str());
  }
  std::fflush(out);
  int procs = 0;
  gort::run(gort::options{.procs = settings.procs}, [&] {
    procs = gort::procs();
    gort::go(end_at_signal, std::ref(server), signals);
    gort::go(log_stats, std::ref(server));
    accept_all(server);
  });
  if (settings.report) http::report("gort", procs, server.requests.load(std::memory_order_relaxed));
}

}  // namespace

int main(int argc, char** argv) {
  Server server;
  const http::Settings& settings = server.settings;
  if (!http::parse(argc, argv, server.settings)) {
    std::fprintf(stderr, "usage: %s %s\n", argv[0], http::kUsage);
    return 1;
  }
  try {
    serve_until_signal(server);
  } catch (const std::exception& error) {
    const std::string port = settings.port < 0 ? "" : ":" + std::to_string(settings.port);
    std::fprintf(stderr, "http_server: %s%s: %s\n", settings.host.c_str(), port.c_str(),
                 error.what());
    return 1;
  }
  return 0;
}
