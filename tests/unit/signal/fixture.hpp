// fixture: what the tests of the signal layer inside a runtime share: runs with and without ticks, and the program's handlers.
#pragma once

#include <gtest/gtest.h>

#include <csignal>

#include "gort/run.hpp"
#include "os/os.hpp"
#include "support/debug_setting.hpp"
#include "support/scheduler_test.hpp"

namespace gort::test {

enum class Preempt : uint8_t { off, on };

// Each test runs both ways.
class SignalTest : public testing::TestWithParam<Preempt> {
 protected:
  void SetUp() override {
    if (GetParam() == Preempt::off && !without_preemption()) {
      GTEST_SKIP() << "this process has read its settings";
    }
  }
  [[nodiscard]] static bool ticks() { return GetParam() == Preempt::on && !kTsan; }
  [[nodiscard]] static options opts(int procs = 2) {
    options o{.procs = procs};
    if (ticks()) o.slice = std::chrono::milliseconds(2);
    return o;
  }
};

// An action of the program's, for a scope.
class Installed {
 public:
  Installed(int sig, void (*handler)(int), int flags = 0) : sig_(sig) {
    struct sigaction action {};
    action.sa_handler = handler;
    action.sa_flags = flags;
    EXPECT_EQ(::sigaction(sig, &action, &before_), 0);
  }
  Installed(int sig, void (*handler)(int, siginfo_t*, void*), int flags = 0) : sig_(sig) {
    struct sigaction action {};
    action.sa_sigaction = handler;
    action.sa_flags = flags | SA_SIGINFO;
    EXPECT_EQ(::sigaction(sig, &action, &before_), 0);
  }
  ~Installed() { EXPECT_EQ(::sigaction(sig_, &before_, nullptr), 0); }
  Installed(const Installed&) = delete;
  Installed& operator=(const Installed&) = delete;

 private:
  int sig_;
  struct sigaction before_ {};
};

inline os::SignalAction kernels_action(int sig) {
  os::SignalAction now;
  EXPECT_EQ(os::rt_sigaction(sig, nullptr, &now), 0);
  return now;
}

inline bool same_action(const os::SignalAction& a, const os::SignalAction& b) {
  return a.handler == b.handler && a.flags == b.flags && a.mask == b.mask &&
         a.restorer == b.restorer;
}

}  // namespace gort::test

#define GORT_WITH_AND_WITHOUT_TICKS(suite)                                                         \
  INSTANTIATE_TEST_SUITE_P(Preempt, suite, testing::Values(test::Preempt::off, test::Preempt::on), \
                           [](const testing::TestParamInfo<test::Preempt>& info) {                 \
                             return info.param == test::Preempt::on ? "on" : "off";                \
                           })
