// The example server over a kernel that refuses: its answers stay right, it goes on, and it does not burn
// the processor meanwhile. The program is linked against the same layer and told its faults by FAULTS.
#include <sys/resource.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "examples/program.hpp"
#include "support/sanitized.hpp"

namespace gort::faults {
namespace {

using example_tests::Client;
using example_tests::Program;

constexpr std::string_view kHello = "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n";
constexpr std::string_view kEnd = "Hello, World!";

std::string server_path() {
  return (std::filesystem::read_symlink("/proc/self/exe").parent_path() / "gort_faults_http_server")
      .string();
}

class HttpUnderFaults : public ::testing::Test {
 protected:
  void start(const char* faults) {
    if (!std::filesystem::exists(server_path())) GTEST_SKIP() << "not built";
    setenv("FAULTS", faults, 1);
    server_ = std::make_unique<Program>(
        server_path(), std::vector<std::string>{"--port", "0", "--procs", "2", "--quiet"});
    unsetenv("FAULTS");
    ASSERT_TRUE(await_port());
  }
  // By SIGTERM the server ends with status 0; `fired` of the rules, in order.
  std::vector<long> end() {
    server_->signal(SIGTERM);
    EXPECT_EQ(server_->wait(), 0) << server_->errors;
    std::vector<long> fired;
    constexpr std::string_view kFired = "fired=";
    for (size_t at = 0; (at = server_->errors.find(kFired, at)) != std::string::npos;) {
      at += kFired.size();
      fired.push_back(std::atol(server_->errors.c_str() + at));
    }
    return fired;
  }
  static void expect_hello(const Client& client) {
    ASSERT_TRUE(client.send(kHello));
    const std::string answer = client.read_until(kEnd);
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
    EXPECT_TRUE(answer.ends_with(kEnd)) << answer;
  }

  std::unique_ptr<Program> server_;
  uint16_t port_ = 0;

 private:
  // --quiet: the address comes on standard error.
  bool await_port() {
    constexpr std::string_view kBefore = "127.0.0.1:";
    size_t at = std::string::npos;
    while ((at = server_->errors.find(kBefore)) == std::string::npos ||
           server_->errors.find('\n', at) == std::string::npos) {
      if (!server_->read_more()) return false;
    }
    port_ = static_cast<uint16_t>(std::atoi(server_->errors.c_str() + at + kBefore.size()));
    return port_ != 0;
  }
};

TEST_F(HttpUnderFaults, AByteAtATime) {
  start("recv:short=1 send:short=1");
  if (IsSkipped() || HasFatalFailure()) return;
  const Client client(port_);
  for (int i = 0; i < 5; ++i) expect_hello(client);
  std::string many;
  for (int i = 0; i < 20; ++i) many += kHello;
  const Client other(port_);
  ASSERT_TRUE(other.send(many));
  other.finish();
  const std::string answers = other.read_all();
  size_t count = 0;
  for (size_t at = 0; (at = answers.find(kEnd, at)) != std::string::npos; ++count) ++at;
  EXPECT_EQ(count, 20U) << answers;
  const Client bad(port_);
  bad.send("BAD\r\n\r\n");
  EXPECT_TRUE(bad.read_all().starts_with("HTTP/1.1 400 "));
  const auto fired = end();
  ASSERT_EQ(fired.size(), 2U);
  EXPECT_GT(fired[0], 20 * 32);
  EXPECT_GT(fired[1], 20 * 32);
}

// Ten times there is no descriptor. The server waits in between: it answers, but not before.
TEST_F(HttpUnderFaults, NoDescriptorIsLeft) {
  start("accept:error=24,times=10");
  if (IsSkipped() || HasFatalFailure()) return;
  const auto begin = std::chrono::steady_clock::now();
  const Client client(port_);
  expect_hello(client);
  constexpr auto kPause = std::chrono::milliseconds(50);  // the server's
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 10 * kPause);
  const auto fired = end();
  ASSERT_EQ(fired.size(), 1U);
  EXPECT_EQ(fired[0], 10);
  const size_t first = server_->errors.find("http_server: accept: ");
  EXPECT_NE(first, std::string::npos);
  EXPECT_EQ(server_->errors.find("http_server: accept: ", first + 1), std::string::npos)
      << "said more than once: " << server_->errors;
}

TEST_F(HttpUnderFaults, PeersThatAreGoneAreNotMissed) {
  start("accept:error=103,times=3 accept:error=100,first=4,times=2");  // ECONNABORTED, ENETDOWN
  if (IsSkipped() || HasFatalFailure()) return;
  for (int i = 0; i < 5; ++i) {
    const Client gone(port_);
    gone.finish();
  }
  const Client client(port_);
  expect_hello(client);
  const auto fired = end();
  ASSERT_EQ(fired.size(), 2U);
  EXPECT_EQ(fired[0] + fired[1], 5);
  EXPECT_EQ(server_->errors.find("http_server: accept: "), std::string::npos) << server_->errors;
}

// A slab of stacks for every connection, and from some moment on none is to be had: peers are sent away,
// those that were served before are served on, and when one of them ends another one gets its stack.
TEST_F(HttpUnderFaults, NoMemoryForAFiber) {
  setenv("GORT_STACK", "67108864", 1);
  setenv("GORT_THREADS", "pthread", 1);  // libc maps their stacks, past the rule
  start("map:error=12,first=60");        // the main fiber and the log have theirs by then
  unsetenv("GORT_STACK");
  unsetenv("GORT_THREADS");
  if (IsSkipped() || HasFatalFailure()) return;
  std::vector<std::unique_ptr<Client>> served;
  const auto serve_one_more = [&] {
    auto client = std::make_unique<Client>(port_);
    client->send(kHello);
    if (!client->try_read_until(kEnd)) return false;
    served.push_back(std::move(client));
    return true;
  };
  constexpr size_t kMany = 200;
  while (served.size() < kMany && serve_one_more()) {
  }
  ASSERT_GT(served.size(), 2U);
  ASSERT_LT(served.size(), kMany) << "nobody was sent away";
  served.pop_back();
  served.pop_back();
  int attempts = 0;
  while (attempts < 100 && !serve_one_more()) ++attempts;
  EXPECT_LT(attempts, 100) << "the stack of a connection that has ended is not used again";
  for (const auto& client : served) expect_hello(*client);
  served.clear();
  const auto fired = end();
  ASSERT_EQ(fired.size(), 1U);
  EXPECT_GT(fired[0], 0);
  EXPECT_NE(server_->errors.find("http_server: a connection: gort: no memory"), std::string::npos)
      << server_->errors;
}

}  // namespace
}  // namespace gort::faults
