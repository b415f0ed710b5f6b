// all_threads: one system call on every thread of the process, or on none (AT1 to AT6).
#include "signal/all_threads.hpp"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "gort/chan.hpp"
#include "gort/fiber.hpp"
#include "gort/net.hpp"
#include "gort/os.hpp"
#include "gort/run.hpp"
#include "gort/spawn.hpp"
#include "os/os.hpp"
#include "signal/all_threads_fixture.hpp"
#include "support/allocations.hpp"
#include "support/sanitized.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using namespace test;
using os::all_threads_syscall;

// ---- Everybody, once ----------------------------------------------------------------------------------

TEST(AllThreads, ALoneThreadMakesTheCall) {
  const Counter counter;
  EXPECT_EQ(counter.count_everybody(), 8);
  EXPECT_EQ(counter.take(), threads_now());  // a sanitizer has one of its own
  EXPECT_EQ(all_threads_syscall(SYS_close, -1), -EBADF);
}

TEST(AllThreads, ThreadsOfEveryKindMakeItOnce) {
  int quiet[2];
  ASSERT_EQ(::pipe(quiet), 0);
  const auto read_on = [&](const std::atomic<bool>&) {
    char c;
    EXPECT_EQ(::read(quiet[0], &c, 1), 0) << "no EINTR, and then the end";
  };
  std::atomic<int> ready{0};
  {
    const Busy asleep(sleep_on);
    const Busy spinning(spin_on);
    const Busy reading(read_on);
    const Busy deaf([&](const std::atomic<bool>& go_on) {
      sigset_t all;
      sigfillset(&all);
      ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
      ++ready;
      sleep_on(go_on);
    });
    const Busy with_a_stack([&](const std::atomic<bool>& go_on) {
      std::vector<std::byte> memory(64 * 1024);
      const os::AltStack stack{memory.data(), 0, memory.size()};
      EXPECT_EQ(os::sigaltstack(&stack, nullptr), 0);
      ++ready;
      sleep_on(go_on);
      const os::AltStack none{nullptr, 2, 0};
      EXPECT_EQ(os::sigaltstack(&none, nullptr), 0);
    });
    while (ready < 2) os::osyield();
    const Counter counter;
    for (int i = 0; i < 100; ++i) {
      ASSERT_EQ(counter.count_everybody(), 8);
      ASSERT_EQ(counter.take(), threads_now()) << "AT1: each thread once";
    }
    ::close(quiet[1]);
  }
  ::close(quiet[0]);
}

// AT4: whoever is stopped holds malloc's locks, stdio's and the loader's.
TEST(AllThreads, InTheMiddleOfLibc) {
  std::FILE* const out = std::fopen("/dev/null", "w");
  ASSERT_NE(out, nullptr);
  {
    const auto in_malloc = [](const std::atomic<bool>& go_on) {
      for (size_t n = 1; go_on; n = n * 7 % 100'000 + 1) {
        std::free(std::malloc(n));
        if (n % 64 == 0) ::malloc_trim(0);  // holds the locks of all arenas in turn
      }
    };
    const Busy a(in_malloc);
    const Busy b(in_malloc);
    const Busy c([out](const std::atomic<bool>& go_on) {
      while (go_on) std::fprintf(out, "%d\n", 7);
    });
    const Busy d([](const std::atomic<bool>& go_on) {
      while (go_on) (void)::dlsym(RTLD_DEFAULT, "no such symbol");
    });
    const Counter counter;
    const std::optional<uint64_t> before = test::allocations();
    const int64_t end_ns = os::nanotime() + kLittleWhileNs;
    for (int i = 0; i < 3 || os::nanotime() < end_ns; ++i) {
      ASSERT_EQ(counter.count_everybody(), 8);
      ASSERT_GE(counter.take(), 5U);
    }
    EXPECT_EQ(test::allocations(), before);
  }
  std::fclose(out);
}

TEST(AllThreads, ItIsAThreadsPropertyThatChanges) {
  EXPECT_EQ(in_a_child([] {
              const Busy a(sleep_on);
              const Busy b(spin_on);
              EXPECT_EQ(status_of(a.tid(), "NoNewPrivs"), "0");
              EXPECT_EQ(all_threads_syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1), 0);
              for (const int tid : {os::gettid(), a.tid(), b.tid()}) {
                EXPECT_EQ(status_of(tid, "NoNewPrivs"), "1") << tid;
              }
            }),
            0);
}

