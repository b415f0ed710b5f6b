// The room of chat_server by itself, with clients who are not connected.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "chat/room.hpp"

namespace example_tests {
namespace {

using chat::Client;
using chat::ClientPtr;
using chat::Event;

constexpr size_t kWhatAReaderHears = 10'000;

ClientPtr enter(chat::Room& room, const std::string& name, size_t outbox_lines) {
  auto client = std::make_shared<Client>();
  client->outbox = gort::chan<chat::Line>(outbox_lines);
  room.take({Event::Kind::enters, client, {}});
  (void)client->outbox.recv();  // "* Your name?"
  client->name = name;
  return client;
}

std::vector<std::string> heard_by(Client& client) {
  std::vector<std::string> lines;
  chat::Line line;
  while (client.outbox.try_recv(line) == gort::op_status::ok) lines.push_back(*line);
  return lines;
}

// Everybody has room for one line more, and none for the next. More of them than a fiber's stack has frames.
TEST(ChatRoom, AnyNumberMayBeTooSlowAtOnce) {
  constexpr int kSlow = 5000;
  gort::run([] {
    chat::Room room;
    const ClientPtr reader = enter(room, "reader", kWhatAReaderHears);
    const ClientPtr speaker = enter(room, "speaker", kWhatAReaderHears);
    std::vector<ClientPtr> slow;
    for (int i = 0; i < kSlow; ++i) slow.push_back(enter(room, "slow" + std::to_string(i), 1));
    room.take({Event::Kind::says, speaker, "one"});
    EXPECT_EQ(heard_by(*reader), std::vector<std::string>{"speaker: one\n"});
    room.take({Event::Kind::says, speaker, "two"});
    std::vector<std::string> heard = heard_by(*reader);
    ASSERT_EQ(heard.size(), 1U + kSlow);
    EXPECT_EQ(heard.front(), "speaker: two\n");
    EXPECT_EQ(heard_by(*speaker), std::vector<std::string>(heard.begin() + 1, heard.end()))
        << "all hear the same, in one order";
    std::vector<std::string> expected;
    for (const ClientPtr& client : slow)
      expected.push_back("* " + client->name + " was too slow\n");
    std::sort(heard.begin() + 1, heard.end());
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(std::vector<std::string>(heard.begin() + 1, heard.end()), expected);
    for (const ClientPtr& client : slow)
      EXPECT_EQ(client->outbox.try_send({}), gort::op_status::closed);
  });
}

// Who has no room for the word that another has gone follows, and is told of in turn.
TEST(ChatRoom, WhoIsTooSlowForTheWordOfOthersGoesAsWell) {
  constexpr int kSlow = 20;
  gort::run([] {
    chat::Room room;
    const ClientPtr reader = enter(room, "reader", kWhatAReaderHears);
    std::vector<ClientPtr> slow;
    for (int i = 0; i < kSlow; ++i) {
      slow.push_back(enter(room, std::to_string(i), static_cast<size_t>(i) + 1));
    }
    room.take({Event::Kind::says, reader, "one"});
    room.take({Event::Kind::says, reader, "two"});
    std::vector<std::string> goings;
    for (int i = 0; i < kSlow; ++i) goings.push_back("* " + std::to_string(i) + " was too slow\n");
    EXPECT_EQ(heard_by(*reader), goings) << "each fills the outbox of the next";
  });
}

}  // namespace
}  // namespace example_tests
