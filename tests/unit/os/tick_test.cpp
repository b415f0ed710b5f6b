// tick: what sends SIGURG to a thread for its processor time; and what the kernel says of a thread.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <future>
#include <thread>

#include "os/linux/internal.hpp"
#include "os/os.hpp"
#include "support/sanitized.hpp"

namespace gort::os {
namespace {

constexpr int64_t kMs = 1'000'000;

const mOS* watched = nullptr;
std::atomic<int> ticks{0};
std::atomic<int> others{0};

void count_it(int, void* info, void*) {
  ++(is_tick(watched, info) ? ticks : others);
}

class Tick : public testing::Test {
 protected:
  void SetUp() override {
    if (test::kTsan) GTEST_SKIP() << "signals come late under TSan";
    SignalAction action;
    action.handler = count_it;
    action.flags = SA_SIGINFO | SA_RESTART;
    ASSERT_EQ(rt_sigaction(SIGURG, &action, &before_), 0);
    ticks = 0;
    others = 0;
    watched = &os_;
  }
  void TearDown() override {
    if (test::kTsan) return;
    end_ticks(os_);
    ASSERT_EQ(rt_sigaction(SIGURG, &before_, nullptr), 0);
  }
  void begin(TickSource source, int64_t period_ns) {
    os_.tick_source = source;
    os_.tick_ns = period_ns;
    begin_ticks(os_);
  }
  // Uses so much of the thread's own time, nearly all of it outside the kernel, where events do not count.
  static void burn(int64_t ns) {
    const int64_t end = thread_cpu_ns(gettid()) + ns;
    while (thread_cpu_ns(gettid()) < end) {
      for (int i = 0; i < 20'000; ++i) asm volatile("" ::: "memory");
    }
  }
  mOS os_;

 private:
  SignalAction before_;
};

TEST_F(Tick, TheKernelsOwnIsSomeMilliseconds) {
  EXPECT_GE(kernel_tick_ns(), 1 * kMs);
  EXPECT_LE(kernel_tick_ns(), 10 * kMs);
}

TEST_F(Tick, SlowOnesAreTimersAndFastOnesAreNot) {
  EXPECT_EQ(choose_tick_source(kernel_tick_ns(), TickSource::none), TickSource::timer);
  EXPECT_NE(choose_tick_source(kernel_tick_ns() / 2, TickSource::none), TickSource::timer);
  EXPECT_EQ(choose_tick_source(1, TickSource::timer), TickSource::timer);
  EXPECT_EQ(choose_tick_source(1, TickSource::watchman), TickSource::watchman);
}

// TK1: one for the time that was used, none for the time that was slept, and no sleep is cut short.
TEST_F(Tick, TimersTickWhileTheThreadComputes) {
  begin(TickSource::timer, 5 * kMs);
  ASSERT_GE(os_.timer, 0);
  burn(100 * kMs);
  EXPECT_GE(ticks, 2);
  EXPECT_LE(ticks, 21);
  const int before = ticks;
  int cut_short = 0;
  for (int i = 0; i < 50; ++i) {
    const timespec ms{0, kMs};
    if (::nanosleep(&ms, nullptr) != 0) ++cut_short;
  }
  EXPECT_EQ(cut_short, 0);
  EXPECT_LE(ticks - before, 2);
}

// The same, and more often than the kernel's own.
TEST_F(Tick, EventsTickWhileTheThreadComputes) {
  if (choose_tick_source(kMs / 2, TickSource::event) != TickSource::event) {
    GTEST_SKIP() << "the kernel allows no perf events here";
  }
  begin(TickSource::event, kMs / 2);
  ASSERT_GE(os_.tick_event, 0);
  burn(100 * kMs);
  EXPECT_GE(ticks, 100) << "of 200";
  EXPECT_LE(ticks, 201);
  EXPECT_EQ(others, 0);
  const int fd = os_.tick_event;
  EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
  end_ticks(os_);
  EXPECT_EQ(::fcntl(fd, F_GETFD), -1);
  const int before = ticks;
  burn(5 * kMs);
  EXPECT_EQ(ticks, before);
}

// TK2.
TEST_F(Tick, AProgramsOwnIsNone) {
  begin(TickSource::timer, 1'000 * kMs);
  ASSERT_EQ(tgkill(gettid(), SIGURG), 0);
  sigval value{};
  value.sival_ptr = &tick_mark;
  ASSERT_EQ(::sigqueue(getpid(), SIGURG, value), 0);
  EXPECT_EQ(ticks, 0);
  EXPECT_EQ(others, 2);
}

TEST_F(Tick, NoneIsNoError) {
  begin(TickSource::watchman, kMs);
  EXPECT_EQ(os_.timer, -1);
  EXPECT_EQ(os_.tick_event, -1);
}

TEST(ThreadState, SaysWhoRunsAndWhoWaits) {
  EXPECT_EQ(thread_state(gettid()), 'R');
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  std::promise<int> tid;
  std::thread reader([&] {
    tid.set_value(gettid());
    char byte;
    EXPECT_EQ(::read(ends[0], &byte, 1), 1);
  });
  const int reader_tid = tid.get_future().get();
  while (thread_state(reader_tid) != 'S') osyield();
  EXPECT_EQ(::write(ends[1], "x", 1), 1);
  reader.join();
  EXPECT_EQ(thread_state(1 << 30), '\0');
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(ThreadState, IsReadBehindTheName) {
  EXPECT_EQ(parse_stat_state("42 (a) b) 1 2 3) S 1 42"), 'S');
  EXPECT_EQ(parse_stat_state("42 (a) R"), 'R');
  EXPECT_EQ(parse_stat_state("42 (a)"), '\0');
  EXPECT_EQ(parse_stat_state("42 a S 1"), '\0');
  EXPECT_EQ(parse_stat_state(""), '\0');
}

}  // namespace
}  // namespace gort::os
