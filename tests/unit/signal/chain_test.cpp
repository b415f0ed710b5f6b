// chain: what a program sees of its own handlers while ours stands before them. By SIGUSR1, which is nobody's.
#include "signal/chain.hpp"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <thread>

#include "signal/sigtab.hpp"
#include "support/sanitized.hpp"

namespace gort {
namespace {

constexpr int kSig = SIGUSR1;

std::atomic<int> calls[3];
std::atomic<int> seen_signal;
std::atomic<bool> seen_info;
std::atomic<uint64_t> seen_mask;
struct sigaction saved[3];

void reset_seen() {
  for (auto& n : calls) n = 0;
  seen_signal = 0;
  seen_info = false;
  seen_mask = 0;
}

template <int kWhich>
void plain(int sig) {
  ++calls[kWhich];
  seen_signal = sig;
  uint64_t mask = 0;
  os::rtsigprocmask(SIG_BLOCK, nullptr, &mask);
  seen_mask = mask;
  errno = EBADMSG;
}

template <int kWhich>
void with_info(int sig, siginfo_t* info, void* context) {
  plain<kWhich>(sig);
  seen_info =
      info != nullptr && info->si_signo == sig && info->si_pid == ::getpid() && context != nullptr;
}

// A handler that calls who was there before it, as a good one does.
template <int kWhich>
void and_on(int sig, siginfo_t* info, void* context) {
  ++calls[kWhich];
  const struct sigaction& next = saved[kWhich];
  if ((next.sa_flags & SA_SIGINFO) != 0) {
    next.sa_sigaction(sig, info, context);
  } else if (next.sa_handler != SIG_DFL && next.sa_handler != SIG_IGN) {
    next.sa_handler(sig);
  }
}

using Plain = void (*)(int);
using WithInfo = void (*)(int, siginfo_t*, void*);

struct sigaction action_of(Plain handler, int flags = 0) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  return action;
}
struct sigaction action_of(WithInfo handler, int flags = 0) {
  struct sigaction action {};
  action.sa_sigaction = handler;
  action.sa_flags = flags | SA_SIGINFO;
  return action;
}

os::SignalAction kernels() {
  os::SignalAction now;
  sysSigaction(kSig, nullptr, &now);
  return now;
}

bool equal(const os::SignalAction& a, const os::SignalAction& b) {
  return a.handler == b.handler && a.flags == b.flags && a.mask == b.mask &&
         a.restorer == b.restorer;
}

class Chain : public testing::Test {
 protected:
  void SetUp() override {
    if (test::kTsan) GTEST_SKIP() << "TSan keeps a table of handlers of its own";
    reset_seen();
    ASSERT_EQ(::sigaction(kSig, nullptr, &before_), 0);
  }
  void TearDown() override {
    if (test::kTsan) return;
    give_back(kSig);
    EXPECT_FALSE(is_ours(getsig(kSig)));
    ASSERT_EQ(::sigaction(kSig, &before_, nullptr), 0);
    // So that no level stays in use: it is SIG_DFL.
    ASSERT_TRUE(take_signal(kSig));
    give_back(kSig);
  }
  static void install(const struct sigaction& action, struct sigaction* old = nullptr) {
    ASSERT_EQ(::sigaction(kSig, &action, old), 0);
  }

