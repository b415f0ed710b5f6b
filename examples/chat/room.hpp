// room: who is there in chat_server, and who hears what. One fiber has it, so no lock is needed; it never waits for a client.
#pragma once

#include <algorithm>
#include <cstddef>
#include <gort/gort.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace chat {

// A megabyte at most for each client: a line is a name and what was said, of kLineBytesMax each.
inline constexpr size_t kOutboxLines = 1024;

using Line = std::shared_ptr<const std::string>;  // one copy, however many clients

struct Client {
  gort::net::tcp_stream peer;
  gort::chan<Line> outbox{kOutboxLines};
  std::string name;  // the room's; empty: not known yet
};
using ClientPtr = std::shared_ptr<Client>;

struct Event {
  enum class Kind { enters, says, leaves, server_ends } kind;
  ClientPtr client;
  std::string text;
};

class Room {
 public:
  void take(const Event& event) {
    const ClientPtr& client = event.client;
    switch (event.kind) {
      case Event::Kind::enters:
        clients_.push_back(client);
        (void)client->outbox.try_send(to_line("* Your name?"));  // there is room for the first
        if (ended_) remove(client);
        break;
      case Event::Kind::says:
        hear(client, event.text);
        break;
      case Event::Kind::leaves:
        if (remove(client) && !client->name.empty()) tell("* " + client->name + " has left");
        break;
      case Event::Kind::server_ends:
        tell("* The server ends");
        ended_ = true;
        for (const ClientPtr& each : clients_) each->outbox.close();
        clients_.clear();
        break;
    }
  }

 private:
  static Line to_line(std::string text) {
    return std::make_shared<const std::string>(std::move(text) + "\n");
  }

  void hear(const ClientPtr& client, const std::string& text) {
    if (!is_here(client)) return;  // said before it noticed that it was not
    if (!client->name.empty()) return tell(client->name + ": " + text, client.get());
    const bool taken =
        std::ranges::any_of(clients_, [&](const ClientPtr& other) { return other->name == text; });
    if (text.empty() || taken) {
      (void)client->outbox.try_send(to_line("* Another name, please?"));
      return;
    }
    client->name = text;
    tell("* " + text + " has come");
  }

  // To all but `speaker`. Who is too far behind goes, which all others are told, and for that some of them may have to go as well: one
  // after the other, and not each inside of the last, since there may be more of them than fit on a stack.
  void tell(std::string text, const Client* speaker = nullptr) {
    std::vector<ClientPtr> gone = offer(to_line(std::move(text)), speaker);
    while (!gone.empty()) {
      const ClientPtr client = std::move(gone.back());
      gone.pop_back();
      if (client->name.empty()) continue;
      const auto more = offer(to_line("* " + client->name + " was too slow"));
      gone.insert(gone.end(), more.begin(), more.end());
    }
  }
  // Disconnects those who have no room for the line, and returns them.
  std::vector<ClientPtr> offer(const Line& line, const Client* speaker = nullptr) {
    std::vector<ClientPtr> behind;
    for (const ClientPtr& client : clients_) {
      if (client.get() == speaker) continue;
      if (client->outbox.try_send(line) == gort::op_status::full) behind.push_back(client);
    }
    for (const ClientPtr& client : behind) {
      client->peer.close();  // its reader and its writer find that out
      remove(client);
    }
    return behind;
  }

  [[nodiscard]] bool is_here(const ClientPtr& client) const {
    return std::ranges::find(clients_, client) != clients_.end();
  }
  // False: it is not here any more.
  bool remove(const ClientPtr& client) {
    if (std::erase(clients_, client) == 0) return false;
    client->outbox.close();
    return true;
  }

  std::vector<ClientPtr> clients_;
  bool ended_ = false;
};

}  // namespace chat
