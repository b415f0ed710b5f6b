// prof: whose tick a SIGPROF is, what becomes of a program's own, and what the handler leaves.
#include "signal/prof.hpp"

#include <gtest/gtest.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>
#include <thread>

#include "gort/spawn.hpp"
#include "os/os.hpp"
#include "sched/m.hpp"
#include "sched/roll.hpp"
#include "signal/unwind.hpp"
#include "support/allocations.hpp"
#include "support/burn.hpp"

namespace gort {
namespace {

#define SKIP_UNDER_TSAN() \
  if (test::kTsan) GTEST_SKIP() << "handlers must not interrupt ThreadSanitizer's own code"

siginfo_t info_of(int code, void* value = nullptr, int timer = 0) {
  siginfo_t info{};
  info.si_signo = SIGPROF;
  info.si_code = code;
  if (code == SI_TIMER) {
    info.si_ptr = value;
    info.si_timerid = timer;
  }
  return info;
}

// PF5, PF6: each row is a signal, and what it is for a thread that is no M, an M without a timer, and one with timer 5.
TEST(Prof, WhoseTickItIs) {
  int mine = 0;
  const auto counts = ProfTick::counts;
  const auto elsewhere = ProfTick::counted_elsewhere;
  const auto not_ours = ProfTick::not_ours;
  const struct {
    const char* what;
    siginfo_t info;
    ProfTick none, without, with;
  } kRows[] = {
      {"the process's", info_of(SI_KERNEL), counts, counts, elsewhere},
      {"timer 5", info_of(SI_TIMER, &profile_mark, 5), elsewhere, elsewhere, counts},
      {"an older timer", info_of(SI_TIMER, &profile_mark, 4), elsewhere, elsewhere, elsewhere},
      {"a program's timer", info_of(SI_TIMER, &mine, 5), not_ours, not_ours, not_ours},
      {"kill", info_of(SI_USER), not_ours, not_ours, not_ours},
      {"tgkill", info_of(SI_TKILL), not_ours, not_ours, not_ours},
      {"sigqueue", info_of(SI_QUEUE, &profile_mark), not_ours, not_ours, not_ours},
  };
  const auto without = std::make_unique<M>();
  const auto with = std::make_unique<M>();
  with->profile_timer = 5;
  for (const auto& row : kRows) {
    EXPECT_EQ(validSIGPROF(nullptr, &row.info), row.none) << row.what;
    EXPECT_EQ(validSIGPROF(without.get(), &row.info), row.without) << row.what;
    EXPECT_EQ(validSIGPROF(with.get(), &row.info), row.with) << row.what;
  }
}

std::atomic<int> programs{0};
std::atomic<bool> was_blocked{false};
void programs_handler(int) {
  ++programs;
  sigset_t now;
  pthread_sigmask(SIG_BLOCK, nullptr, &now);
  was_blocked = sigismember(&now, SIGPROF) == 1;
}
void another_handler(int) {}

auto present_handler() {
  struct sigaction now {};
  EXPECT_EQ(::sigaction(SIGPROF, nullptr, &now), 0);
  return now.sa_handler;
}

uint64_t present_mask() {
  os::SignalAction now;
  EXPECT_EQ(os::rt_sigaction(SIGPROF, nullptr, &now), 0);
  return now.mask;
}

class ProfRun : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_UNDER_TSAN();
    prepare_unwind();
    (void)take_lost();
  }
  void TearDown() override {
    stop();
    std::signal(SIGPROF, SIG_DFL);
  }
  void start(int hz) {
    set_samples(queue_.get());
    ASSERT_EQ(setProcessCPUProfiler(hz), 0);
  }
  static void stop() {
    ASSERT_EQ(setProcessCPUProfiler(0), 0);
    set_samples(nullptr);
  }
  // Of what is in the queue.
  uint64_t take() {
    uint64_t periods = 0;
    while (queue_->pop([&](const Sample& s) {
      periods += s.weight;
      EXPECT_GE(s.depth, 1U);
      EXPECT_LE(s.depth, kFramesMax);
    })) {
    }
    return periods;
  }
  // Until there were so many; how many there were.
  uint64_t burn_until_sampled(uint64_t wanted) {
    uint64_t periods = 0;
    test::spin_until([&] {
      test::burn_here(1);
      periods += take();
      return periods >= wanted;
    });
    return periods;
  }
  std::unique_ptr<Samples> queue_ = std::make_unique<Samples>();
};