 private:
  struct sigaction before_ {};
};

TEST_F(Chain, CallsAPlainHandler) {
  install(action_of(plain<0>));
  ASSERT_TRUE(take_signal(kSig));
  EXPECT_TRUE(is_ours(getsig(kSig)));
  errno = EDOM;
  ASSERT_EQ(os::raise(kSig), 0);
  EXPECT_EQ(errno, EDOM) << "whatever a handler does to it";
  EXPECT_EQ(calls[0], 1);
  EXPECT_EQ(seen_signal, kSig);
}

TEST_F(Chain, CallsOneThatWantsToKnowMore) {
  install(action_of(with_info<0>));
  ASSERT_TRUE(take_signal(kSig));
  ASSERT_EQ(os::raise(kSig), 0);
  EXPECT_EQ(calls[0], 1);
  EXPECT_TRUE(seen_info);
}

TEST_F(Chain, GivesBackWhatWasThere) {
  install(action_of(with_info<0>, SA_RESTART));
  const os::SignalAction before = kernels();
  ASSERT_TRUE(take_signal(kSig));
  ASSERT_TRUE(take_signal(kSig)) << "twice is once";
  give_back(kSig);
  EXPECT_TRUE(equal(kernels(), before)) << "flags, mask and restorer";
}

// How children end is no business of who is told.
TEST_F(Chain, WhatAnActionSaysOfChildrenStays) {
  struct sigaction before {};
  const struct sigaction program = action_of(plain<0>, SA_NOCLDSTOP | SA_NOCLDWAIT | SA_RESTART);
  ASSERT_EQ(::sigaction(SIGCHLD, &program, &before), 0);
  ASSERT_TRUE(take_signal(SIGCHLD));
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  EXPECT_EQ(::waitpid(child, nullptr, 0), -1) << "it leaves no zombie";
  EXPECT_EQ(errno, ECHILD);
  struct sigaction ours {};
  ASSERT_EQ(::sigaction(SIGCHLD, nullptr, &ours), 0);
  EXPECT_NE(ours.sa_flags & SA_NOCLDSTOP, 0);
  give_back(SIGCHLD);
  ASSERT_NE(std::signal(SIGCHLD, SIG_IGN), SIG_ERR);
  ASSERT_TRUE(take_signal(SIGCHLD));
  const pid_t another = ::fork();
  if (another == 0) ::_exit(0);
  EXPECT_EQ(::waitpid(another, nullptr, 0), -1) << "nor does one that is ignored";
  give_back(SIGCHLD);
  ASSERT_EQ(::sigaction(SIGCHLD, &before, nullptr), 0);
  ASSERT_TRUE(take_signal(SIGCHLD));
  ASSERT_EQ(::sigaction(SIGCHLD, nullptr, &ours), 0);
  EXPECT_EQ(ours.sa_flags & (SA_NOCLDSTOP | SA_NOCLDWAIT), 0);
  give_back(SIGCHLD);
}

TEST_F(Chain, TheMaskIsTheActions) {
  struct sigaction action = action_of(plain<0>);
  sigaddset(&action.sa_mask, SIGUSR2);
  install(action);
  ASSERT_TRUE(take_signal(kSig));
  const uint64_t outer = os::signal_bit(SIGWINCH);
  const uint64_t before = os::sigprocmask(outer);
  ASSERT_EQ(os::raise(kSig), 0);
  EXPECT_EQ(seen_mask, outer | os::signal_bit(SIGUSR2) | os::signal_bit(kSig));
  EXPECT_EQ(os::sigprocmask(before), outer);
}

TEST_F(Chain, NodeferIsKept) {
  install(action_of(plain<0>, SA_NODEFER));
  ASSERT_TRUE(take_signal(kSig));
  const uint64_t before = os::sigprocmask(0);
  ASSERT_EQ(os::raise(kSig), 0);
  EXPECT_EQ(seen_mask, 0U);
  os::sigprocmask(before);
}

// CH4.
TEST_F(Chain, AHandlerThatIsResetIsFoundOnce) {
  install(action_of(SIG_IGN));
  ASSERT_TRUE(take_signal(kSig));
  install(action_of(plain<0>, static_cast<int>(SA_RESETHAND)));
  ASSERT_TRUE(take_signal(kSig));
  ASSERT_EQ(os::raise(kSig), 0);
  EXPECT_EQ(calls[0], 1);
  const pid_t child = ::fork();
  if (child == 0) {
    os::raise(kSig);
    ::_exit(1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == kSig) << "the second finds the default";
  give_back(kSig);
  EXPECT_FALSE(os::has_handler(kernels())) << "so does who looks afterwards";
}

// By SIG_DFL too: a process that a signal has stopped goes on when it is told to.
TEST_F(Chain, ASignalThatStopsStops) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::setpgid(0, 0);  // not orphaned: its parent is in the same session
    std::signal(SIGTSTP, SIG_DFL);
    if (!take_signal(SIGTSTP)) ::_exit(2);
    os::raise(SIGTSTP);
    ::_exit(is_ours(getsig(SIGTSTP)) ? 7 : 8);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, WUNTRACED), child);
  ASSERT_TRUE(WIFSTOPPED(status)) << status;
  EXPECT_EQ(WSTOPSIG(status), SIGTSTP);
  ASSERT_EQ(::kill(child, SIGCONT), 0);
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7) << status;
}

// Nobody in its session would let it go on, so the kernel does not stop it.
TEST_F(Chain, ASignalThatStopsDoesNotStopAnOrphanedGroup) {
  for (const int sig : {SIGTSTP, SIGTTIN, SIGTTOU}) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::setsid();
      std::signal(sig, SIG_DFL);
      if (!take_signal(sig)) ::_exit(2);
      os::raise(sig);
      os::raise(sig);
      ::_exit(is_ours(getsig(sig)) ? 7 : 8);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, WUNTRACED), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7) << signame(sig).text << status;
    if (WIFSTOPPED(status)) ::kill(child, SIGKILL);
  }
}