// As many as make the list, the table and the counts work; and what it costs, for the design note.
TEST(AllThreads, AThousandThreads) {
  constexpr int kThreads = 1000;
  std::atomic<bool> go_on{true};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&go_on] { go_on.wait(true); });
  }
  const Counter counter;
  int64_t best_ns = INT64_MAX;
  for (int i = 0; i < 5; ++i) {
    const int64_t begin_ns = os::nanotime();
    EXPECT_EQ(counter.count_everybody(), 8);
    best_ns = std::min(best_ns, os::nanotime() - begin_ns);
    EXPECT_EQ(counter.take(), threads_now());
  }
  RecordProperty("microseconds", std::to_string(best_ns / 1000));
  go_on = false;
  go_on.notify_all();
  for (std::thread& t : threads) t.join();
}

TEST(AllThreads, TwoCallersWaitForEachOther) {
  const Counter counter;
  std::atomic<int> wrong{0};
  constexpr int kCallers = 4;
  constexpr int kRounds = 200;
  std::atomic<int> there{0};
  const auto call = [&](const std::atomic<bool>& go_on) {
    for (++there; there < kCallers;) os::osyield();
    for (int i = 0; i < kRounds; ++i) wrong += counter.count_everybody() == 8 ? 0 : 1;
    ++there;
    sleep_on(go_on);
  };
  const Busy a(call);
  const Busy b(call);
  const Busy c(call);
  const Busy d(call);
  while (there < 2 * kCallers) os::osyield();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(counter.take(), kCallers * kRounds * threads_now()) << "AT6";
}

// ---- With a runtime -----------------------------------------------------------------------------------

TEST(AllThreads, FromAFiberWithIdleMsAndThePoller) {
  run(options{.procs = 4}, [] {
    auto listener = net::tcp_listener::listen("127.0.0.1", 0);
    task<void> accepting = spawn([&] { EXPECT_THROW((void)listener.accept(), std::system_error); });
    std::vector<task<void>> tasks;
    for (int i = 0; i < 50; ++i) tasks.push_back(spawn([] { yield(); }));  // Ms begin
    for (auto& t : tasks) t.join();
    const Counter counter;
    for (int i = 0; i < 50; ++i) {
      const uint64_t before = threads_now();
      ASSERT_EQ(counter.count_everybody(), 8);
      const uint64_t counted = counter.take();
      ASSERT_TRUE(counted >= before && counted <= threads_now()) << counted;
      yield();
    }
    listener.close();
    accepting.join();
  });
}

// Ms that sleep in the handler of a tick, with all signals masked that may be; and the caller gets ticks, too.
TEST(AllThreads, WhileFibersAreInterrupted) {
  run(options{.procs = 2, .slice = 1ms}, [] {
    std::atomic<bool> go_on{true};
    std::vector<task<void>> hogs;
    for (int i = 0; i < 6; ++i) {
      hogs.push_back(spawn([&] {
        while (go_on.load(std::memory_order_relaxed)) {
        }
      }));
    }
    const Counter counter;
    const auto end = std::chrono::steady_clock::now() + 300ms;
    int rounds = 0;
    while (std::chrono::steady_clock::now() < end) {
      const uint64_t before = threads_now();
      ASSERT_EQ(counter.count_everybody(), 8);
      const uint64_t counted = counter.take();
      ASSERT_TRUE(counted >= before && counted <= threads_now()) << counted;
      ++rounds;
    }
    EXPECT_GT(rounds, 1);
    go_on = false;
    for (auto& h : hogs) h.join();
  });
}

TEST(AllThreads, FromAForeignThreadBesideARuntime) {
  run(options{.procs = 2}, [] {
    chan<int> done;
    std::thread foreign([&] {
      const Counter counter;
      for (int i = 0; i < 100; ++i) {
        EXPECT_EQ(counter.count_everybody(), 8);
        EXPECT_GE(counter.take(), 3U);
      }
      done.send(1);
    });
    EXPECT_EQ(done.recv(), 1);
    foreign.join();
  });
}

// ---- None ---------------------------------------------------------------------------------------------

TEST(AllThreads, WhatTheCallerIsRefusedNobodyElseDoes) {
  EXPECT_EQ(in_a_child([] {
              const Counter counter;
              const Busy a(sleep_on);
              const Busy b(sleep_on);
              EXPECT_EQ(counter.count_everybody(), 8);
              EXPECT_EQ(counter.take(), threads_now());
              refuse_here(SYS_write, EXDEV);
              EXPECT_EQ(counter.count_everybody(), -EXDEV);
              EXPECT_EQ(counter.take(), 0U) << "AT1: a and b could have";
            }),
            0);
}

