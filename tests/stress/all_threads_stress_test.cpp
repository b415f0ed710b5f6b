// System calls on all threads while threads come and go in a storm, fibers are interrupted, and libc changes ids: AT1 holds
// for every thread at every moment, AT5 for libc, AT6 for callers of every kind.
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "gort/chan.hpp"
#include "gort/mutex.hpp"
#include "gort/os.hpp"
#include "gort/spawn.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using os::all_threads_syscall;

// The kernel keeps this for each thread, and a new one has its maker's.
constexpr long kSlackMin = 100;
std::atomic<long> slack_of_all{0};

// Threads that look after a call has returned have what it has set, or something newer.
void expect_slack() {
  const long at_least = slack_of_all.load(std::memory_order_acquire);
  EXPECT_GE(::prctl(PR_GET_TIMERSLACK), at_least) << "AT1: a thread was passed over";
}

class AllThreadsStress : public test::SchedulerTest {
 protected:
  [[nodiscard]] options fine() const {
    options o = opts();
    if (!test::kTsan) o.slice = 1ms;
    return o;
  }
};
GORT_ON_EVERY_PROCS(AllThreadsStress);

// Threads that live for a moment, and make others.
void storm(const std::atomic<bool>& go_on) {
  while (go_on) {
    std::thread([] {
      expect_slack();
      std::thread inner(expect_slack);
      expect_slack();
      inner.join();
    }).join();
    expect_slack();
  }
}

TEST_P(AllThreadsStress, ThreadsComeAndGo) {
  std::atomic<bool> go_on{true};
  std::atomic<uint64_t> ids_changed{0};
  long calls = 0;
  int64_t longest_ns = 0;
  in_fibers(fine(), [&] {
    // Ms have another one of their own, which threads that fibers make inherit.
    ASSERT_EQ(all_threads_syscall(SYS_prctl, PR_SET_TIMERSLACK, kSlackMin), 0);
    slack_of_all = kSlackMin;
    std::vector<std::thread> foreign;
    for (int i = 0; i < 3; ++i) foreign.emplace_back([&] { storm(go_on); });
    foreign.emplace_back([&] {
      while (go_on) {
        EXPECT_EQ(::setregid(::getgid(), ::getegid()), 0);
        ++ids_changed;
      }
    });
    foreign.emplace_back([&] {  // a second caller, of something that changes nothing
      while (go_on) EXPECT_EQ(all_threads_syscall(SYS_getppid), ::getppid());
    });
    std::vector<task<void>> fibers;
    chan<int> ring(2);
    for (int i = 0; i < 2; ++i) {
      fibers.push_back(spawn([&] {
        while (go_on) {
          (void)ring.try_send(1);
          if (test::kTsan) yield();  // nobody interrupts it there
        }
      }));
      fibers.push_back(spawn([&] {
        int got = 0;
        while (go_on) {
          (void)ring.try_recv(got);
          yield();
        }
      }));
    }
    const auto end = std::chrono::steady_clock::now() + test::stress_time();
    while (std::chrono::steady_clock::now() < end) {
      const long slack = kSlackMin + ++calls;
      const int64_t begin_ns = test::now_ns();
      ASSERT_EQ(all_threads_syscall(SYS_prctl, PR_SET_TIMERSLACK, slack), 0);
      longest_ns = std::max(longest_ns, test::now_ns() - begin_ns);
      slack_of_all.store(slack, std::memory_order_release);
      yield();
    }
    go_on = false;
    for (std::thread& t : foreign) t.join();
    for (auto& f : fibers) f.join();
  });
  EXPECT_GT(calls, 0);
  EXPECT_GT(ids_changed.load(), 0U);
  RecordProperty("calls", std::to_string(calls));
  RecordProperty("longest_us", std::to_string(longest_ns / 1000));
}

}  // namespace
}  // namespace gort