TEST_F(Chain, IgnoredIsIgnored) {
  install(action_of(SIG_IGN));
  ASSERT_TRUE(take_signal(kSig));
  ASSERT_EQ(os::raise(kSig), 0);
  give_back(kSig);
  EXPECT_EQ(kernels().handler, getsig(kSig));
  struct sigaction now {};
  ::sigaction(kSig, nullptr, &now);
  EXPECT_EQ(now.sa_handler, SIG_IGN);
}

TEST_F(Chain, WithoutAHandlerTheDefaultEndsTheProcess) {
  install(action_of(SIG_DFL));
  const pid_t child = ::fork();
  if (child == 0) {
    if (take_signal(kSig)) os::raise(kSig);
    ::_exit(1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == kSig);
}

// CH1: the program's later handler has saved ours, and calls it. We stand before it without being whom it calls.
TEST_F(Chain, AHandlerThatCallsWhoWasBeforeIt) {
  install(action_of(plain<0>));
  ASSERT_TRUE(take_signal(kSig));
  install(action_of(and_on<1>), &saved[1]);
  EXPECT_FALSE(is_ours(getsig(kSig)));
  ASSERT_TRUE(take_signal(kSig));
  EXPECT_TRUE(is_ours(getsig(kSig)));
  ASSERT_EQ(os::raise(kSig), 0);
  EXPECT_EQ(calls[1], 1);
  EXPECT_EQ(calls[0], 1);
}

// CH1: who takes his handler off again puts back what he found, and what he found is not him.
TEST_F(Chain, AHandlerThatIsTakenOffAgain) {
  install(action_of(plain<0>));
  ASSERT_TRUE(take_signal(kSig));
  install(action_of(plain<1>), &saved[1]);
  ASSERT_TRUE(take_signal(kSig));
  install(saved[1]);
  ASSERT_TRUE(take_signal(kSig));
  ASSERT_EQ(os::raise(kSig), 0);
  EXPECT_EQ(calls[1], 0);
  EXPECT_EQ(calls[0], 1);
  give_back(kSig);
  struct sigaction now {};
  ::sigaction(kSig, nullptr, &now);
  EXPECT_EQ(now.sa_handler, plain<0>);
}

// CH1: the latest is given back, and what it has saved still leads on, also in the next life.
TEST_F(Chain, OneLifeAfterTheOther) {
  install(action_of(plain<0>));
  ASSERT_TRUE(take_signal(kSig));
  install(action_of(and_on<1>), &saved[1]);
  for (int life = 1; life <= 20; ++life) {
    ASSERT_TRUE(take_signal(kSig));
    ASSERT_EQ(os::raise(kSig), 0);
    EXPECT_EQ(calls[1], 2 * life - 1);
    give_back(kSig);
    struct sigaction now {};
    ::sigaction(kSig, nullptr, &now);
    EXPECT_EQ(now.sa_sigaction, and_on<1>);
    ASSERT_EQ(os::raise(kSig), 0);
    EXPECT_EQ(calls[0], 2 * life);
  }
}

// The same when we never saw it while we were there.
TEST_F(Chain, OneThatCameUnseen) {
  install(action_of(plain<0>));
  ASSERT_TRUE(take_signal(kSig));
  install(action_of(and_on<1>), &saved[1]);
  give_back(kSig);
  struct sigaction now {};
  ::sigaction(kSig, nullptr, &now);
  EXPECT_EQ(now.sa_sigaction, and_on<1>) << "theirs stays";
  ASSERT_TRUE(take_signal(kSig));
  ASSERT_EQ(os::raise(kSig), 0);
  EXPECT_EQ(calls[1], 1);
  EXPECT_EQ(calls[0], 1);
}

// Who restores ours when we are gone has what was behind it.
TEST_F(Chain, OursRestoredAfterTheEnd) {
  install(action_of(plain<0>));
  ASSERT_TRUE(take_signal(kSig));
  install(action_of(plain<1>), &saved[1]);
  give_back(kSig);
  install(saved[1]);
  EXPECT_TRUE(is_ours(getsig(kSig)));
  ASSERT_EQ(os::raise(kSig), 0);
  EXPECT_EQ(calls[0], 1);
}

TEST_F(Chain, ManyLivesUseNoLevelUp) {
  for (int life = 0; life < 50; ++life) {
    install(life % 2 == 0 ? action_of(plain<0>) : action_of(plain<1>, SA_RESTART));
    ASSERT_TRUE(take_signal(kSig)) << life;
    give_back(kSig);
  }
}

// What a program ends between two lives is no level any more.
TEST_F(Chain, HandlersThatComeAndGoUseNoLevelUp) {
  for (int life = 0; life < 20; ++life) {
    struct sigaction none = action_of(SIG_DFL);
    sigaddset(&none.sa_mask, SIGRTMIN + life);  // so that it is none that was there before
    install(none);
    ASSERT_TRUE(take_signal(kSig)) << life;
    install(action_of(and_on<1>), &saved[1]);
    give_back(kSig);
  }
}

template <int kWhich>
void own(int) {
  ++calls[2];
}
template <int... kWhich>
bool take_under_each(std::integer_sequence<int, kWhich...>) {
  const auto one = [](Plain handler) {
    const struct sigaction action = action_of(handler);
    ::sigaction(kSig, &action, nullptr);
    return take_signal(kSig);
  };
  return (one(own<kWhich>) && ...);
}

TEST_F(Chain, LevelsMayBeUsedUp) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (!take_under_each(std::make_integer_sequence<int, kLevels>{})) ::_exit(1);
    if (take_under_each(std::integer_sequence<int, 100>{})) ::_exit(2);
    os::raise(kSig);
    ::_exit(is_ours(getsig(kSig)) || calls[2] != 1 ? 3 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0) << "it is theirs then";
}

