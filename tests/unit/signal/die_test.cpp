// die: what whoever waits for the process sees.
#include "signal/die.hpp"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "os/os.hpp"
#include "support/sanitized.hpp"

namespace gort {
namespace {

template <class F>
int status_of(F body) {
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    body();
    ::_exit(77);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return status;
}

TEST(Die, BySignalsThatWriteACoreAndOthers) {
  for (const int sig : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTERM, SIGUSR1, SIGRTMIN}) {
    const int status = status_of([sig] { dieFromSignal(sig); });
    EXPECT_TRUE(WIFSIGNALED(status)) << sig;
    EXPECT_EQ(WTERMSIG(status), sig);
  }
}

// Blocked, handled, and in the handler itself.
TEST(Die, WhateverTheProgramHasDoneAboutTheSignal) {
  if (test::kTsan) GTEST_SKIP() << "TSan delays signals";
  const int status = status_of([] {
    os::sigprocmask(os::kAllButLibcSignals);
    std::signal(SIGTERM, [](int) { dieFromSignal(SIGTERM); });
    const uint64_t open = os::signal_bit(SIGTERM);
    os::rtsigprocmask(SIG_UNBLOCK, &open, nullptr);
    os::raise(SIGTERM);
  });
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGTERM);
}

TEST(Die, WithOtherThreadsThatBlockIt) {
  const int status = status_of([] {
    os::sigprocmask(os::kAllButLibcSignals);
    std::thread([] { dieFromSignal(SIGSEGV); }).detach();
    for (;;) ::pause();
  });
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGSEGV);
}

// The first process of a container is not ended by its own signals.
TEST(Die, AsProcessOne) {
  const int status = status_of([] {
    if (::unshare(CLONE_NEWPID) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0) ::_exit(78);
    const pid_t one = ::fork();
    if (one < 0) ::_exit(78);
    if (one == 0) dieFromSignal(SIGTERM);
    int of_one = 0;
    ::waitpid(one, &of_one, 0);
    ::_exit(WIFEXITED(of_one) ? WEXITSTATUS(of_one) : 79);
  });
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 78) GTEST_SKIP() << "no process namespace to be had";
  EXPECT_EQ(WEXITSTATUS(status), 128 + SIGTERM);
}

}  // namespace
}  // namespace gort
