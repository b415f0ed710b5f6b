// Channels that go while somebody waits in them (C5), and what goes with the process.
#include "gort/chan.hpp"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>
#include <thread>
#include <utility>

#include "gort/fiber.hpp"
#include "gort/run.hpp"
#include "gort/select.hpp"
#include "gort/spawn.hpp"
#include "gort/stats.hpp"
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
