// hello, pipeline, echo_server, prime_sieve and dining_philosophers from outside.
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>

#include "flood.hpp"
#include "program.hpp"

namespace example_tests {
namespace {

class Example : public ::testing::Test {};

TEST_F(Example, HelloEndsByItself) {
  Program hello("hello", {});
  EXPECT_EQ(hello.wait(), 0) << hello.errors;
  EXPECT_TRUE(hello.output.starts_with("Hello\nfrom\na\nfiber.\n(silence for 20 ms)\n"))
      << hello.output;
  EXPECT_TRUE(hello.output.ends_with("Bye.\n5 words\n")) << hello.output;
}

TEST_F(Example, PipelineCountsWhatItCanRead) {
  const std::string path = ::testing::TempDir() + "gort_words_" + std::to_string(::getpid());
  {
    // Words end up on both sides of the pieces that it is read in.
    std::ofstream file(path);
    for (int i = 0; i < 50'000; ++i) file << "alpha beta\nalpha ";
  }
  Program all("pipeline", {path});
  EXPECT_EQ(all.wait(), 0) << all.errors;
  EXPECT_NE(all.output.find("  100000 alpha\n   50000 beta\n"), std::string::npos) << all.output;
  Program some("pipeline", {path, "/no/such/file", "/", path});
  EXPECT_EQ(some.wait(), 1);
  EXPECT_NE(some.output.find("200000 alpha"), std::string::npos) << some.output;
  EXPECT_EQ(some.errors,
            "pipeline: /no/such/file: No such file or directory\npipeline: /: Is a directory\n");
  std::remove(path.c_str());
}

// Each is more than the channels hold, so that all stay open until the counters come to them.
TEST_F(Example, PipelineOpensNotAllFilesAtOnce) {
  const std::string path = ::testing::TempDir() + "gort_words_" + std::to_string(::getpid());
  {
    std::ofstream file(path);
    for (int i = 0; i < 100'000; ++i) file << "gamma ";
  }
  constexpr rlim_t kFiles = 64;
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit few{.rlim_cur = kFiles, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  Program all("pipeline", std::vector<std::string>(3 * kFiles, path));
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(all.wait(), 0) << all.errors;
  EXPECT_EQ(all.output, "19200000 gamma\n19200000 words in 192 files, 1 different\n");
  std::remove(path.c_str());
}

TEST_F(Example, PipelineCutsWordsWithoutEnd) {
  const std::string path = ::testing::TempDir() + "gort_words_" + std::to_string(::getpid());
  constexpr size_t kMegabyte = 1024 * 1024;
  std::ofstream(path) << std::string(3 * kMegabyte, 'x') << ' ' << std::string(kMegabyte - 1, 'x');
  Program all("pipeline", {path});
  EXPECT_EQ(all.wait(), 0) << all.errors;
  EXPECT_TRUE(all.output.starts_with("       3 xxx"));
  EXPECT_TRUE(all.output.ends_with("x\n       4 words in 1 files, 2 different\n"));
  std::remove(path.c_str());
}

TEST_F(Example, EchoServerEchoes) {
  Program server("echo_server", {"0"});
  const uint16_t port = server.port();
  ASSERT_NE(port, 0) << server.errors;
  const Client a(port);
  const Client b(port);
  a.send("from a");
  b.send("from b");
  EXPECT_EQ(b.read_until("from b"), "from b");
  EXPECT_EQ(a.read_until("from a"), "from a");
  a.finish();
  EXPECT_EQ(a.read_all(), "");
  Program second("echo_server", {std::to_string(port)});
  EXPECT_EQ(second.wait(), 1);
  EXPECT_NE(second.errors.find("Address already in use"), std::string::npos) << second.errors;
  server.signal(SIGINT);
  EXPECT_EQ(b.read_all(), "");
  b.finish();
  EXPECT_EQ(server.wait(), 0) << server.errors;
}

// More than the sockets hold: the server is in the middle of sending it back when it is told to end.
TEST_F(Example, EchoServerSendsBackWhatHasComeWhenItIsToldToEnd) {
  Program server("echo_server", {"0"});
  const uint16_t port = server.port();
  ASSERT_NE(port, 0) << server.errors;
  const Client busy(port);
  const Client idle(port);
  std::string text;
  for (int i = 0; text.size() < 3 * 1024 * 1024; ++i) text += std::to_string(i) + " ";
  const size_t sent = busy.fill(text);
  server.signal(SIGTERM);
  const std::string back = busy.read_all();
  busy.finish();
  EXPECT_EQ(back.size(), sent);
  EXPECT_EQ(back, text.substr(0, sent));
  EXPECT_EQ(idle.read_all(), "");
  idle.finish();
  EXPECT_EQ(server.wait(), 0) << server.errors;
}

TEST_F(Example, EchoServerEndsAlsoWithAPeerThatGoesOnTalking) {
  Program server("echo_server", {"0"});
  const uint16_t port = server.port();
  ASSERT_NE(port, 0) << server.errors;
  const Client talker(port);
  ASSERT_TRUE(talker.send("before"));
  EXPECT_EQ(talker.read_until("before"), "before");
  server.signal(SIGTERM);
  constexpr auto kLimit = std::chrono::seconds(15);  // it should take three
  const auto begin = std::chrono::steady_clock::now();
  bool late = false;
  while (!late && talker.send("and again") && !talker.read_some().empty()) {
    late = std::chrono::steady_clock::now() - begin > kLimit;
  }
  EXPECT_FALSE(late);
  talker.finish();
  EXPECT_EQ(server.wait(), 0) << server.errors;
}

TEST_F(Example, EchoServerEndsAlsoWithPeersForWhomItNeverWaits) {
  const OneProcessor shared;
  Program server("echo_server", {"0"});
  const uint16_t port = server.port();
  ASSERT_NE(port, 0) << server.errors;
  Flood flood(server, port, std::string(size_t{256} * 1024, 'x'));
  constexpr auto kLimit = std::chrono::seconds(15);  // it should take three
  EXPECT_EQ(flood.peers_left_after(kLimit), 0U);
  EXPECT_EQ(server.wait(), 0) << server.errors;
}

// While it waits for a peer that does not take what is sent back.
TEST_F(Example, EchoServerEndsAtOnceByASecondSignal) {
  Program server("echo_server", {"0"});
  const uint16_t port = server.port();
  ASSERT_NE(port, 0) << server.errors;
  const Client busy(port);
  busy.fill(std::string(size_t{16} * 1024 * 1024, 'x'));
  server.signal(SIGINT);
  await_closed(port);
  server.signal(SIGTERM);
  EXPECT_EQ(server.wait(), -1);
  EXPECT_EQ(server.killed_by(), SIGTERM);
}

TEST_F(Example, PrimeSieveFindsTheFirstPrimes) {
  std::string primes;
  int count = 0;
  for (int n = 2; count < 500; ++n) {
    bool prime = true;
    for (int d = 2; d * d <= n && prime; ++d) prime = n % d != 0;
    if (!prime) continue;
    primes += std::to_string(n) + "\n";
    ++count;
  }
  ASSERT_TRUE(primes.ends_with("\n3571\n"));
  Program sieve("prime_sieve", {"500"});
  EXPECT_EQ(sieve.wait(), 0);
  EXPECT_EQ(sieve.errors, "");
  EXPECT_EQ(sieve.output, primes);
  Program usual("prime_sieve", {});
  EXPECT_EQ(usual.wait(), 0);
  EXPECT_EQ(usual.output, primes.substr(0, primes.find("71\n") + 3));
}

TEST_F(Example, PhilosophersAllEat) {
  for (const auto& [philosophers, meals] : {std::pair{2, 100}, {5, 40}, {101, 5}}) {
    Program dinner("dining_philosophers", {std::to_string(philosophers), std::to_string(meals)});
    EXPECT_EQ(dinner.wait(), 0);
    EXPECT_EQ(dinner.errors, "");
    std::istringstream text(dinner.output);
    std::map<int, int> eaten;
    int forks = 0;
    for (std::string line; std::getline(text, line);) {
      int who = 0;
      int n = 0;
      int of = 0;
      if (std::sscanf(line.c_str(), "Philosopher %d has eaten %d of %d", &who, &n, &of) == 3) {
        EXPECT_EQ(n, ++eaten[who]) << line;
        EXPECT_EQ(of, meals);
      } else if (std::sscanf(line.c_str(), "Fork %d was used for %d meals", &who, &n) == 2) {
        EXPECT_EQ(who, forks++);
        EXPECT_EQ(n, 2 * meals) << line;
      } else {
        ADD_FAILURE() << line;
      }
    }
    EXPECT_EQ(eaten.size(), static_cast<size_t>(philosophers));
    for (const auto& [who, n] : eaten) EXPECT_EQ(n, meals) << who;
    EXPECT_EQ(forks, philosophers);
  }
}

TEST_F(Example, WrongArgumentsAreNamed) {
  const struct {
    const char* program;
    std::vector<std::string> arguments;
    std::string error;
  } wrong[] = {
      {"echo_server", {"abc"}, "PORT must be a number from 0 to 65535, not 'abc'"},
      {"echo_server", {"1", "2"}, "usage: echo_server [PORT]"},
      {"pipeline", {}, "usage: pipeline FILE..."},
      {"prime_sieve", {"0"}, "COUNT must be a number from 1 to 5000, not '0'"},
      {"prime_sieve", {"7x"}, "COUNT must be a number from 1 to 5000, not '7x'"},
      {"prime_sieve", {"1", "2"}, "usage: prime_sieve [COUNT]"},
      {"dining_philosophers", {"1"}, "PHILOSOPHERS must be a number from 2 to 1000, not '1'"},
      {"dining_philosophers", {"5", ""}, "MEALS must be a number from 1 to 10000, not ''"},
  };
  for (const auto& [name, arguments, error] : wrong) {
    Program program(name, arguments);
    EXPECT_EQ(program.wait(), 1);
    EXPECT_EQ(program.errors, std::string(name) + ": " + error + "\n");
    EXPECT_EQ(program.output, "");
  }
}

}  // namespace
}  // namespace example_tests
