// rate_limiter from outside: never more than it allows, however late the machine lets it run.
#include <algorithm>
#include <cstdio>
#include <set>
#include <sstream>
#include <thread>

#include "program.hpp"

namespace example_tests {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

class RateLimiter : public ::testing::Test {};

struct Report {
  std::vector<double> at_ms;  // in the order of time
  std::set<int> clients;
  std::string last;
};

Report read(const std::string& output) {
  Report report;
  std::istringstream text(output);
  for (std::string line; std::getline(text, line); report.last = line) {
    double at_ms = 0;
    int number = 0;
    int client = 0;
    if (std::sscanf(line.c_str(), " %lf ms: request %d, of client %d", &at_ms, &number, &client) !=
        3)
      continue;
    report.at_ms.push_back(at_ms);
    report.clients.insert(client);
    EXPECT_EQ(number, static_cast<int>(report.at_ms.size())) << line;
  }
  std::ranges::sort(report.at_ms);
  return report;
}

// Of `rate` in a second and `burst` at once: no request came before its time. Later is always possible.
void expect_within(const Report& report, double rate, int burst) {
  for (size_t i = 0; i < report.at_ms.size(); ++i) {
    const double earliest_ms = (static_cast<double>(i) + 1 - burst) * 1000 / rate;
    EXPECT_GE(report.at_ms[i], earliest_ms - 0.001) << "request " << i + 1;  // as printed
  }
}

TEST_F(RateLimiter, AllowsABurstAndThenSoManyASecond) {
  for (const auto& [rate, burst] : {std::pair{100, 5}, {400, 1}, {1000, 30}}) {
    const auto start = steady_clock::now();
    Program limiter("rate_limiter", {std::to_string(rate), std::to_string(burst), "60"});
    EXPECT_EQ(limiter.wait(), 0);
    const auto took = steady_clock::now() - start;
    EXPECT_EQ(limiter.errors, "");
    EXPECT_GE(took, std::chrono::duration<double>(60 - burst) / rate);
    const Report report = read(limiter.output);
    EXPECT_EQ(report.at_ms.size(), 60U);
    EXPECT_EQ(report.clients, (std::set{0, 1, 2}));
    EXPECT_TRUE(report.last.starts_with("60 requests in ")) << report.last;
    expect_within(report, rate, burst);
  }
}

TEST_F(RateLimiter, MakesNothingUpForTimeInWhichItWasStopped) {
  constexpr int kRate = 100;
  constexpr int kBurst = 5;
  Program limiter("rate_limiter", {std::to_string(kRate), std::to_string(kBurst), "60"});
  ASSERT_TRUE(limiter.await("request 20,")) << limiter.errors;
  limiter.signal(SIGSTOP);
  siginfo_t stopped{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(limiter.pid()), &stopped, WSTOPPED), 0);
  const auto start = steady_clock::now();
  std::this_thread::sleep_for(600ms);
  const std::chrono::duration<double, std::milli> pause = steady_clock::now() - start;
  limiter.signal(SIGCONT);
  EXPECT_EQ(limiter.wait(), 0);
  const Report report = read(limiter.output);
  ASSERT_EQ(report.at_ms.size(), 60U);
  expect_within(report, kRate, kBurst);
  // A full bucket at either end of the pause, and a tick just behind each.
  EXPECT_GE(report.at_ms.back(), pause.count() + (60.0 - 2 * kBurst - 2) * 1000 / kRate);
}

TEST_F(RateLimiter, GoesOnUntilItIsToldToEnd) {
  for (const int signal : {SIGTERM, SIGINT}) {
    Program limiter("rate_limiter", {"200", "1"});
    ASSERT_TRUE(limiter.await("request 10,")) << limiter.errors;
    limiter.signal(signal);
    EXPECT_EQ(limiter.wait(), 0);
    EXPECT_EQ(limiter.errors, "");
    const Report report = read(limiter.output);
    EXPECT_GE(report.at_ms.size(), 10U);
    EXPECT_TRUE(report.last.starts_with(std::to_string(report.at_ms.size()) + " requests in "))
        << report.last;
    expect_within(report, 200, 1);
  }
}

// While it waits for somebody to read what it prints.
TEST_F(RateLimiter, EndsAtOnceByASecondSignal) {
  Program limiter("rate_limiter", {}, Program::Output::narrow);
  ASSERT_TRUE(limiter.await_output());
  limiter.hang_in_output();
  limiter.signal(SIGINT);
  ASSERT_TRUE(limiter.await_unhandled(SIGINT));
  limiter.signal(SIGINT);
  EXPECT_EQ(limiter.wait(), -1);
  EXPECT_EQ(limiter.killed_by(), SIGINT);
}

TEST_F(RateLimiter, SaysWhatIsWrongWithItsArguments) {
  Program none("rate_limiter", {"0"});
  EXPECT_EQ(none.wait(), 1);
  EXPECT_EQ(none.errors, "rate_limiter: RATE must be a number from 1 to 10000, not '0'\n");
  Program many("rate_limiter", {"1", "2", "3", "4"});
  EXPECT_EQ(many.wait(), 1);
  EXPECT_EQ(many.errors, "rate_limiter: usage: rate_limiter [RATE [BURST [REQUESTS]]]\n");
}

}  // namespace
}  // namespace example_tests
