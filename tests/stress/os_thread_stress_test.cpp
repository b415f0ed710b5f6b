// Locked fibers that wait in every way, are interrupted, end locked and are stopped, beside others that do the same unlocked (PR8).
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/chan.hpp"
#include "gort/mutex.hpp"
#include "gort/os_thread.hpp"
#include "gort/spawn.hpp"
#include "support/scheduler_test.hpp"
#include "support/thread_owners.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using std::chrono::microseconds;
using test::below;
using test::Random;

class OsThreadStress : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(OsThreadStress);

void pause_for(microseconds d) {
  const auto end = std::chrono::steady_clock::now() + d;
  while (std::chrono::steady_clock::now() < end) {
  }
}

void do_something(Random& random, const chan<int>& c, mutex& m) {
  int v = 0;
  switch (below(random, 8)) {
    case 0:
      return yield();
    case 1:
      return sleep_for(microseconds(below(random, 200)));
    case 2:
      return blocking([&] { pause_for(microseconds(below(random, 200))); });
    case 3:
      (void)c.send_for(1, microseconds(below(random, 200)));
      return;
    case 4:
      (void)c.recv_for(v, microseconds(below(random, 200)));
      return;
    case 5: {
      const std::lock_guard guard(m);
      return yield();
    }
    case 6:
      return pause_for(microseconds(below(random, 200)));
    default:
      return checkpoint();
  }
}

TEST_P(OsThreadStress, EachHasItsThreadAlone) {
  const uint64_t seed = test::test_seed();
  // Slices so short that interruptions are part of it.
  in_fibers(options{.procs = nprocs(), .slice = 500us}, [seed] {
    Random random(seed);
    const test::StressClock clock;
    test::ThreadOwners owners;
    const chan<int> c;
    mutex m;
    const auto body = [&](Random r) {
      const bool lock = below(r, 2) == 0;
      if (lock) {
        lock_os_thread();
        owners.locked();
      }
      const pid_t mine = gettid();
      try {
        for (int i = 0; i < 10; ++i) {
          do_something(r, c, m);
          if (lock) {
            EXPECT_EQ(gettid(), mine);
          } else {
            owners.expect_free();
          }
        }
      } catch (const stopped&) {
        // Asked, at some wait.
      }
      if (!lock) return;
      owners.unlocked();
      if (below(r, 3) != 0) unlock_os_thread();  // else the thread ends here
    };
    while (clock.running()) {
      std::vector<task<void>> tasks;
      for (int i = 0; i < 8; ++i) tasks.push_back(spawn(body, Random(random())));
      if (below(random, 2) == 0) {
        for (auto& t : tasks) t.request_stop();
      }
      for (auto& t : tasks) t.join();
    }
  });
}

}  // namespace
}  // namespace gort
