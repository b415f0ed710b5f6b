// fork: what a child finds of gort, and that the parent notices nothing (FK1 to FK3).
#include "sched/fork.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "fork_fixture.hpp"
#include "gort/gort.hpp"
#include "os/os.hpp"
#include "sched/current.hpp"
#include "support/child.hpp"
#include "support/scheduler_test.hpp"
#include "sync/sync_fixture.hpp"

extern char** environ;

namespace gort {
namespace {

using namespace std::chrono_literals;
using test::ChildEnd;
using test::in_child;
using test::passes;
using test::throws_logic_error;

class Fork : public test::ForkTest {};
GORT_WHOEVER_FORKS(Fork);

TEST_P(Fork, AChildMayEndOrExec) {
  there([] {
    EXPECT_TRUE(in_child([] { return 7; }).exited(7));
    const ChildEnd end = in_child([] {
      ::execl("/bin/sh", "sh", "-c", "exit 5", nullptr);
      return 127;
    });
    EXPECT_TRUE(end.exited(5)) << end;
  });
}

// What it exec()s would have an M's, which costs power for nothing.
TEST_P(Fork, AChildHasTheProgramsTimerSlack) {
  const int programs = ::prctl(PR_GET_TIMERSLACK);
  ASSERT_GT(programs, 1);
  there([programs] {
    const ChildEnd end =
        in_child([programs] { return ::prctl(PR_GET_TIMERSLACK) == programs ? 0 : 1; });
    EXPECT_TRUE(end.exited(0)) << end;
  });
}

std::optional<task<void>> static_task;
std::optional<runtime> static_runtime;
mutex static_mutex;

// Destructors of what is static run in the child, and do not wait for what is not there.
TEST_P(Fork, AChildMayCallExit) {
  if (test::kSanitizers) GTEST_SKIP() << "a sanitizer looks for leaks at exit()";
  there([] {
    chan<int> go_on;
    static_task.emplace(spawn([go_on] { (void)go_on.recv(); }));
    const ChildEnd end = in_child([]() -> int { std::exit(3); });
    EXPECT_TRUE(end.exited(3)) << end;
    go_on.close();
    static_task->join();
    static_task.reset();
  });
}

// FK1.
TEST_P(Fork, NothingIsStartedInAChild) {
  there([] {
    auto sleeper = spawn([] { sleep_for(1h); });
    const ChildEnd end = in_child([&] {
      return passes([&] {
        EXPECT_TRUE(throws_logic_error([] { go([] {}); }));
        EXPECT_TRUE(throws_logic_error([] { (void)spawn([] {}); }));
        EXPECT_TRUE(throws_logic_error([] { run([] {}); }));
        EXPECT_TRUE(throws_logic_error([] { const runtime second; }));
        EXPECT_TRUE(throws_logic_error([&] { sleeper.join(); }));
        EXPECT_TRUE(throws_logic_error([] { signals::notify(chan<int>(1), {SIGUSR1}); }));
        EXPECT_TRUE(throws_logic_error([] { profile::cpu_start("/dev/null"); }));
        sleeper.request_stop();
        EXPECT_FALSE(sleeper.done());
        EXPECT_EQ(num_fibers(), 0U);
        EXPECT_EQ(procs(), 0);
        EXPECT_EQ(stats().fibers, 0U);
        EXPECT_FALSE(this_fiber::in_fiber());
        yield();
      });
    });
    EXPECT_TRUE(end.exited(0)) << end;
    EXPECT_FALSE(sleeper.done());
    sleeper.request_stop();
    sleeper.join();
  });
}

TEST_P(Fork, WhatNeedsNobodyElseWorksInAChild) {
  there([] {
    mutex m;
    m.lock();
    chan<int> c(2);
    c.send(1);
    wait_group group;
    group.add(1);
    const ChildEnd end = in_child([&] {
      return passes([&] {
        m.unlock();
        EXPECT_TRUE(m.try_lock());
        m.unlock();
        const std::lock_guard guard(static_mutex);
        EXPECT_EQ(c.recv(), 1);
        c.send(2);
        EXPECT_EQ(c.try_send(3), op_status::ok);
        EXPECT_EQ(c.try_send(4), op_status::full);
        c.close();
        group.done();
        group.wait();
        chan<std::string> mine(1);
        mine.send("x");
        EXPECT_EQ(mine.recv(), "x");
        try {
          throw std::runtime_error("caught");
        } catch (const std::exception&) {
        }
        EXPECT_EQ(blocking([] { return 5; }), 5);
      });
    });
    EXPECT_TRUE(end.exited(0)) << end;
    m.unlock();
    EXPECT_EQ(c.recv(), 1);
    EXPECT_EQ(c.size(), 0U);
    group.done();
  });
}

// Others are asleep in these objects: the child wakes nobody, and does not notice.
TEST_P(Fork, TheWaitersOfTheParentAreNotInTheChild) {
  there([] {
    const chan<int> c;
    const chan<int> full(1);
    full.send(1);
    mutex m;
    m.lock();
    auto receiver = spawn([c] { return c.recv(); });
    auto sender = spawn([full] { full.send(2); });
    auto locker = spawn([&m] {
      m.lock();
      m.unlock();
    });
    // Who parks is counted, and in the line, before it lets go of the object. All of these looks need the object's lock:
    // behind them nobody holds one at the fork.
    test::until([&] { return stats().parks > 2; });
    EXPECT_EQ(c.size(), 0U);
    EXPECT_EQ(full.size(), 1U);
    test::until_waiters(&m, 1);
    const ChildEnd end = in_child([&] {
      (void)c.try_send(7);
      int out = 0;
      (void)full.try_recv(out);
      m.unlock();
      return out;
    });
    EXPECT_TRUE(end.exited(1)) << end;
    c.send(8);
    EXPECT_EQ(receiver.get(), 8);
    EXPECT_EQ(full.recv(), 1);
    m.unlock();
    sender.join();
    locker.join();
  });
}

TEST_P(Fork, AWaitInAChildIsAnError) {
  there([] {
    mutex held;
    held.lock();
    const auto says = [](auto&& f) {
      const ChildEnd end = in_child([&] {
        f();
        return 1;
      });
      EXPECT_TRUE(end.aborted_with(test::kChildWaits)) << end;
    };
    says([] { (void)chan<int>().recv(); });
    says([] { chan<int>().send(1); });
    says([] { (void)chan<int>::nil().recv(); });
    says([] {
      int out;
      (void)chan<int>().recv_for(out, 1h);
    });
    says([] { sleep_for(1h); });
    says([&] { held.lock(); });
    says([] {
      mutex m;
      condition_variable cv;
      std::unique_lock lock(m);
      cv.wait(lock);
    });
    says([] {
      wait_group group;
      group.add(1);
      group.wait();
    });
    held.unlock();
  });
}

TEST_P(Fork, AnEventOrThePollerIsNotLeftOpenInTheChild) {
  there([] {
    const auto pollers = [] {
      int n = 0;
      for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code ec;
        const std::string to = std::filesystem::read_symlink(entry.path(), ec).string();
        if (to == "anon_inode:[eventpoll]" || to == "anon_inode:[eventfd]") ++n;
      }
      return n;
    };
    EXPECT_EQ(pollers(), 2);
    const ChildEnd end = in_child(pollers);
    EXPECT_TRUE(end.exited(0)) << end;
    EXPECT_EQ(pollers(), 2);
  });
}

// The parent's helper gets what is sent to the parent; the child dies of it as it would without gort.
TEST_P(Fork, SignalsOfTheParentAreNotTheChilds) {
  there([] {
    const chan<int> ch(1);
    signals::notify(ch, {SIGTERM});
    const ChildEnd end = in_child([] {
      os::raise(SIGTERM);
      return 1;
    });
    EXPECT_TRUE(end.killed(SIGTERM)) << end;
    EXPECT_EQ(ch.size(), 0U);
    signals::ignore({SIGUSR1});
    EXPECT_TRUE(in_child([] {
                  os::raise(SIGUSR1);
                  signals::reset({SIGUSR1});
                  os::raise(SIGUSR1);
                  return 1;
                }).killed(SIGUSR1));
    signals::reset({SIGUSR1});
    os::raiseproc(SIGTERM);
    EXPECT_EQ(ch.recv(), SIGTERM);
    signals::stop(ch);
  });
}

// FK3: fibers that are interrupted, sleep, and use sockets go on beside a hundred forks.
TEST_P(Fork, TheParentGoesOn) {
  there([] {
    std::atomic<bool> over{false};
    std::atomic<uint64_t> rounds[4] = {};
    std::vector<task<void>> others;
    for (int i = 0; i < 2; ++i) {
      others.push_back(spawn([&over, &n = rounds[i]] {
        while (!over.load(std::memory_order_relaxed)) ++n;
      }));
    }
    others.push_back(spawn([&over, &n = rounds[2]] {
      for (; !over; ++n) sleep_for(100us);
    }));
    auto listener = net::tcp_listener::listen("127.0.0.1", 0);
    auto server = spawn([&listener] {
      auto peer = listener.accept();
      char c;
      while (peer.read_some(std::span<char>(&c, 1)) != 0) peer.write(std::string_view(&c, 1));
    });
    others.push_back(spawn([&over, &n = rounds[3], at = listener.local_endpoint()] {
      auto stream = net::tcp_stream::connect("127.0.0.1", at.port());
      for (char c = 'x'; !over; ++n) {
        stream.write(std::string_view(&c, 1));
        if (stream.read_some(std::span<char>(&c, 1)) != 1) break;
      }
    }));
    const int forks = test::many(100);
    for (int i = 0; i < forks; ++i) {
      const ChildEnd end = in_child([i] { return i % 2 == 0 ? 0 : (::_exit(0), 1); });
      ASSERT_TRUE(end.exited(0)) << end;
    }
    for (const auto& n : rounds) {
      test::until([before = n.load(), &n] { return n != before; });
    }
    over = true;
    for (auto& t : others) t.join();
    server.join();
  });
}

// They share the parent's memory until exec, and are not told of by pthread_atfork.
TEST_P(Fork, SystemPopenPosixSpawnAndVfork) {
  there([] {
    std::atomic<uint64_t> rounds{0};
    auto beside = spawn([&rounds](const std::stop_token& token) {
      while (!token.stop_requested()) ++rounds;
    });
    for (int i = 0; i < 20; ++i) {
      const int status = std::system("exit 3");
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 3) << status;
      FILE* const pipe = ::popen("echo here", "re");
      ASSERT_NE(pipe, nullptr);
      char line[16] = {};
      EXPECT_NE(std::fgets(line, sizeof line, pipe), nullptr);
      EXPECT_STREQ(line, "here\n");
      EXPECT_EQ(::pclose(pipe), 0);
      const char* const argv[] = {"true", nullptr};
      pid_t pid = 0;
      ASSERT_EQ(
          ::posix_spawn(&pid, "/bin/true", nullptr, nullptr, const_cast<char**>(argv), environ), 0);
      int end = 0;
      EXPECT_EQ(::waitpid(pid, &end, 0), pid);
      EXPECT_EQ(end, 0);
      pid = ::vfork();
      if (pid == 0) {
        ::execve("/bin/true", const_cast<char**>(argv), environ);
        ::_exit(127);
      }
      EXPECT_EQ(::waitpid(pid, &end, 0), pid);
      EXPECT_EQ(end, 0);
      EXPECT_FALSE(after_fork);
      yield();
    }
    test::until([&, before = rounds.load()] { return rounds != before; });
    beside.request_stop();
    beside.join();
  });
}