// As emulators refuse it: another signal does, but for who blocks that.
TEST(AllThreads, WithoutLibcsSignal) {
  if (test::kTsan) GTEST_SKIP() << "its own thread blocks every other";
  EXPECT_EQ(in_a_child([] {
              const Counter counter;
              const Busy a(sleep_on);
              refuse_here(SYS_rt_sigaction, 33, EINVAL);
              for (int i = 0; i < 3; ++i) {
                EXPECT_EQ(counter.count_everybody(), 8);
                EXPECT_EQ(counter.take(), threads_now());
              }
              std::atomic<bool> deaf{false};
              const Busy b([&](const std::atomic<bool>& go_on) {
                sigset_t all;
                sigfillset(&all);
                ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
                deaf = true;
                sleep_on(go_on);
              });
              while (!deaf) os::osyield();
              const AllThreadsResult r = counter.count_everybody(kLittlePatienceNs);
              EXPECT_EQ(r.error, -EBUSY);
              EXPECT_EQ(counter.take(), 0U);
            }),
            0);
}

// AT3, AT5: the stop is given up, and what comes too late does nothing.
TEST(AllThreads, AThreadThatDoesNotComeStopsNobody) {
  const Counter counter;
  std::atomic<int> deaf{0};
  std::atomic<bool> hear{false};
  const Busy a(sleep_on);
  const os::SignalAction before = action_of_33();  // glibc's, from its first thread on
  const Busy b([&](const std::atomic<bool>& go_on) {
    EXPECT_EQ(os::rtsigprocmask(SIG_BLOCK, &kLibcSignal, nullptr), 0);
    deaf = 1;
    hear.wait(false);
    EXPECT_EQ(os::rtsigprocmask(SIG_UNBLOCK, &kLibcSignal, nullptr), 0);
    deaf = 0;
    sleep_on(go_on);
  });
  while (deaf == 0) os::osyield();
  for (int i = 0; i < 3; ++i) {
    const AllThreadsResult r = counter.count_everybody(kLittlePatienceNs);
    EXPECT_EQ(r.error, -EBUSY);
    EXPECT_EQ(r.tid, b.tid());
    EXPECT_EQ(counter.take(), 0U) << "AT1";
  }
  EXPECT_FALSE(same(action_of_33(), before)) << "AT5: three signals of ours are on their way";
  hear = true;
  hear.notify_all();
  while (deaf == 1) os::osyield();
  EXPECT_EQ(counter.take(), 0U) << "AT3: late, and nothing happened";
  EXPECT_EQ(counter.count_everybody(), 8);
  EXPECT_EQ(counter.take(), threads_now());
  EXPECT_TRUE(same(action_of_33(), before)) << "AT5";
}

TEST(AllThreads, TheErrorNamesTheThread) {
  const Counter counter;
  std::atomic<int> deaf{0};
  const Busy b([&](const std::atomic<bool>& go_on) {
    EXPECT_EQ(os::rtsigprocmask(SIG_BLOCK, &kLibcSignal, nullptr), 0);
    deaf = 1;
    sleep_on(go_on);
    EXPECT_EQ(os::rtsigprocmask(SIG_UNBLOCK, &kLibcSignal, nullptr), 0);
  });
  while (deaf == 0) os::osyield();
  try {
    counter.count_everybody();
    ADD_FAILURE() << "it must throw";
  } catch (const std::system_error& e) {
    EXPECT_EQ(e.code(), std::errc::device_or_resource_busy);
    EXPECT_NE(std::string(e.what()).find("thread " + std::to_string(b.tid())), std::string::npos);
  }
  EXPECT_EQ(counter.take(), 0U);
}

// The thread waits in the kernel for its child, which runs in its memory and is a process of its own.
TEST(AllThreads, AThreadInVforkIsWaitedFor) {
  if (test::kTsan) GTEST_SKIP() << "vfork is fork there, which keeps nobody waiting";
  const Counter counter;
  int go[2];
  ASSERT_EQ(::pipe(go), 0);
  std::atomic<bool> child_runs{false};
  {
    const Busy parent([&](const std::atomic<bool>&) {
      const pid_t child = ::vfork();
      if (child == 0) {
        child_runs = true;
        char c;
        (void)!::read(go[0], &c, 1);
        ::_exit(0);
      }
      int status = 0;
      EXPECT_EQ(::waitpid(child, &status, 0), child);
    });
    while (!child_runs) os::osyield();
    const AllThreadsResult r = counter.count_everybody(kLittlePatienceNs);
    EXPECT_EQ(r.error, -EBUSY);
    EXPECT_EQ(r.tid, parent.tid());
    EXPECT_EQ(counter.take(), 0U);
    EXPECT_EQ(::write(go[1], "x", 1), 1);
    EXPECT_EQ(counter.count_everybody(), 8);
  }
  ::close(go[0]);
  ::close(go[1]);
}