// PF6.
TEST_F(ProfRun, AProgramsHandlerGetsItsSignals) {
  std::signal(SIGPROF, programs_handler);
  programs = 0;
  start(1000);
  EXPECT_NE(present_handler(), programs_handler);
  EXPECT_GE(burn_until_sampled(20), 20U);
  EXPECT_EQ(programs, 0) << "ours are not for it";
  for (int i = 1; i <= 3; ++i) {
    was_blocked = false;
    EXPECT_EQ(::kill(::getpid(), SIGPROF), 0);
    EXPECT_TRUE(test::spin_until([&] { return programs == i; }));
    EXPECT_TRUE(was_blocked) << "as the kernel does it";
  }
  stop();
  EXPECT_EQ(present_handler(), programs_handler);
  EXPECT_EQ(::raise(SIGPROF), 0);
  EXPECT_EQ(programs, 4);
}

std::atomic<uint64_t> seen_mask{0};
void mask_handler(int) {
  uint64_t now = 0;
  os::rtsigprocmask(SIG_BLOCK, nullptr, &now);
  seen_mask = now;
  ++programs;
}
void install(void (*handler)(int), int flags, int also_masked = 0) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  if (also_masked != 0) sigaddset(&action.sa_mask, also_masked);
  EXPECT_EQ(::sigaction(SIGPROF, &action, nullptr), 0);
}

// PF6: what the kernel would block, and nothing else.
TEST_F(ProfRun, AProgramsHandlerRunsUnderItsMask) {
  programs = 0;
  install(mask_handler, 0, SIGUSR2);
  start(100);
  const uint64_t outer = os::signal_bit(SIGWINCH);
  const uint64_t before = os::sigprocmask(outer);
  EXPECT_EQ(os::raise(SIGPROF), 0);
  EXPECT_EQ(programs, 1);
  EXPECT_EQ(seen_mask, outer | os::signal_bit(SIGUSR2) | os::signal_bit(SIGPROF));
  EXPECT_EQ(os::sigprocmask(before), outer);
}

// CH4.
TEST_F(ProfRun, AProgramsHandlerThatIsResetIsCalledOnce) {
  programs = 0;
  install(programs_handler, static_cast<int>(SA_RESETHAND));
  start(100);
  EXPECT_EQ(os::raise(SIGPROF), 0);
  EXPECT_EQ(os::raise(SIGPROF), 0);
  EXPECT_EQ(programs, 1);
  stop();
  EXPECT_EQ(present_handler(), SIG_DFL);
}

// CH2: what the program installs while a profile begins or ends is not lost. No two are the same: each has its number in
// its mask, in the real-time signals.
constexpr unsigned kNumberAt = 34;
std::atomic<unsigned> installed{0};
uint64_t installed_mask(unsigned number) {
  return uint64_t{number} << kNumberAt;
}
void install_next(int) {
  struct sigaction action {};
  action.sa_handler = another_handler;
  const uint64_t mask = installed_mask(installed + 1);
  std::memcpy(&action.sa_mask, &mask, sizeof mask);
  ASSERT_EQ(::sigaction(SIGPROF, &action, nullptr), 0);
  ++installed;
}
TEST_F(ProfRun, AgainstAProgramThatInstallsToo) {
  installed = 0;
  struct sigaction before {};
  struct sigaction alarm {};
  alarm.sa_handler = install_next;
  alarm.sa_flags = SA_RESTART;
  ASSERT_EQ(::sigaction(SIGALRM, &alarm, &before), 0);
  const itimerval often{{0, 50}, {0, 50}};
  ASSERT_EQ(::setitimer(ITIMER_REAL, &often, nullptr), 0);
  EXPECT_TRUE(test::spin_until([&] {
    const unsigned so_far = installed;
    start(100);
    stop();
    const uint64_t block = os::signal_bit(SIGALRM);
    os::rtsigprocmask(SIG_BLOCK, &block, nullptr);
    if (installed != so_far) {
      EXPECT_EQ(present_mask(), installed_mask(installed));
    }
    os::rtsigprocmask(SIG_UNBLOCK, &block, nullptr);
    return installed >= 2'000 || HasFailure();
  }));
  const itimerval never{};
  ASSERT_EQ(::setitimer(ITIMER_REAL, &never, nullptr), 0);
  ASSERT_EQ(::sigaction(SIGALRM, &before, nullptr), 0);
}