// A child that forks in turn, and that makes threads.
TEST_P(Fork, AChildsChildIsOneToo) {
  there([] {
    const ChildEnd end = in_child([] {
      const ChildEnd inner =
          in_child([] { return throws_logic_error([] { run([] {}); }) ? 4 : 0; });
      if (!inner.exited(4)) return 1;
      if (test::kSanitizers) return 6;
      bool refused = false;
      std::thread([&] { refused = throws_logic_error([] { go([] {}); }); }).join();
      return refused ? 6 : 2;
    });
    EXPECT_TRUE(end.exited(6)) << end;
  });
}

// ---- The fiber itself -----------------------------------------------------------------------------------

TEST(ForkedFiber, MayNotReturnInTheChild) {
  if (test::kTsan) GTEST_SKIP() << "TSan does not follow a fork of a process with threads";
  run(options{.procs = 2}, [] {
    int pipe[2];
    ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
    auto forks = spawn([&pipe] {
      const pid_t pid = ::fork();
      if (pid == 0) {
        const rlimit none{0, 0};
        ::setrlimit(RLIMIT_CORE, &none);
        ::dup2(pipe[1], STDERR_FILENO);
      }
      return pid;
    });
    const pid_t pid = forks.get();
    ::close(pipe[1]);
    const ChildEnd end = test::end_of(pid, pipe[0]);
    EXPECT_TRUE(end.aborted_with(test::kChildWaits)) << end;
  });
}

