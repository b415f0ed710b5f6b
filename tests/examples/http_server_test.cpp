// http_server from outside: what a client sees, and how it ends.
#include <memory>

#include "program.hpp"

namespace example_tests {
namespace {

constexpr std::string_view kHello = "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n";

class HttpServer : public ::testing::Test {
 protected:
  void SetUp() override {
    server_ = std::make_unique<Program>(
        "http_server", std::vector<std::string>{"--port", "0", "--procs", "2", "--report"});
    port_ = server_->port();
    ASSERT_NE(port_, 0) << server_->errors;
  }
  // Whatever a test has done to it, the server ends by SIGTERM with status 0.
  void TearDown() override {
    if (server_ == nullptr) return;
    if (!told_) tell_to_end(SIGTERM);
    EXPECT_EQ(server_->wait(), 0) << server_->errors;
    EXPECT_NE(server_->output.find("{\"workload\":\"http\",\"impl\":\"gort\""), std::string::npos);
  }

  // Sends it all, says that this was all, and reads to the end.
  std::string ask(std::string_view request) const {
    const Client client(port_);
    client.send(request);
    client.finish();
    return client.read_all();
  }

  // Once: the second signal is another matter.
  void tell_to_end(int signal) {
    server_->signal(signal);
    told_ = true;
  }

  std::unique_ptr<Program> server_;
  uint16_t port_ = 0;
  bool told_ = false;
};

// Half a megabyte of requests, which a server that ends reads and drops, and nine of answers.
constexpr int kManyPages = 20'000;
std::string many_pages() {
  std::string requests;
  for (int i = 0; i < kManyPages; ++i) requests += "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
  return requests;
}

int count(std::string_view text, std::string_view what) {
  int n = 0;
  for (size_t at = 0; (at = text.find(what, at)) != std::string_view::npos; at += what.size()) ++n;
  return n;
}

TEST_F(HttpServer, ServesPages) {
  EXPECT_TRUE(ask(kHello).ends_with("\r\n\r\nHello, World!"));
  EXPECT_NE(ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").find("<title>"), std::string::npos);
  EXPECT_TRUE(ask("GET /nope HTTP/1.1\r\nHost: h\r\n\r\n").starts_with("HTTP/1.1 404 "));
  EXPECT_TRUE(ask("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").ends_with("\r\n\r\n"));
  const std::string stats = ask("GET /stats HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_NE(stats.find("application/json"), std::string::npos);
  EXPECT_NE(stats.find("\"spawned\": "), std::string::npos) << stats;
}

TEST_F(HttpServer, KeepsConnectionsAndPipelines) {
  const Client client(port_);
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(client.send(kHello));
    ASSERT_NE(client.read_until("Hello, World!").find("200 OK"), std::string::npos);
  }
  std::string many;
  for (int i = 0; i < 2000; ++i) many += kHello;
  EXPECT_EQ(count(ask(many), "Hello, World!"), 2000);
}

TEST_F(HttpServer, RefusesWhatIsMalformed) {
  EXPECT_TRUE(ask("BAD\r\n\r\n").starts_with("HTTP/1.1 400 "));
  EXPECT_TRUE(ask("GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 400 "));
  EXPECT_EQ(ask(""), "");
  EXPECT_EQ(ask("GET / HTT"), "") << "half a request deserves no answer";
  EXPECT_TRUE(ask(kHello).ends_with("Hello, World!"));
}

// The whole header is sent before the answer is read: it must not be lost to a reset.
TEST_F(HttpServer, RefusesAHeaderOf100KiB) {
  const Client client(port_);
  EXPECT_TRUE(
      client.send("GET / HTTP/1.1\r\nHost: h\r\nX: " + std::string(100 * 1024, 'a') + "\r\n\r\n"));
  EXPECT_TRUE(client.read_all().starts_with("HTTP/1.1 431 "));
}

TEST_F(HttpServer, AnswersARequestThatIsUnderWayAtTheEnd) {
  const Client client(port_);
  client.send(kHello);
  client.read_until("Hello, World!");
  client.send(kHello.substr(0, 20));
  tell_to_end(SIGTERM);
  await_closed(port_);
  client.send(kHello.substr(20));
  const std::string answer = client.read_all();
  // With or without "Connection: close": the listener's end comes a moment before the connections hear of
  // it. What counts is that the answer comes, and then the end.
  EXPECT_TRUE(answer.ends_with("Hello, World!")) << answer;
  EXPECT_EQ(count(answer, "HTTP/1.1 200 "), 1);
}

// More than the sockets hold: the server is in the middle of writing answers that nobody has read when it is told to end.
TEST_F(HttpServer, AnswersThatAreUnderWayAtTheEndArriveWhole) {
  const std::string requests = many_pages();
  const Client busy(port_, 4096);
  const Client idle(port_);
  busy.fill(requests);
  ASSERT_TRUE(idle.send(kHello));
  EXPECT_NE(idle.read_until("Hello, World!").find("200 OK"), std::string::npos);
  tell_to_end(SIGTERM);
  EXPECT_EQ(idle.read_all(), "");  // now all connections have heard of it
  const std::string answers = busy.read_all();
  busy.finish();
  const int n = count(answers, "HTTP/1.1 200 OK\r\n");
  EXPECT_EQ(count(answers, "</html>\n"), n);
  EXPECT_TRUE(answers.ends_with("</html>\n"));
  EXPECT_EQ(count(answers, "Connection: close"), n < kManyPages ? 1 : 0) << n;
}

TEST_F(HttpServer, EndsAtOnceByASecondSignal) {
  const std::string requests = many_pages();
  const Client busy(port_, 4096);
  busy.fill(requests);
  server_->signal(SIGINT);
  await_closed(port_);
  server_->signal(SIGTERM);
  EXPECT_EQ(server_->wait(), -1);
  EXPECT_EQ(server_->killed_by(), SIGTERM);
  server_.reset();
}

TEST_F(HttpServer, EndsWithIdleConnectionsAndByCtrlC) {
  const Client idle(port_);
  const Client used(port_);
  used.send(kHello);
  used.read_until("Hello, World!");
  tell_to_end(SIGINT);
  EXPECT_EQ(used.read_all(), "");
  EXPECT_EQ(idle.read_all(), "");
}

TEST_F(HttpServer, SaysThatThePortIsTaken) {
  Program second("http_server", {"--port", std::to_string(port_)});
  EXPECT_EQ(second.wait(), 1);
  EXPECT_NE(second.errors.find("Address already in use"), std::string::npos) << second.errors;
}

TEST_F(HttpServer, RefusesAWrongCommandLine) {
  for (const char* flag : {"--nonsense", "--port", "--host"}) {
    Program wrong("http_server", {flag});
    EXPECT_EQ(wrong.wait(), 1);
    EXPECT_NE(wrong.errors.find("usage: "), std::string::npos);
  }
}

}  // namespace
}  // namespace example_tests