TEST(AllThreads, NoRoomForSignalsIsAnError) {
  const Counter counter;
  const Busy a(sleep_on);
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_SIGPENDING, &old), 0);
  const rlimit none{0, old.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_SIGPENDING, &none), 0);
  EXPECT_EQ(counter.count_everybody(kLittlePatienceNs).error, -EAGAIN);
  EXPECT_EQ(counter.take(), 0U);
  ASSERT_EQ(::setrlimit(RLIMIT_SIGPENDING, &old), 0);
  EXPECT_EQ(counter.count_everybody(), 8);
}

TEST(AllThreads, WithoutDescriptorsItThrows) {
  const Busy a(sleep_on);
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &old), 0);
  const rlimit none{0, old.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const AllThreadsResult r = doAllThreadsSyscall(SYS_getppid, {});
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &old), 0);
  EXPECT_EQ(r.error, -EMFILE);
  EXPECT_EQ(all_threads_syscall(SYS_getppid), ::getppid());
}

// AT2
TEST(AllThreadsDeathTest, AResultThatDiffersIsFatal) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        const Busy a(sleep_on);
        (void)all_threads_syscall(SYS_gettid);
      },
      testing::KilledBySignal(SIGABRT), "gort: fatal: AT2: .*thread");
}

// ---- Beside other things ------------------------------------------------------------------------------

// AT5: glibc does the same by the same signal at the same time.
TEST(AllThreads, BesideLibcsOwn) {
  const Counter counter;
  std::atomic<uint64_t> done{0};
  os::SignalAction before;
  {
    const auto change_ids = [&](const std::atomic<bool>& go_on) {
      while (go_on) {
        EXPECT_EQ(::setregid(::getgid(), ::getegid()), 0);
        EXPECT_EQ(::setreuid(::getuid(), ::geteuid()), 0);
        ++done;
      }
    };
    const Busy a(change_ids);
    const Busy b(change_ids);
    const Busy c(spin_on);
    // A call that was given up, in an earlier test of this process, has left ours there; one that succeeds has not.
    ASSERT_GT(counter.count_everybody(), 0);
    (void)counter.take();
    before = action_of_33();
    for (int i = 0; i < 100 || done < 100; ++i) {
      ASSERT_EQ(counter.count_everybody(), 8);
      ASSERT_EQ(counter.take(), threads_now());
    }
  }
  EXPECT_TRUE(same(action_of_33(), before));
}

// AT6: the turn of a caller that the child does not have.
TEST(AllThreads, AForkIsNoCaller) {
  const Counter counter;
  const Busy calls([&](const std::atomic<bool>& go_on) {
    while (go_on) EXPECT_EQ(counter.count_everybody(), 8);
  });
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(in_a_child([&] {
                const AllThreadsResult r = doAllThreadsSyscall(SYS_getpid, {});
                EXPECT_EQ(r.error, 0);
                EXPECT_EQ(r.result, os::getpid());
              }),
              0);
  }
}

// The first thread stays on the kernel's list when it has ended, and takes no signals.
TEST(AllThreads, TheFirstThreadMayHaveEnded) {
  EXPECT_EQ(in_a_child([] {
              std::thread([] {
                os::TaskList list;
                os::TaskCount count;
                EXPECT_EQ(os::tasks_open(list), 0);
                while (!count.leader_ended) EXPECT_EQ(os::tasks_count(list, &count), 0);
                const Counter counter;
                const Busy a(sleep_on);
                for (int i = 0; i < 10; ++i) {
                  EXPECT_EQ(counter.count_everybody(), 8);
                  EXPECT_EQ(counter.take(), threads_now() - 1);
                }
                ::_exit(testing::Test::HasFailure() ? 1 : 0);
              }).detach();
              ::syscall(SYS_exit, 0);  // as pthread_exit() does in the end
            }),
            0);
}

}  // namespace
}  // namespace gort
