// chat_server from outside: several clients, in every mood.
#include <chrono>
#include <memory>
#include <thread>

#include "program.hpp"

namespace example_tests {
namespace {

// One of them, by lines.
class Chatter {
 public:
  explicit Chatter(uint16_t port, int receive_bytes = 0) : client_(port, receive_bytes) {}

  bool say(const std::string& text) const { return client_.send(text + "\n"); }
  bool say_bytes(const std::string& bytes) const { return client_.send(bytes); }
  void finish() const { client_.finish(); }
  void reset_at_end() const { client_.reset_at_end(); }

  // The next line; "(end)" at the end of the stream.
  std::string hear() {
    size_t end = 0;
    while ((end = heard_.find('\n')) == std::string::npos) {
      const std::string more = client_.read_some();
      if (more.empty()) return "(end)";
      heard_ += more;
    }
    std::string line = heard_.substr(0, end);
    heard_.erase(0, end + 1);
    return line;
  }
  // Takes a little of what is there, whatever it is.
  void bite() const { (void)client_.read_some(); }
  // Up to this line; false: it did not come.
  bool hear_up_to(const std::string& line) {
    for (std::string next; next != "(end)";) {
      next = hear();
      if (next == line) return true;
    }
    return false;
  }

 private:
  Client client_;
  std::string heard_;
};

class ChatServer : public ::testing::Test {
 protected:
  void SetUp() override {
    server_ = std::make_unique<Program>("chat_server", std::vector<std::string>{"0"});
    port_ = server_->port();
    ASSERT_NE(port_, 0) << server_->errors;
  }
  // Whatever a test has done to it, the server ends by SIGTERM with status 0, and says nothing
  // more.
  void TearDown() override {
    if (server_ == nullptr) return;
    if (!told_) tell_to_end(SIGTERM);
    EXPECT_EQ(server_->wait(), 0);
    EXPECT_EQ(server_->errors, "");
    EXPECT_EQ(server_->output, "Chatting on 127.0.0.1:" + std::to_string(port_) + "\n");
  }

  // Once: the second signal is another matter.
  void tell_to_end(int signal) {
    server_->signal(signal);
    told_ = true;
  }

  // One who is there, and knows it.
  std::unique_ptr<Chatter> enter(const std::string& name, int receive_bytes = 0) const {
    auto chatter = std::make_unique<Chatter>(port_, receive_bytes);
    EXPECT_TRUE(chatter->hear_up_to("* Your name?"));
    chatter->say(name);
    EXPECT_TRUE(chatter->hear_up_to("* " + name + " has come"));
    return chatter;
  }

  // A line of 500 bytes, a hundred times, to one who reads. False: meanwhile somebody has gone.
  static bool flood(const Chatter& from, Chatter& to) {
    const std::string text(500, 'x');
    for (int i = 0; i < kFlood; ++i) EXPECT_TRUE(from.say(text));
    bool all_here = true;
    for (int i = 0; i < kFlood;) {
      const std::string line = to.hear();
      if (line.ends_with(": " + text)) {
        ++i;
      } else if (line.ends_with(" was too slow") || line.ends_with(" has left")) {
        all_here = false;
      } else {
        ADD_FAILURE() << line;
        return false;
      }
    }
    return all_here;
  }
  // Until the others hear that somebody, who does not read, has gone. How often that was.
  static int flood_out(const Chatter& from, Chatter& to) {
    constexpr int kRoundsMax = 2000;  // 100 MB: no kernel keeps that
    for (int rounds = 1; rounds < kRoundsMax; ++rounds) {
      if (!flood(from, to)) return rounds;
    }
    ADD_FAILURE() << "who does not read is still there";
    return kRoundsMax;
  }
  static constexpr int kFlood = 100;