// A run that ends while a profile goes on takes its flag off what stands behind.
TEST_F(ProfRun, TheStackFlagGoesBehindItToo) {
  install(programs_handler, 0);
  run(options{.procs = 1}, [this] { start(100); });
  stop();
  struct sigaction now {};
  ASSERT_EQ(::sigaction(SIGPROF, nullptr, &now), 0);
  EXPECT_EQ(now.sa_flags & SA_ONSTACK, 0);
}

TEST_F(ProfRun, WhatTheProgramPutOverItStays) {
  start(100);
  std::signal(SIGPROF, another_handler);
  stop();
  EXPECT_EQ(present_handler(), another_handler);
}

// A handler that is put over ours and calls on to it, as is usual, is the program's at the next start.
struct sigaction under_chaining {};
void chaining_handler(int sig, siginfo_t* info, void* context) {
  if (info->si_code == SI_USER) ++programs;
  if ((under_chaining.sa_flags & SA_SIGINFO) != 0) under_chaining.sa_sigaction(sig, info, context);
}
TEST_F(ProfRun, AHandlerThatCallsOnToOursIsCalledOnce) {
  programs = 0;
  start(1000);
  struct sigaction chaining {};
  chaining.sa_sigaction = chaining_handler;
  chaining.sa_flags = SA_SIGINFO | SA_RESTART;
  ASSERT_EQ(::sigaction(SIGPROF, &chaining, &under_chaining), 0);
  EXPECT_GE(burn_until_sampled(20), 20U) << "ours are handed on";
  EXPECT_EQ(::kill(::getpid(), SIGPROF), 0);
  EXPECT_TRUE(test::spin_until([] { return programs == 1; }));
  stop();
  start(1000);
  EXPECT_GE(burn_until_sampled(20), 20U);
  for (int i = 2; i <= 3; ++i) {
    EXPECT_EQ(::kill(::getpid(), SIGPROF), 0);
    EXPECT_TRUE(test::spin_until([&] { return programs == i; }));
  }
  stop();
}

TEST_F(ProfRun, WithoutAHandlerASignalOfOthersIsIgnored) {
  start(100);
  EXPECT_EQ(::raise(SIGPROF), 0);
  stop();
  EXPECT_EQ(present_handler(), SIG_DFL);
  std::signal(SIGPROF, SIG_IGN);
  start(100);
  EXPECT_EQ(::raise(SIGPROF), 0);
  stop();
  EXPECT_EQ(present_handler(), SIG_IGN);
}

// PF7: the default action of a tick that comes late would end the process.
TEST_F(ProfRun, NoTickComesAfterTheEnd) {
  std::atomic<bool> over{false};
  std::thread outside([&] {
    while (!over) test::burn_here(1);
  });
  runtime rt(options{.procs = 2});
  auto hogs = rt.spawn([&] {
    auto other = spawn([&] {
      while (!over) test::burn_here(1);
    });
    while (!over) test::burn_here(1);
    other.join();
  });
  for (int i = 0; i < 50; ++i) {
    start(1000);
    test::burn_here(5);
    stop();
    take();
    EXPECT_EQ(present_handler(), SIG_DFL);
  }
  over = true;
  outside.join();
  hogs.join();
}

// What is blocked over the end is thrown away with it.
TEST_F(ProfRun, ATickThatIsBlockedEndsWithIt) {
  start(1000);
  const uint64_t old = os::sigprocmask(os::signal_bit(SIGPROF));
  EXPECT_TRUE(test::spin_until([] {
    sigset_t pending;
    EXPECT_EQ(::sigpending(&pending), 0);
    return sigismember(&pending, SIGPROF) == 1;
  })) << "there is one";
  stop();
  os::sigprocmask(old);  // the default action would end the test
}

