// echo_server: sends back what it is sent; a fiber for every connection.
//
//     echo_server [PORT]        7777 if none is given. Try: nc 127.0.0.1 7777
//
// Ctrl-C or SIGTERM ends it, with status 0: nobody is let in any more, and what has come is sent back. It takes some
// seconds at most, whatever the peers do; a second signal ends it at once.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <functional>
#include <gort/gort.hpp>
#include <new>
#include <optional>
#include <stop_token>
#include <string_view>
#include <system_error>
#include <utility>

#include "arguments.hpp"

namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

// At the end of the run, which ends a wait of each fiber, once, by gort::stopped.
constexpr auto kLastCall = 100ms;  // for what is on its way, if all is quiet
constexpr auto kGrace = 3s;        // for all that is still said and sent back
constexpr auto kPartTime = 1s;     // at any connection's end: for the peer to close as well
constexpr auto kShortagePause = 50ms;

// Closing at once would be a reset where input is left unread, and could take the last of the output along.
void part(gort::net::tcp_stream& peer) {
  std::error_code ec;
  peer.shutdown_write(ec);
  if (!ec) peer.set_deadline(steady_clock::now() + kPartTime, ec);
  char rest[512];
  size_t n = 1;
  while (!ec && n != 0) {
    try {
      n = peer.read_some(rest, ec);
    } catch (const gort::stopped&) {  // it ends soon enough
    }
  }
}

void echo(gort::net::tcp_stream peer) try {
  char buffer[4096];
  std::string_view out;  // to be sent back
  std::error_code ec;
  // Known once the run ends; a peer that goes on does not move it.
  std::optional<steady_clock::time_point> end;
  const std::stop_token stop = gort::this_fiber::stop_token();
  while (!ec) {
    try {
      // Who never lets us wait, by sending fast and taking fast, would never let us hear of it.
      if (!end && stop.stop_requested()) end = steady_clock::now() + kGrace;
      if (end) {
        peer.set_deadline(out.empty() ? std::min(*end, steady_clock::now() + kLastCall) : *end, ec);
      }
      if (out.empty()) {
        const size_t n = peer.read_some(buffer, ec);
        if (n == 0) break;
        out = std::string_view(buffer, n);
      }
      out.remove_prefix(peer.write_some(out, ec));
    } catch (const gort::stopped&) {  // above is seen why
    }
  }
  part(peer);
} catch (const std::bad_alloc&) {  // for the token: this peer is sent away
}

void close_at_signal(gort::net::tcp_listener& listener, const gort::chan<int>& signals) {
  (void)signals.recv();
  gort::signals::stop(signals);  // the next one does what it does by itself
  listener.close();
}

void serve(int port) {
  const gort::chan<int> signals(1);
  gort::signals::notify(signals, {SIGINT, SIGTERM});
  auto listener = gort::net::tcp_listener::listen("127.0.0.1", static_cast<uint16_t>(port));
  std::printf("Echoing on %s\n", listener.local_endpoint().to_string().c_str());
  std::fflush(stdout);
  // A task is stopped and joined where it goes out of scope, so this one does not outlive the listener, whatever is thrown.
  const auto closer = gort::spawn(close_at_signal, std::ref(listener), signals);
  for (;;) {
    std::error_code ec;
    gort::net::tcp_stream peer = listener.accept(ec);
    if (ec == std::errc::operation_canceled)
      return;  // closed: the run ends, and with it every fiber
    try {
      if (!ec) gort::go(echo, std::move(peer));
    } catch (const std::system_error& error) {
      ec = error.code();
    }
    // No descriptor or no memory is left, most likely: connections that end will free some.
    if (ec) gort::sleep_for(kShortagePause);
  }
}

}  // namespace

int main(int argc, char** argv) try {
  examples::check_count(argc, 1, "echo_server [PORT]");
  gort::run(serve, examples::parse(argc, argv, 1, {"PORT", 0, 65535, 7777}));
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "echo_server: %s\n", error.what());
  return 1;
}
