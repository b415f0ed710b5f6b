// echo_server: sends back what it is sent; a fiber for every connection.
//
//     echo_server [port]        7777 if none is given. Try: nc 127.0.0.1 7777
//
// Ctrl-C or SIGTERM ends it, with status 0: nobody is let in any more, and what has come is sent back.
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <gort/gort.hpp>

namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr unsigned long kDefaultPort = 7777;

// At the end of the run, which ends a wait of each fiber, once, by gort::stopped.
constexpr auto kLastCall = 100ms;  // for what is on its way
constexpr auto kGrace = 3s;        // for the peer to take what is sent back, and to close

void echo(gort::net::tcp_stream peer) {
  char buffer[4096];
  std::string_view out;  // to be sent back
  std::error_code ec;
  bool ending = false;
  while (!ec) {
    try {
      if (ending) {
        peer.set_deadline(steady_clock::now() + (out.empty() ? kLastCall : kGrace), ec);
      }
      if (out.empty()) {
        const size_t n = peer.read_some(buffer, ec);
        if (n == 0) break;
        out = std::string_view(buffer, n);
      }
      out.remove_prefix(peer.write_some(out, ec));
    } catch (const gort::stopped&) {
      ending = true;
    }
  }
  // peer's destructor closes the connection. Where input is left unread that would be a reset, and could take the last of
  // the output along.
  peer.shutdown_write(ec);
  if (!ec) peer.set_deadline(steady_clock::now() + kGrace, ec);
  while (!ec && peer.read_some(buffer, ec) != 0) {
  }
}

void serve(uint16_t port) {
  const gort::chan<int> signals(1);
  gort::signals::notify(signals, {SIGINT, SIGTERM});
  auto listener = gort::net::tcp_listener::listen("127.0.0.1", port);
  std::printf("Echoing on %s\n", listener.local_endpoint().to_string().c_str());
  std::fflush(stdout);
  gort::go([&listener, signals] {
    (void)signals.recv();
    listener.close();
  });
  for (;;) {
    std::error_code ec;
    gort::net::tcp_stream peer = listener.accept(ec);
    if (ec == std::errc::operation_canceled)
      return;  // closed: the run ends, and with it every fiber
    if (ec) {  // no descriptor is left, most likely: connections that end will free some
      gort::sleep_for(50ms);
    } else {
      gort::go(echo, std::move(peer));
    }
  }
}

}  // namespace

int main(int argc, char** argv) try {
  const unsigned long port = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : kDefaultPort;
  if (argc > 2 || port > 65535) {
    std::fprintf(stderr, "usage: %s [port]\n", argv[0]);
    return 1;
  }
  gort::run(serve, static_cast<uint16_t>(port));
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "echo_server: %s\n", error.what());
  return 1;
}
