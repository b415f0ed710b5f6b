// chat_server: what one client says, all others read, in one order for all.
//
//     chat_server [PORT]        7070 if none is given. Try, twice: nc 127.0.0.1 7070
//
//     client --line--> reader --event--> room --line--> outbox, writer --line--> client
//
// The first line that a client sends is its name. Every client has two fibers: one reads, one
// writes. The room, one fiber more, is the only one that knows who is there: no lock is needed, and
// all lines go through it in one order. It never waits for a client: who is kOutboxLines behind, or
// takes nothing for kPatience, is disconnected, so that one who does not read holds up nobody.
//
// Ctrl-C or SIGTERM ends it, with status 0: nobody is let in any more, what was said is delivered,
// and all are told. Who has not taken it after kGrace misses the rest. A second signal ends it at once.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <functional>
#include <gort/gort.hpp>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "arguments.hpp"
#include "chat/line_reader.hpp"
#include "chat/room.hpp"

namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr auto kPatience = 3s;  // for a client to take a line, and to close after the last
constexpr auto kGrace = 3s;     // for all clients to do so at the server's end

using chat::Client, chat::ClientPtr, chat::Event, chat::Line, chat::Room;

// Writes what comes into the outbox, and then the end of the stream.
void write_lines(const ClientPtr& client) {
  gort::net::tcp_stream& peer = client->peer;
  std::error_code ec;
  for (const Line& line : client->outbox) {
    peer.set_write_deadline(steady_clock::now() + kPatience, ec);
    if (!ec) peer.write(*line, ec);
    if (ec) return peer.close();  // the reader finds that out
  }
  peer.shutdown_write(ec);
  // The client reads the end, and closes. That is awaited, but not for ever.
  if (!ec) peer.set_read_deadline(steady_clock::now() + kPatience, ec);
}

// Hands on what it says.
void hear(const ClientPtr& client, const gort::sender<Event>& room) try {
  chat::LineReader lines(client->peer);
  while (auto line = lines.next()) room.send({Event::Kind::says, client, *std::move(line)});
} catch (const std::exception& error) {  // no memory for a line
  std::fprintf(stderr, "chat_server: a client is sent away: %s\n", error.what());
  client->peer.close();
}

// A client, from its coming to its end.
void talk(gort::net::tcp_stream peer, const gort::sender<Event>& room) try {
  const auto client = std::make_shared<Client>();
  client->peer = std::move(peer);
  auto writer = gort::spawn(write_lines, client);
  room.send({Event::Kind::enters, client, {}});
  hear(client, room);
  room.send({Event::Kind::leaves, client, {}});
  writer.get();
} catch (const std::exception& error) {  // no memory, for the writer's stack most likely
  std::fprintf(stderr, "chat_server: a client is sent away: %s\n", error.what());
}

// Shared by all fibers; outlives them.
struct Server {
  gort::net::tcp_listener listener;
  gort::chan<Event> events;
  gort::wait_group talks;
};

void accept_all(Server& server) {
  for (;;) {
    std::error_code ec;
    gort::net::tcp_stream peer = server.listener.accept(ec);
    if (ec == std::errc::operation_canceled) return;  // closed: the end
    try {
      if (!ec) server.talks.go(talk, std::move(peer), server.events);
    } catch (const std::system_error& error) {
      ec = error.code();
    }
    // No descriptor or no memory is left, most likely: clients that leave will free some.
    if (ec) gort::sleep_for(50ms);
  }
}

void serve(Server& server, const gort::chan<int>& signals) {
  gort::go([&server, signals] {
    (void)signals.recv();
    gort::signals::stop(signals);  // the next one does what it does by itself
    server.listener.close();
  });
  gort::go([events = server.events] {
    Room here;
    for (const Event& event : events) here.take(event);
  });
  accept_all(server);
  server.events.send({Event::Kind::server_ends, nullptr, {}});
  // Then the run ends, which stops every fiber that is left: the room, and who waits for a client.
  (void)server.talks.wait_for(kGrace);
}

}  // namespace

int main(int argc, char** argv) try {
  examples::check_count(argc, 1, "chat_server [PORT]");
  const int port = examples::parse(argc, argv, 1, {"PORT", 0, 65535, 7070});
  Server server;
  server.listener = gort::net::tcp_listener::listen("127.0.0.1", static_cast<uint16_t>(port));
  const gort::chan<int> signals(1);
  gort::signals::notify(signals, {SIGINT, SIGTERM});
  std::printf("Chatting on %s\n", server.listener.local_endpoint().to_string().c_str());
  std::fflush(stdout);
  gort::run(serve, std::ref(server), signals);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "chat_server: %s\n", error.what());
  return 1;
}
