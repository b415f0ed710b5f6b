// signal_m: a signal to one M.
#include "sched/signal_m.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <thread>

#include "os/os.hpp"

namespace gort {
namespace {

std::atomic<int> taken_by{0};

class SignalM : public testing::Test {
 protected:
  void SetUp() override {
    taken_by = 0;
    os::SignalAction action;
    action.handler = [](int, void*, void*) { taken_by = os::gettid(); };
    ASSERT_EQ(os::rt_sigaction(SIGUSR1, &action, &before_), 0);
  }
  void TearDown() override { os::rt_sigaction(SIGUSR1, &before_, nullptr); }

 private:
  os::SignalAction before_;
};

TEST_F(SignalM, ReachesItsThread) {
  M m;
  std::atomic<bool> over{false};
  std::thread thread([&] {
    os::minit(m.os);
    while (!over) os::osyield();
    os::unminit(m.os);
  });
  int tid = 0;
  while ((tid = m.os.tid.load(std::memory_order_acquire)) == 0) os::osyield();
  signalM(&m, SIGUSR1);
  while (taken_by == 0) os::osyield();
  EXPECT_EQ(taken_by, tid);
  over = true;
  thread.join();
}

TEST_F(SignalM, OneWithoutAThreadIsNoError) {
  M m;
  signalM(&m, SIGUSR1);
  EXPECT_EQ(taken_by, 0);
}

TEST_F(SignalM, OneWhoseThreadHasVanishedIsNoError) {
  M m;
  std::thread([&m] { os::minit(m.os); }).join();
  const int tid = m.os.tid.load(std::memory_order_relaxed);
  while (os::tgkill(tid, 0) == 0) os::osyield();  // joined, and in /proc a moment longer
  signalM(&m, SIGUSR1);
  EXPECT_EQ(taken_by, 0);
}

TEST_F(SignalM, AWrongSignalIsAMistake) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        M m;
        os::minit(m.os);
        signalM(&m, 65);
      },
      testing::KilledBySignal(SIGABRT), "gort: fatal: signalM.*-22");
}

}  // namespace
}  // namespace gort
