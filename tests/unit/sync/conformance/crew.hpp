// crew: who takes part in a test of conformance. The same test is run by fibers, by threads where no runtime is alive, and
// by both at once; and by threads with the standard's own primitives, which shows that the test asks for no more than
// the standard gives.
#pragma once

#include <gtest/gtest.h>

#include <barrier>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <future>
#include <latch>
#include <mutex>
#include <semaphore>
#include <shared_mutex>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "gort/gort.hpp"
#include "support/scheduler_test.hpp"

namespace gort::conformance {

using test::until;

enum class Way : uint8_t { fibers, threads, mixed };

// Starts fibers or threads, or one after the other; joins them at its end.
template <Way kWay>
class Crew {
 public:
  Crew() = default;
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;
  ~Crew() { join(); }

  template <class F>
  void start(F&& f) {
    const bool thread = kWay == Way::threads || (kWay == Way::mixed && ++started_ % 2 == 0);
    if (thread) {
      threads_.emplace_back(std::forward<F>(f));
    } else {
      fibers_.push_back(spawn(std::forward<F>(f)));
    }
  }
  void join() {
    for (auto& f : fibers_) f.join();
    fibers_.clear();
    if (threads_.empty()) return;
    blocking([this] {
      for (auto& t : threads_) t.join();
    });
    threads_.clear();
  }

 private:
  int started_ = 0;
  std::vector<task<void>> fibers_;
  std::vector<std::thread> threads_;
};

// Runs the body of a test, as a fiber or, for threads, where it is.
template <Way kWay, class F>
void in_way(F&& body) {
  if constexpr (kWay == Way::threads) {
    body();
  } else {
    constexpr int kProcs = 2;
    run(options{.procs = kProcs}, std::forward<F>(body));
  }
}

// The primitive of a family, and who uses it.
template <class T, Way kWay>
struct Case {
  using type = T;
  static constexpr Way way = kWay;
};

// The standard's own, for which the suite is, too.
template <class T>
struct Standard : Case<T, Way::threads> {};

template <class C>
class Suite : public testing::Test {
 protected:
  using T = typename C::type;
  using crew = Crew<C::way>;

  void SetUp() override {
    if (test::kTsan && std::is_same_v<C, Standard<T>>) {
      GTEST_SKIP() << "ThreadSanitizer does not see all that libstdc++'s and glibc's do";
    }
  }
  template <class F>
  static void in_crew(F&& body) {
    in_way<C::way>(std::forward<F>(body));
  }
};

// Types<...> for TYPED_TEST_SUITE: gort's in the three ways, the standard's by threads.
template <class... Cases>
using Types = testing::Types<Cases...>;

// A clock that is none of the standard's: it runs at a quarter of the speed, and began somewhere else.
struct slow_clock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<slow_clock>;
  static constexpr bool is_steady = true;
  static time_point now() {
    return time_point(std::chrono::steady_clock::now().time_since_epoch() / 4 +
                      std::chrono::hours(1000));
  }
};

// What a wait with these limits says, and that it does not end too early: `wait` takes a time_point and says whether it
// was in time.
template <class Wait>
void expect_limits_pass(Wait&& wait_until) {
  const auto passes = [&](auto limit) {
    using clock = typename decltype(limit)::clock;
    EXPECT_FALSE(wait_until(limit));
    EXPECT_GE(clock::now(), limit);
  };
  passes(std::chrono::steady_clock::now() + std::chrono::milliseconds(2));
  passes(std::chrono::system_clock::now() + std::chrono::milliseconds(2));
  passes(slow_clock::now() + std::chrono::milliseconds(1));
  passes(std::chrono::steady_clock::now() - std::chrono::hours(1));
  passes(std::chrono::system_clock::now() - std::chrono::hours(1));
  passes(slow_clock::now() - std::chrono::hours(1));
  passes(std::chrono::steady_clock::time_point());
}
template <class Wait>
void expect_durations_pass(Wait&& wait_for) {
  const auto passes = [&](auto limit) {
    const auto since = std::chrono::steady_clock::now();
    EXPECT_FALSE(wait_for(limit));
    EXPECT_GE(std::chrono::steady_clock::now() - since, limit);
  };
  passes(std::chrono::milliseconds(2));
  passes(std::chrono::milliseconds(0));
  passes(std::chrono::hours(-1));
}

// Limits in fractions.
template <class WaitUntil, class WaitFor>
void expect_fractions_pass(WaitUntil&& wait_until, WaitFor&& wait_for) {
  using seconds = std::chrono::duration<double>;
  const auto since = std::chrono::steady_clock::now();
  EXPECT_FALSE(
      wait_until(std::chrono::time_point_cast<seconds>(since + std::chrono::milliseconds(1))));
  EXPECT_FALSE(wait_for(seconds(0.001)));
  EXPECT_GE(std::chrono::steady_clock::now() - since,
            std::chrono::microseconds(1999));  // a double is coarse at this distance
}

}  // namespace gort::conformance
