// Channels that go while somebody waits in them (C5), and what goes with the process.
#include "gort/chan.hpp"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <optional>
#include <thread>
#include <utility>

#include "gort/fiber.hpp"
#include "gort/run.hpp"
#include "gort/select.hpp"
#include "gort/spawn.hpp"
#include "gort/stats.hpp"
#include "gort/wait_group.hpp"
#include "os/os.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using testing::ExitedWithCode;
using testing::KilledBySignal;

class ChanDeathTest : public testing::Test {
 protected:
  ChanDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

constexpr const char* kMessage = "gort: fatal: a channel goes while somebody waits in it";

// Destroys the only handle once a fiber waits through a reference to it.
template <class Wait>
void destroy_under(Wait wait) {
  run(options{.procs = 1}, [wait] {
    std::optional<chan<int>> c(std::in_place);
    const uint64_t before = stats().parks;
    go([&] { wait(*c); });
    while (stats().parks == before) yield();
    c.reset();
  });
}

TEST_F(ChanDeathTest, GoesUnderAReceiver) {
  EXPECT_EXIT(destroy_under([](const chan<int>& c) { (void)c.recv(); }), KilledBySignal(SIGABRT),
              kMessage);
}
TEST_F(ChanDeathTest, GoesUnderASender) {
  EXPECT_EXIT(destroy_under([](const chan<int>& c) { c.send(1); }), KilledBySignal(SIGABRT),
              kMessage);
}
TEST_F(ChanDeathTest, GoesUnderALimitedWait) {
  EXPECT_EXIT(destroy_under([](const chan<int>& c) { (void)c.send_for(1, 1h); }),
              KilledBySignal(SIGABRT), kMessage);
}
TEST_F(ChanDeathTest, GoesUnderASelect) {
  EXPECT_EXIT(destroy_under([](const chan<int>& c) {
                const chan<int> other;
                select(on_recv(other), on_send(c, 1));
              }),
              KilledBySignal(SIGABRT), kMessage);
}

const chan<int>& jobs() {
  static const chan<int> c;
  return c;
}

// exit() ends what is static under fibers and threads that wait in it, and is no mistake.
TEST_F(ChanDeathTest, InStaticStorageGoesWithTheProcess) {
  EXPECT_EXIT(
      {
        (void)jobs();
        run(options{.procs = 1}, [] {
          go([] { (void)jobs().recv(); });
          while (stats().parks == 0) yield();
          exit(7);
        });
      },
      ExitedWithCode(7), "");
}

// A thread that has nothing to wait for but its channel.
void until_asleep(const std::atomic<int>& tid) {
  while (tid == 0 || os::thread_state(tid) != 'S') std::this_thread::yield();
}

const chan<int>& later_jobs() {
  static const chan<int> c;
  return c;
}

// However late it was made.
TEST_F(ChanDeathTest, InStaticStorageMadeInARunGoesWithTheProcess) {
  EXPECT_EXIT(
      {
        run(options{.procs = 1}, [] {
          go([] { (void)later_jobs().recv(); });
          while (stats().parks == 0) yield();
          exit(7);
        });
      },
      ExitedWithCode(7), "^$");
}

// Nor does it take a runtime.
TEST_F(ChanDeathTest, InStaticStorageGoesUnderAThread) {
  EXPECT_EXIT(
      {
        std::atomic<int> again{0};
        std::thread([&again] {
          again = os::gettid();
          (void)later_jobs().recv();
        }).detach();
        until_asleep(again);
        exit(7);
      },
      ExitedWithCode(7), "^$");
}

// Fibers that it counts are asked by nobody to end.
TEST_F(ChanDeathTest, AWaitGroupInStaticStorageGoesWithTheProcess) {
  EXPECT_EXIT(
      {
        run(options{.procs = 1}, [] {
          static wait_group connections;
          connections.go([] { (void)chan<int>().recv(); });
          while (stats().parks == 0) yield();
          exit(7);
        });
      },
      ExitedWithCode(7), "^$");
}

// FK2: a thread of the parent's waits in it, where there was no runtime at the fork either.
TEST_F(ChanDeathTest, GoesInTheChildOfAForkWithoutARuntime) {
  EXPECT_EXIT(
      {
        std::optional<chan<int>> c(std::in_place);
        std::atomic<int> tid{0};
        std::thread([&c, &tid] {
          tid = os::gettid();
          (void)c->recv();
        }).detach();
        until_asleep(tid);
        const pid_t child = fork();
        if (child == 0) {
          c.reset();
          _exit(3);
        }
        int status = -1;
        waitpid(child, &status, 0);
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
      },
      ExitedWithCode(3), "^$");
}

// FK1: whoever waits in it is the parent's.
TEST_F(ChanDeathTest, GoesInTheChildOfAFork) {
  EXPECT_EXIT(
      {
        run(options{.procs = 1}, [] {
          std::optional<chan<int>> c(std::in_place);
          go([&c] { (void)c->recv(); });
          while (stats().parks == 0) yield();
          const pid_t child = fork();
          if (child == 0) {
            c.reset();
            _exit(0);
          }
          int status = -1;
          waitpid(child, &status, 0);
          _exit(WIFEXITED(status) ? WEXITSTATUS(status) + 3 : 1);
        });
      },
      ExitedWithCode(3), "");
}

}  // namespace
}  // namespace gort
