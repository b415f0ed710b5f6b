// echo_server: sends back what it is sent; a fiber for every connection.
//
//     echo_server [port]        7777 if none is given; Ctrl-C ends it. Try: nc 127.0.0.1 7777
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <gort/gort.hpp>

namespace {

using namespace std::chrono_literals;

constexpr unsigned long kDefaultPort = 7777;

void echo(gort::net::tcp_stream peer) {
  char buffer[4096];
  std::error_code ec;
  while (const size_t n = peer.read_some(buffer, ec)) {
    peer.write(std::string_view(buffer, n), ec);
    if (ec) break;
  }
  // peer's destructor closes the connection.
}

void serve(uint16_t port) {
  auto listener = gort::net::tcp_listener::listen("127.0.0.1", port);
  std::printf("Echoing on %s\n", listener.local_endpoint().to_string().c_str());
  std::fflush(stdout);
  for (;;) {
    std::error_code ec;
    gort::net::tcp_stream peer = listener.accept(ec);
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
