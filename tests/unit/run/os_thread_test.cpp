// Fibers that are locked to their threads (PR8), and checkpoint() (WA3).
#include "gort/os_thread.hpp"

#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/chan.hpp"
#include "gort/fiber.hpp"
#include "gort/mutex.hpp"
#include "gort/spawn.hpp"
#include "gort/timer.hpp"
#include "support/scheduler_test.hpp"
#include "support/thread_owners.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;

class OsThread : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(OsThread);

// Each way to leave a processor and come back.
void wait_in_some_way(int which) {
  switch (which % 6) {
    case 0:
      return yield();
    case 1:
      return sleep_for(50us);
    case 2:
      return blocking([] { std::this_thread::yield(); });
    case 3: {
      const chan<int> c;
      auto t = spawn([c] { c.send(1); });
      (void)c.recv();
      return;
    }
    case 4:
      (void)after(20us).recv();
      return;
    default:
      return spawn([] { yield(); }).join();
  }
}

TEST_P(OsThread, StaysOnItsThreadAndHasItAlone) {
  in_fibers([] {
    test::ThreadOwners owners;
    std::vector<task<void>> tasks;
    for (int i = 0; i < 6; ++i) {
      tasks.push_back(spawn([&, i] {
        for (int round = 0; round < 3; ++round) {
          const os_thread_lock lock;
          owners.locked();
          const pid_t mine = gettid();
          for (int k = 0; k < 24; ++k) {
            wait_in_some_way(k + i);
            ASSERT_EQ(gettid(), mine);
          }
          owners.unlocked();
        }
      }));
      tasks.push_back(spawn([&, i] {
        for (int k = 0; k < 100; ++k) {
          owners.expect_free();
          wait_in_some_way(k + i);
        }
      }));
    }
    for (auto& t : tasks) t.join();
  });
}

TEST_P(OsThread, Nests) {
  in_fibers([] {
    unlock_os_thread();  // nothing
    lock_os_thread();
    const pid_t mine = gettid();
    {
      const os_thread_lock again;
      wait_in_some_way(1);
    }
    for (int i = 0; i < 12; ++i) {
      wait_in_some_way(i);
      ASSERT_EQ(gettid(), mine);
    }
    unlock_os_thread();
    wait_in_some_way(1);
  });
}

TEST_P(OsThread, TheMainFiberMayReturnLocked) {
  const pid_t mine = gettid();
  in_fibers([] {
    lock_os_thread();
    wait_in_some_way(1);
  });
  EXPECT_EQ(gettid(), mine);
  lock_os_thread();
  unlock_os_thread();
}

bool thread_is_there(pid_t tid) {
  return access(("/proc/self/task/" + std::to_string(tid)).c_str(), F_OK) == 0;
}

TEST_P(OsThread, AThreadEndsWithItsLockedFiber) {
  const pid_t caller = gettid();
  in_fibers([caller] {
    const os_thread_lock mine;  // so the others run elsewhere
    for (int i = 0; i < 20; ++i) {
      auto t = spawn([] {
        lock_os_thread();
        yield();
        return gettid();
      });
      const pid_t tid = t.get();
      ASSERT_NE(tid, gettid());
      if (tid != caller) test::until([tid] { return !thread_is_there(tid); });
    }
  });
}

TEST_P(OsThread, TheThreadOfRunServesOthersBehindALockedFiber) {
  const pid_t caller = gettid();
  in_fibers([caller] {
    auto t = spawn([] {
      lock_os_thread();
      yield();
      return gettid();
    });
    (void)t.get();
    EXPECT_TRUE(thread_is_there(caller));
    for (int i = 0; i < 6; ++i) wait_in_some_way(i);
  });
}

TEST_P(OsThread, ItIsInterruptedLikeOthers) {
  in_fibers([this] {
    std::atomic<int> beside{0};
    std::vector<task<void>> hogs;
    for (int i = 0; i < nprocs(); ++i) {
      hogs.push_back(spawn([&] {
        const os_thread_lock lock;
        const pid_t mine = gettid();
        EXPECT_TRUE(test::spin_until([&] { return beside >= 5; }));
        yield();
        EXPECT_EQ(gettid(), mine);
      }));
    }
    for (int i = 0; i < 5; ++i) {
      yield();
      ++beside;
    }
    for (auto& t : hogs) t.join();
  });
}

TEST(OsThreadAlone, TwoLockedFibersTalk) {
  run(options{.procs = 1}, [] {
    const chan<int> there;
    const chan<int> back;
    auto t = spawn([=] {
      const os_thread_lock lock;
      for (const int v : there) back.send(v + 1);
    });
    const os_thread_lock lock;
    for (int i = 0; i < 200; ++i) {
      there.send(i);
      ASSERT_EQ(*back.recv(), i + 1);
    }
    there.close();
    t.join();
  });
}

// WA3: nothing else makes this one give way.
// SP3: a thread's last destructors may wait for fibers, and these for threads that are still to be made.
TEST(OsThreadEnd, DoesNotKeepOthersFromComing) {
  static std::atomic<bool> ran{false};
  static std::atomic<bool> begun{false};
  struct Last {
    ~Last() {
      begun = true;
      test::spin_until([] { return ran.load(); });
    }
  };
  run(options{.procs = 1}, [] {
    const os_thread_lock here;  // others are on threads that can end
    spawn([] {
      lock_os_thread();
      thread_local const Last last;
    }).join();
    EXPECT_TRUE(test::spin_until([] { return begun.load(); }));
    std::vector<task<void>> blocked;  // more than there are threads
    for (int i = 0; i < 6; ++i) {
      blocked.push_back(
          spawn([] { blocking([] { test::spin_until([] { return ran.load(); }); }); }));
    }
    spawn([] { ran = true; }).join();
    EXPECT_TRUE(ran);
  });
}

TEST(Checkpoint, GivesWayWhereOthersWait) {
  run(options{.procs = 1, .slice = 1h}, [] {
    std::atomic<bool> ran{false};
    go([&] { ran = true; });
    EXPECT_TRUE(test::spin_until([&] {
      checkpoint();
      return ran.load();
    }));
  });
  checkpoint();
}

}  // namespace
}  // namespace gort