TEST(ForkedFiber, TheMainFiberMayNotReturnInTheChild) {
  if (test::kTsan) GTEST_SKIP() << "TSan does not follow a fork of a process with threads";
  int pipe[2];
  ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
  const pid_t pid = run(options{.procs = 1}, [&pipe] {
    const pid_t child = ::fork();
    if (child == 0) {
      const rlimit none{0, 0};
      ::setrlimit(RLIMIT_CORE, &none);
      ::dup2(pipe[1], STDERR_FILENO);
    }
    return child;
  });
  ::close(pipe[1]);
  const ChildEnd end = test::end_of(pid, pipe[0]);
  EXPECT_TRUE(end.aborted_with(test::kChildWaits)) << end;
}

TEST(ForkedRuntime, AStaticOneDoesNotWaitAtTheChildsExit) {
  if (test::kSanitizers) GTEST_SKIP() << "a sanitizer looks for leaks at exit()";
  static_runtime.emplace(options{.procs = 2});
  static_task.emplace(spawn([] { sleep_for(1h); }));
  const ChildEnd end = in_child([]() -> int { std::exit(4); });
  EXPECT_TRUE(end.exited(4)) << end;
  static_task.reset();
  static_runtime.reset();
}

// ---- FK2 -------------------------------------------------------------------------------------------------