// Calls `look` again and again while SIGALRM's handler comes in at any instruction of it.
template <class Look>
void interrupted_everywhere(void (*handler)(int), const std::atomic<int>& times, Look look) {
  struct sigaction before {};
  const struct sigaction action = action_of(handler, SA_RESTART);
  ASSERT_EQ(::sigaction(SIGALRM, &action, &before), 0);
  const itimerval often{{0, 30}, {0, 30}};
  ASSERT_EQ(::setitimer(ITIMER_REAL, &often, nullptr), 0);
  constexpr int kTimes = 2'000;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (times < kTimes && std::chrono::steady_clock::now() < end && !testing::Test::HasFailure()) {
    for (int i = 0; i < 50; ++i) look();
  }
  const itimerval never{};
  ASSERT_EQ(::setitimer(ITIMER_REAL, &never, nullptr), 0);
  ASSERT_EQ(::sigaction(SIGALRM, &before, nullptr), 0);
  EXPECT_GT(times, 20);
}

std::atomic<int> installed{0};
void install_next(int) {
  const struct sigaction actions[] = {action_of(plain<0>), action_of(plain<1>)};
  if (::sigaction(kSig, &actions[installed % 2], nullptr) == 0) ++installed;
}

// CH2: whatever the program installs while we are at it stays, or stands behind us.
template <class Look>
void install_against(Look look) {
  installed = 0;
  install_next(0);
  interrupted_everywhere(install_next, installed, [&look] {
    look();
    const uint64_t alarm = os::signal_bit(SIGALRM);
    os::rtsigprocmask(SIG_BLOCK, &alarm, nullptr);
    reset_seen();
    os::raise(kSig);
    const int latest = (installed - 1) % 2;
    EXPECT_EQ(calls[latest], 1) << installed;
    EXPECT_EQ(calls[1 - latest], 0) << installed;
    os::rtsigprocmask(SIG_UNBLOCK, &alarm, nullptr);
  });
}
TEST_F(Chain, AgainstAProgramThatInstallsToo) {
  install_against([] { EXPECT_TRUE(take_signal(kSig)); });
}
TEST_F(Chain, TheStackFlagAgainstAProgramThatInstallsToo) {
  install_against([] { setsigstack(kSig); });
}

// ---- The flag ---------------------------------------------------------------------------------------------

TEST_F(Chain, TheStackFlagComesAndGoes) {
  install(action_of(plain<0>, SA_RESTART));
  const os::SignalAction before = kernels();
  setsigstack(kSig);
  os::SignalAction with = before;
  with.flags |= SA_ONSTACK;
  EXPECT_TRUE(equal(kernels(), with));
  setsigstack(kSig);
  unsetsigstacks();
  EXPECT_TRUE(equal(kernels(), before));
}

