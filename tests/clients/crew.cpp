#include "crew.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <gort/gort.hpp>
#include <latch>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

namespace clients {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr int kRounds = 3;
constexpr auto kSlice = 10ms;
constexpr auto kNap = 1ms;

// What went wrong: how often, and the first of it.
class Complaints {
 public:
  void add(const std::string& text) {
    const std::lock_guard guard(mutex_);
    if (count_++ == 0) first_ = text;
  }
  void expect_none(const char* who) {
    const std::lock_guard guard(mutex_);
    EXPECT_EQ(count_, 0) << who << ": so many commands went wrong, the first by: " << first_;
  }

 private:
  std::mutex mutex_;
  int count_ = 0;
  std::string first_;
};

// All connect, then all begin at once.
struct FiberGate {
  FiberGate() {
    ready.add(kClients);
    begin.add(1);
  }
  void client() {
    ready.done();
    begin.wait();
  }
  void open() {
    ready.wait();
    begin.done();
  }
  gort::wait_group ready;
  gort::wait_group begin;
};
struct ThreadGate {
  void client() {
    ready.count_down();
    begin.wait();
  }
  void open() {
    ready.wait();
    begin.count_down();
  }
  std::latch ready{kClients};
  std::latch begin{1};
};

template <class Gate>
void work(const Connect& connect, int client, int turns, Gate& gate, Complaints& complaints) {
  Session session;
  try {
    session = connect(client);
  } catch (const std::exception& e) {
    complaints.add(e.what());
  }
  gate.client();
  for (int turn = 0; session && turn < turns; ++turn) {
    if (const std::string wrong = session(turn); !wrong.empty()) complaints.add(wrong);
  }
}

struct Result {
  double per_second = 0;
  std::vector<double> late_ms;  // of the sleeper
};

double rate(int turns, steady_clock::time_point start) {
  return kClients * turns / std::chrono::duration<double>(steady_clock::now() - start).count();
}

// What the sleeper does. sleep: until a time of steady_clock.
template <class Sleep>
void nap(const std::atomic<bool>& over, std::vector<double>& late_ms, Sleep sleep) {
  while (!over.load(std::memory_order_relaxed)) {
    const auto due = steady_clock::now() + kNap;
    sleep(due);
    late_ms.push_back(std::chrono::duration<double, std::milli>(steady_clock::now() - due).count());
  }
}

Result in_fibers(const Connect& connect, int turns) {
  Complaints complaints;
  Result result;
  gort::run({.procs = kProcs, .slice = kSlice}, [&] {
    FiberGate gate;
    std::vector<gort::task<void>> fibers;
    fibers.reserve(kClients);
    for (int i = 0; i < kClients; ++i) {
      fibers.push_back(gort::spawn([&, i] { work(connect, i, turns, gate, complaints); }));
    }
    gate.open();
    const auto start = steady_clock::now();
    std::atomic<bool> over{false};
    auto sleeper =
        gort::spawn([&] { nap(over, result.late_ms, [](auto due) { gort::sleep_until(due); }); });
    for (auto& f : fibers) f.join();
    result.per_second = rate(turns, start);
    over.store(true, std::memory_order_relaxed);
    sleeper.join();
  });
  complaints.expect_none("fibers");
  return result;
}

Result in_threads(const Connect& connect, int turns) {
  Complaints complaints;
  ThreadGate gate;
  std::vector<std::thread> threads;
  threads.reserve(kClients);
  for (int i = 0; i < kClients; ++i) {
    threads.emplace_back([&, i] { work(connect, i, turns, gate, complaints); });
  }
  gate.open();
  const auto start = steady_clock::now();
  Result result;
  std::atomic<bool> over{false};
  std::thread sleeper(
      [&] { nap(over, result.late_ms, [](auto due) { std::this_thread::sleep_until(due); }); });
  for (auto& t : threads) t.join();
  result.per_second = rate(turns, start);
  over.store(true, std::memory_order_relaxed);
  sleeper.join();
  complaints.expect_none("threads");
  return result;
}

double at(std::vector<double>& values, double share) {
  std::sort(values.begin(), values.end());
  const auto index = static_cast<size_t>(share * static_cast<double>(values.size()));
  return values[std::min(index, values.size() - 1)];
}

// Returns p99; the longest is the last of them then.
double print_delay(const char* name, const char* who, std::vector<double>& late_ms) {
  const double p99_ms = at(late_ms, 0.99);
  std::printf("%s: a %s that sleeps was late by %.2f ms at the median, %.2f at p99, %.2f at most\n",
              name, who, at(late_ms, 0.5), p99_ms, late_ms.back());
  return p99_ms;
}

}  // namespace

void expect_fibers_to_do_as_threads(const char* name, int turns, const Connect& connect) {
  std::vector<double> ratios;
  std::vector<double> late_ms;
  std::vector<double> thread_late_ms;
  for (int round = 0; round < kRounds; ++round) {
    const Result threads = in_threads(connect, turns);
    const Result fibers = in_fibers(connect, turns);
    ratios.push_back(fibers.per_second / threads.per_second);
    late_ms.insert(late_ms.end(), fibers.late_ms.begin(), fibers.late_ms.end());
    thread_late_ms.insert(thread_late_ms.end(), threads.late_ms.begin(), threads.late_ms.end());
    std::printf("%s: fibers %.0f, threads %.0f commands/s: %.2f\n", name, fibers.per_second,
                threads.per_second, ratios.back());
    if (testing::Test::HasFailure()) return;
  }
  ASSERT_FALSE(late_ms.empty()) << "the sleeper has not run at all";
  std::printf("%s: %.2f of the threads' rate\n", name, at(ratios, 0.5));
  const double p99_ms = print_delay(name, "fiber", late_ms);
  print_delay(name, "thread", thread_late_ms);
  EXPECT_GE(at(ratios, 0.5), kRateMin) << "the fibers' rate, in those of threads";
  EXPECT_LT(p99_ms, kP99MsMax) << "p99 of the sleeping fiber's delay, in ms";
  EXPECT_LT(late_ms.back(), kMaxMsMax + thread_late_ms.back()) << "its longest delay, in ms";
}

}  // namespace clients