int runs_well() {
  return passes([] {
    options o{.procs = 2};
    o.slice = 1ms;
    const uint64_t preempted = run(o, [] {
      std::vector<task<void>> tasks;
      const chan<int> c;
      for (int i = 0; i < 100; ++i) tasks.push_back(spawn([c, i] { c.send(i); }));
      int sum = 0;
      for (int i = 0; i < 100; ++i) sum += *c.recv();
      EXPECT_EQ(sum, 4950);
      for (auto& t : tasks) t.join();
      std::atomic<int> ended{0};
      for (int i = 0; i < 4; ++i) {
        go([&ended] {
          (void)test::spin_until([] { return false; }, 20ms);
          ++ended;
        });
      }
      while (ended < 4) sleep_for(1ms);
      const chan<int> ch(1);
      signals::notify(ch, {SIGUSR1});
      os::raiseproc(SIGUSR1);
      EXPECT_EQ(ch.recv(), SIGUSR1);
      signals::stop(ch);
      return stats().preemptions;
    });
    EXPECT_GT(preempted, 0U);
    os::fence_heavy();
  });
}

class ForkWithoutARuntime : public testing::Test {
 protected:
  void SetUp() override {
    if (test::kSanitizers) GTEST_SKIP() << "sanitizers forbid threads in such a child";
  }
};

TEST_F(ForkWithoutARuntime, AChildIsAsGoodAsNew) {
  EXPECT_TRUE(in_child(runs_well).exited(0)) << "before the first run";
  EXPECT_EQ(runs_well(), 0);
  for (int i = 0; i < 5; ++i) {
    const ChildEnd end = in_child(runs_well);
    EXPECT_TRUE(end.exited(0)) << end;
  }
  EXPECT_EQ(runs_well(), 0);
}

// A profile and a wish for signals belong to the parent, and end with nothing in the child.
TEST_F(ForkWithoutARuntime, AlsoBesideAProfileAndAWishForSignals) {
  const std::string path = testing::TempDir() + "gort_fork_profile_" + std::to_string(::getpid());
  const chan<int> ch(1);
  signals::notify(ch, {SIGUSR1});
  profile::cpu_start(path);
  const ChildEnd end = in_child([&] {
    profile::cpu_stop();
    profile::cpu_start(path + ".child");
    const int result = runs_well();
    profile::cpu_stop();
    return result;
  });
  EXPECT_TRUE(end.exited(0)) << end;
  EXPECT_TRUE(in_child([] {
                os::raise(SIGPROF);
                return 1;
              }).killed(SIGPROF));
  profile::cpu_stop();
  EXPECT_GT(std::filesystem::file_size(path), 0U);
  os::raiseproc(SIGUSR1);
  EXPECT_EQ(ch.recv(), SIGUSR1);
  signals::stop(ch);
  std::filesystem::remove(path);
  std::filesystem::remove(path + ".child");
}

}  // namespace
}  // namespace gort