// Taken while it has the flag, and given back when the flag is off.
TEST_F(Chain, TheStackFlagGoesBehindOurHandlerToo) {
  install(action_of(plain<0>, SA_RESTART));
  const os::SignalAction before = kernels();
  setsigstack(kSig);
  ASSERT_TRUE(take_signal(kSig));
  unsetsigstacks();
  ASSERT_EQ(os::raise(kSig), 0);
  EXPECT_EQ(calls[0], 1);
  give_back(kSig);
  EXPECT_TRUE(equal(kernels(), before));
}

TEST_F(Chain, AFlagOfTheProgramsStays) {
  install(action_of(plain<0>));
  setsigstack(kSig);
  install(action_of(plain<1>, SA_ONSTACK));
  setsigstack(kSig);
  unsetsigstacks();
  EXPECT_NE(kernels().flags & SA_ONSTACK, 0U);
}

TEST_F(Chain, NoFlagWhereThereIsNoHandler) {
  install(action_of(SIG_IGN));
  setsigstack(kSig);
  EXPECT_EQ(kernels().flags & SA_ONSTACK, 0U);
}

// ---- A level's action -------------------------------------------------------------------------------------

os::SignalAction numbered(uint64_t n) {
  os::SignalAction action =
      our_action(n % 2 == 0 ? [](int, void*, void*) {} : [](int, void*, void*) { ++calls[0]; });
  action.flags = n;
  action.mask = ~n;
  return action;
}

ActionCell shared_cell;
std::atomic<int> looks{0};
void look_at_cell(int) {
  const os::SignalAction got = looks % 2 == 0 ? shared_cell.get() : shared_cell.use();
  EXPECT_EQ(got.mask, ~uint64_t{got.flags});
  EXPECT_EQ(got.handler, numbered(got.flags).handler);
  ++looks;
}
constexpr uint64_t kNotReset = ~uint64_t{SA_RESETHAND};

// CH3: on one thread, and on two.
TEST(ChainCell, AHandlerSeesOneActionWhole) {
  if (test::kTsan) GTEST_SKIP() << "TSan delays signals";
  looks = 0;
  uint64_t n = 2;
  shared_cell.set(numbered(n));
  interrupted_everywhere(look_at_cell, looks, [&n] { shared_cell.set(numbered(++n & kNotReset)); });
}
TEST(ChainCell, AReaderSeesOneActionWhole) {
  ActionCell cell;
  cell.set(numbered(2));
  std::atomic<bool> over{false};
  std::thread writer([&] {
    for (uint64_t n = 2; !over; ++n) cell.set(numbered(n & kNotReset));
  });
  for (int i = 0; i < 300'000; ++i) {
    const os::SignalAction got = i % 2 == 0 ? cell.get() : cell.use();
    ASSERT_EQ(got.mask, ~uint64_t{got.flags});
    ASSERT_EQ(got.handler, numbered(got.flags).handler);
  }
  over = true;
  writer.join();
}

// CH4.
TEST(ChainCell, OneOfTwoFindsTheHandler) {
  for (int i = 0; i < 2'000; ++i) {
    ActionCell cell;
    os::SignalAction once = numbered(1);
    once.flags = SA_RESETHAND;
    cell.set(once);
    std::atomic<int> found{0};
    std::atomic<int> ready{0};
    const auto look = [&] {
      ++ready;
      while (ready < 2) std::this_thread::yield();
      found += os::has_handler(cell.use()) ? 1 : 0;
    };
    std::thread other(look);
    look();
    other.join();
    ASSERT_EQ(found, 1);
    ASSERT_FALSE(os::has_handler(cell.get()));
    cell.set(once);
    ASSERT_TRUE(os::has_handler(cell.get())) << "it was installed again";
  }
}

// ---- Who leaves his handler another way -------------------------------------------------------------------

void end_thread(int) {
  ::pthread_exit(nullptr);
}

TEST_F(Chain, AHandlerMayEndItsThread) {
  if (test::kSanitizers) GTEST_SKIP() << "a sanitizer's frames stand between";
  install(action_of(end_thread));
  ASSERT_TRUE(take_signal(kSig));
  pthread_t thread;
  ASSERT_EQ(::pthread_create(
                &thread, nullptr,
                [](void* arg) -> void* {
                  ::raise(kSig);
                  return arg;
                },
                &thread),
            0);
  void* result = &thread;
  ASSERT_EQ(::pthread_join(thread, &result), 0);
  EXPECT_EQ(result, nullptr) << "it went on";
}

}  // namespace
}  // namespace gort