  std::unique_ptr<Program> server_;
  uint16_t port_ = 0;
  bool told_ = false;
};

TEST_F(ChatServer, ClientsComeTalkAndLeave) {
  auto ann = enter("ann");
  auto bob = enter("bob");
  EXPECT_EQ(ann->hear(), "* bob has come");
  ann->say("Hello, bob.");
  EXPECT_EQ(bob->hear(), "ann: Hello, bob.");
  bob->say_bytes("Hel");
  bob->say_bytes("lo, ann.\r\nYou here?\n\n");
  EXPECT_EQ(ann->hear(), "bob: Hello, ann.");
  EXPECT_EQ(ann->hear(), "bob: You here?");
  EXPECT_EQ(ann->hear(), "bob: ");
  bob->say_bytes("half a line is not said");
  bob->finish();
  EXPECT_EQ(ann->hear(), "* bob has left");
  EXPECT_EQ(bob->hear(), "(end)") << "who speaks does not hear it again";
}

TEST_F(ChatServer, NamesAreTakenOnce) {
  auto ann = enter("ann");
  Chatter other(port_);
  EXPECT_EQ(other.hear(), "* Your name?");
  for (const char* name : {"ann", "", "\r"}) {
    other.say(name);
    EXPECT_EQ(other.hear(), "* Another name, please?");
  }
  other.say("ann2");
  EXPECT_EQ(other.hear(), "* ann2 has come");
  EXPECT_EQ(ann->hear(), "* ann2 has come");
  ann.reset();
  EXPECT_EQ(other.hear(), "* ann has left");
  auto again = enter("ann");
  EXPECT_EQ(other.hear(), "* ann has come");
}

TEST_F(ChatServer, LongLinesAreCutAndTerminalsAreSafe) {
  auto ann = enter("ann");
  auto bob = enter("bob");
  bob->say(std::string(1200, 'b'));
  bob->say("\x1b[2J\a\tred\x7f");
  EXPECT_EQ(ann->hear(), "* bob has come");
  EXPECT_EQ(ann->hear(), "bob: " + std::string(512, 'b'));
  EXPECT_EQ(ann->hear(), "bob: " + std::string(512, 'b'));
  EXPECT_EQ(ann->hear(), "bob: " + std::string(176, 'b'));
  EXPECT_EQ(ann->hear(), "bob: ?[2J??red?");
  // U+009B and others of its kind: in UTF-8, as bytes, behind half a character, and in what only looks like one.
  bob->say(
      "\xc2\x9b"
      "2J\xc2\x80\xc2\x9f.\x9b"
      "2J\xc4.\xe2\x82\x9b.\xe0\x82\x9b.\xed\xa0\x9b.\xf5\x9b.\xc1\x9b");
  EXPECT_EQ(ann->hear(), "bob: ?2J??.?2J\xc4.\xe2\x82\x9b.\xe0??.\xed\xa0?.\xf5?.\xc1?");
  // What has such bytes inside and is a letter, also in Latin-1, stays as it is.
  bob->say("\xc3\xa9\xc2\xa0\xc4\x9b\xe2\x82\xac\xf0\x9f\x98\x80\xe9");
  EXPECT_EQ(ann->hear(), "bob: \xc3\xa9\xc2\xa0\xc4\x9b\xe2\x82\xac\xf0\x9f\x98\x80\xe9");
}

// As long as a line may be, and one byte less and more, with either end, in one piece or with the end to come.
TEST_F(ChatServer, LinesOfAboutTheGreatestLength) {
  auto ann = enter("ann");
  auto bob = enter("bob");
  EXPECT_EQ(ann->hear(), "* bob has come");
  for (const int length : {511, 512, 513}) {
    for (const std::string end : {"\n", "\r\n"}) {
      const std::string text(static_cast<size_t>(length), 'b');
      for (const bool in_pieces : {false, true}) {
        if (in_pieces) {
          bob->say_bytes(text);
          ann->say("Go on.");
          EXPECT_EQ(bob->hear(), "ann: Go on.");
          bob->say_bytes(end);
        } else {
          bob->say_bytes(text + end);
        }
        bob->say("next");
        EXPECT_EQ(ann->hear(), "bob: " + text.substr(0, 512));
        if (length > 512) {
          EXPECT_EQ(ann->hear(), "bob: " + text.substr(512));
        }
        EXPECT_EQ(ann->hear(), "bob: next");
      }
    }
  }
}

TEST_F(ChatServer, AllHearTheSameInOneOrder) {
  constexpr int kLines = 200;  // of each, fewer together than may lie in an outbox
  const std::vector<std::string> names = {"ann", "bob", "cid"};
  auto listener = enter("listener");
  std::vector<std::unique_ptr<Chatter>> chatters;
  for (const std::string& name : names) chatters.push_back(enter(name));
  for (size_t i = 0; i < names.size(); ++i) {
    EXPECT_TRUE(i + 1 == names.size() || chatters[i]->hear_up_to("* cid has come"));
  }
  ASSERT_TRUE(listener->hear_up_to("* cid has come"));
  {
    std::vector<std::jthread> threads;
    for (auto& chatter : chatters) {
      threads.emplace_back([&chatter] {
        for (int i = 0; i < kLines; ++i) chatter->say(std::to_string(i));
      });
    }
  }
  std::vector<std::string> all;
  while (all.size() < names.size() * kLines) {
    all.push_back(listener->hear());
    ASSERT_NE(all.back(), "(end)");
  }
  for (size_t i = 0; i < names.size(); ++i) {
    int mine = 0;
    for (const std::string& line : all) {
      if (line.starts_with(names[i] + ": ")) {
        EXPECT_EQ(line, names[i] + ": " + std::to_string(mine++));
      } else {
        ASSERT_EQ(chatters[i]->hear(), line) << "as " << names[i] << " hears it";
      }
    }
    EXPECT_EQ(mine, kLines);
  }
}

// More than the kernel keeps for him. The others go on talking meanwhile, and hear each other.
TEST_F(ChatServer, WhoDoesNotReadHoldsUpNobody) {
  auto ann = enter("ann");
  auto bob = enter("bob");
  auto slow = enter("slow", 4096);
  ASSERT_TRUE(bob->hear_up_to("* slow has come"));
  flood_out(*ann, *bob);
  ann->say("He is gone.");
  EXPECT_EQ(bob->hear(), "ann: He is gone.");
  while (slow->hear() != "(end)") {
  }
}

TEST_F(ChatServer, WhoVanishesIsMissed) {
  auto ann = enter("ann");
  for (int i = 0; i < 20; ++i) {
    auto bob = enter("bob");
    EXPECT_EQ(ann->hear(), "* bob has come");
    bob->say_bytes("I will be ba");
    if (i % 2 == 0) bob->reset_at_end();
    bob.reset();
    EXPECT_EQ(ann->hear(), "* bob has left");
    const Chatter nameless(port_);
  }
  auto cid = enter("cid");
  EXPECT_EQ(ann->hear(), "* cid has come");
}

TEST_F(ChatServer, AtTheEndEverybodyHearsWhatWasSaid) {
  constexpr int kLines = 50;
  auto ann = enter("ann");
  auto bob = enter("bob");
  auto cid = enter("cid");
  Chatter nameless(port_);
  ASSERT_TRUE(nameless.hear_up_to("* Your name?"));
  ASSERT_TRUE(bob->hear_up_to("* cid has come"));
  ann->say_bytes("half a line\nand ");
  for (int i = 0; i < kLines; ++i) bob->say(std::to_string(i));
  ASSERT_TRUE(cid->hear_up_to("bob: " + std::to_string(kLines - 1)));
  tell_to_end(SIGTERM);
  ASSERT_TRUE(ann->hear_up_to("bob: 0"));
  for (int i = 1; i < kLines; ++i) EXPECT_EQ(ann->hear(), "bob: " + std::to_string(i));
  for (Chatter* someone : {ann.get(), bob.get(), cid.get(), &nameless}) {
    EXPECT_TRUE(someone->hear_up_to("* The server ends"));
    EXPECT_EQ(someone->hear(), "(end)");
  }
}

// In the middle of a line to one who does not read: it gives him some seconds, and then goes.
TEST_F(ChatServer, EndsAlsoWithClientsWhoDoNot) {
  auto ann = enter("ann");
  auto bob = enter("bob");
  auto slow = enter("slow", 4096);
  ASSERT_TRUE(bob->hear_up_to("* slow has come"));
  const int rounds = flood_out(*ann, *bob);
  auto stuck = enter("stuck", 4096);
  ASSERT_TRUE(bob->hear_up_to("* stuck has come"));
  // As much as it took before, without the last half of the 1024 lines of an outbox.
  for (int i = 0; i < rounds - 512 / kFlood; ++i) flood(*ann, *bob);
  tell_to_end(SIGINT);
  EXPECT_EQ(server_->wait(), 0) << "while they are all still connected";
}

// He takes what there is for him in small bites, each in time, and would be at it for long.
TEST_F(ChatServer, EndsAlsoWithAClientWhoTakesHisTime) {
  auto ann = enter("ann");
  auto bob = enter("bob");
  auto slow = enter("slow", 4096);
  ASSERT_TRUE(bob->hear_up_to("* slow has come"));
  const int rounds = flood_out(*ann, *bob);
  slow = enter("slow again", 4096);
  ASSERT_TRUE(bob->hear_up_to("* slow again has come"));
  for (int i = 0; i < rounds - 512 / kFlood; ++i) flood(*ann, *bob);
  tell_to_end(SIGTERM);
  constexpr auto kLimit = std::chrono::seconds(7);  // it should take three
  constexpr int kBiteMs = 100;
  const auto begin = std::chrono::steady_clock::now();
  bool late = false;
  while (!late && !server_->ends_within(kBiteMs)) {
    slow->bite();
    late = std::chrono::steady_clock::now() - begin > kLimit;
  }
  EXPECT_FALSE(late);
}

TEST_F(ChatServer, EndsAtOnceByASecondSignal) {
  auto ann = enter("ann");  // and does not go
  server_->signal(SIGTERM);
  EXPECT_TRUE(ann->hear_up_to("* The server ends"));
  await_closed(port_);
  server_->signal(SIGINT);
  EXPECT_EQ(server_->wait(), -1);
  EXPECT_EQ(server_->killed_by(), SIGINT);
  server_.reset();
}

TEST_F(ChatServer, SaysWhatIsWrongWithItsPort) {
  Program wrong("chat_server", {"65536"});
  EXPECT_EQ(wrong.wait(), 1);
  EXPECT_EQ(wrong.errors, "chat_server: PORT must be a number from 0 to 65535, not '65536'\n");
  Program second("chat_server", {std::to_string(port_)});
  EXPECT_EQ(second.wait(), 1);
  EXPECT_NE(second.errors.find("Address already in use"), std::string::npos) << second.errors;
}

}  // namespace
}  // namespace example_tests