// PF8.
TEST_F(ProfRun, LeavesErrnoAloneAndAllocatesNothing) {
  start(1000);
  const auto allocated = test::allocations();
  errno = 77;
  EXPECT_GE(burn_until_sampled(50), 50U);
  EXPECT_EQ(errno, 77);
  EXPECT_EQ(test::allocations(), allocated);
  stop();
}

// PF2: what there is no room for is counted.
TEST_F(ProfRun, NothingIsForgotten) {
  while (queue_->push([](Sample& s) { s.depth = 1; })) {
  }
  start(1000);
  const int64_t before_ns = test::cpu_ns();
  uint64_t lost = 0;
  EXPECT_TRUE(test::spin_until([&] {
    test::burn_here(1);
    lost += take_lost();
    return lost >= 100;
  }));
  stop();
  lost += take_lost();
  const auto used_ms = static_cast<uint64_t>((test::cpu_ns() - before_ns) / 1'000'000);
  EXPECT_LE(lost, used_ms + used_ms / 10 + 2);
  EXPECT_EQ(take_lost(), 0U);
}

// Of the whole process, for a scope: the program takes the signal in its own way.
class Blocked {
 public:
  explicit Blocked(int sig) : set_(os::signal_bit(sig)) {
    std::thread([] {}).join();  // libc's first thread, and a sanitizer's
    os::rtsigprocmask(SIG_BLOCK, &set_, &old_);
  }
  // False: none is pending.
  bool take() const {
    const timespec now{};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPROF);
    return ::sigtimedwait(&set, nullptr, &now) == SIGPROF;
  }
  ~Blocked() {
    while (take()) {
    }
    os::rtsigprocmask(SIG_SETMASK, &old_, nullptr);
  }
  Blocked(const Blocked&) = delete;
  Blocked& operator=(const Blocked&) = delete;

 private:
  uint64_t set_;
  uint64_t old_ = 0;
};

// PF9: no M takes it, whose default would end the process.
TEST_F(ProfRun, AProgramThatBlocksTheSignalKeepsIt) {
  const Blocked blocked(SIGPROF);
  ASSERT_EQ(os::setitimer(1'000'000), 0);
  run(options{.procs = 2, .slice = std::chrono::milliseconds(2)}, [&blocked] {
    auto other = spawn([] { test::burn_here(50); });
    test::burn_here(50);
    other.join();
    EXPECT_TRUE(blocked.take());
  });
  ASSERT_EQ(os::setitimer(0), 0);
}

// PF9: and a profile sees its Ms all the same.
TEST_F(ProfRun, ItsMsAreSampled) {
  const Blocked blocked(SIGPROF);
  run(options{.procs = 2, .slice = std::chrono::milliseconds(2)}, [this, &blocked] {
    start(1000);
    auto other = spawn([] { test::burn_here(100); });
    EXPECT_GE(burn_until_sampled(50), 50U);
    other.join();
    EXPECT_FALSE(blocked.take()) << "who calls sigwait() would take it for the program's";
    stop();
  });
}

// PF5: a thread that sleeps while Ms compute is not taken for them, though the kernel may send it their signals.
TEST_F(ProfRun, SleepersAreNotCounted) {
  std::atomic<bool> over{false};
  std::vector<std::thread> sleepers;
  for (int i = 0; i < 4; ++i) {
    sleepers.emplace_back([&] { over.wait(false); });
  }
  uint64_t inside = 0;
  uint64_t outside = 0;
  run(options{.procs = 2, .slice = std::chrono::milliseconds(1)}, [&] {
    start(250);
    auto other = spawn([] { test::burn_here(400); });
    test::burn_here(400);
    other.join();
    stop();
    while (queue_->pop([&](const Sample& s) { (s.fiber != 0 ? inside : outside) += s.weight; })) {
    }
  });
  over = true;
  over.notify_all();
  for (auto& t : sleepers) t.join();
  EXPECT_GE(inside, 150U);
  // Each of them, and the runtime's own threads, once.
  EXPECT_LE(outside, 20U);
}

}  // namespace
}  // namespace gort
