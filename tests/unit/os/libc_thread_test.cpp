// libc_thread: TH1, a thread that newosproc() made is for libc and libstdc++ a thread like any
// other. The battery that decides whether a version of glibc may enter the table
// (glibc_thread_layout.cpp).
#include <dlfcn.h>
#include <execinfo.h>
#include <malloc.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unwind.h>

#include <atomic>
#include <barrier>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <exception>
#include <fstream>
#include <iostream>
#include <latch>
#include <locale>
#include <memory>
#include <mutex>
#include <set>
#include <sstream>
#include <thread>
#include <vector>

#include "os/linux/glibc_thread_layout.hpp"
#include "os/linux/syscall.hpp"
#include "unit/os/thread_fixture.hpp"

namespace gort::os {
namespace {

class LibcThread : public BothBackends {};
INSTANTIATE_TEST_SUITE_P(Os, LibcThread,
                         testing::Values(ThreadBackend::pthread, ThreadBackend::clone),
                         backend_name);

// ---- What belongs to a thread

TEST_P(LibcThread, EachHasItsErrno) {
  constexpr int kRounds = 50;
  // Not a std::barrier: its futex calls go through libc and may set errno themselves.
  std::atomic<int> arrived{0};
  const auto wait_for = [&](int n) {
    while (arrived.load(std::memory_order_acquire) < n) osyield();
  };
  Threads threads(GetParam());
  threads.start_all([&](int i) {
    for (int round = 1; round <= kRounds; ++round) {
      errno = i + 1;
      arrived.fetch_add(1, std::memory_order_acq_rel);
      wait_for(round * kThreads);  // everyone has set his own by now
      const int seen = errno;
      EXPECT_EQ(seen, i + 1);
    }
    EXPECT_EQ(::close(-1), -1);
    EXPECT_EQ(errno, EBADF);
  });
}

std::atomic<int> destroyed{0};
struct CountsItsEnd {
  int value = 7;
  ~CountsItsEnd() { ++destroyed; }
};
thread_local CountsItsEnd counts_its_end;
thread_local int plain_thread_local = 42;

// TS1: no stack is handed out whose thread is alive.
TEST_P(LibcThread, ThreadLocalsAreOwnFreshAndDestroyed) {
  constexpr int kRounds = 3;  // later rounds run on stacks that were used before
  destroyed = 0;
  for (int round = 0; round < kRounds; ++round) {
    std::mutex lock;
    std::set<const void*> addresses;
    std::latch all(kThreads);
    Threads threads(GetParam());
    threads.start_all([&](int i) {
      EXPECT_EQ(plain_thread_local, 42);
      EXPECT_EQ(counts_its_end.value, 7);
      plain_thread_local = i;
      counts_its_end.value = i;
      {
        std::lock_guard guard(lock);
        addresses.insert(&plain_thread_local);
      }
      all.arrive_and_wait();  // all are alive, so no two may share an address
      EXPECT_EQ(plain_thread_local, i);
    });
    threads.join();
    EXPECT_EQ(addresses.size(), static_cast<size_t>(kThreads));
    EXPECT_EQ(destroyed, (round + 1) * kThreads);
  }
}

std::atomic<int> keys_destroyed{0};

TEST_P(LibcThread, KeysHaveValuesAndDestructors) {
  constexpr size_t kKeys = 40;  // more than the 32 of a descriptor's first block
  keys_destroyed = 0;
  std::vector<pthread_key_t> keys(kKeys);
  for (pthread_key_t& key : keys) {
    ASSERT_EQ(pthread_key_create(&key, [](void*) { ++keys_destroyed; }), 0);
  }
  Threads threads(GetParam());
  threads.start_all([&](int i) {
    for (size_t k = 0; k < kKeys; ++k) {
      EXPECT_EQ(pthread_getspecific(keys[k]), nullptr);
      EXPECT_EQ(pthread_setspecific(keys[k], &keys[(k + i) % kKeys]), 0);
    }
    for (size_t k = 0; k < kKeys; ++k) {
      EXPECT_EQ(pthread_getspecific(keys[k]), &keys[(k + i) % kKeys]);
    }
  });
  threads.join();
  for (const pthread_key_t key : keys) pthread_key_delete(key);
  EXPECT_EQ(keys_destroyed, static_cast<int>(kThreads * kKeys));
}

TEST_P(LibcThread, PthreadSelfIsTheKernelsThread) {
  Threads threads(GetParam());
  threads.start_all([&](int) {
    const pthread_t self = pthread_self();
    clockid_t clock = 0;
    ASSERT_EQ(pthread_getcpuclockid(self, &clock), 0);
    EXPECT_EQ(~(clock >> 3), gettid()) << "the clock's name is made of libc's tid";
    pthread_attr_t attr;
    void* low = nullptr;
    size_t bytes = 0;
    ASSERT_EQ(pthread_getattr_np(self, &attr), 0);
    pthread_attr_getstack(&attr, &low, &bytes);
    pthread_attr_destroy(&attr);
    EXPECT_GE(reinterpret_cast<char*>(&clock), static_cast<char*>(low));
    EXPECT_LT(reinterpret_cast<char*>(&clock), static_cast<char*>(low) + bytes);
    char name[16] = {};
    EXPECT_EQ(pthread_setname_np(self, "gort-test"), 0);
    EXPECT_EQ(pthread_getname_np(self, name, sizeof name), 0);
    EXPECT_STREQ(name, "gort-test");
  });
}

TEST_P(LibcThread, SchedGetcpuFollowsAffinity) {
  cpu_set_t allowed;
  ASSERT_EQ(::sched_getaffinity(0, sizeof allowed, &allowed), 0);
  Threads threads(GetParam());
  threads.start_all([&](int) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (!CPU_ISSET(cpu, &allowed)) continue;
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(cpu, &one);
      EXPECT_EQ(pthread_setaffinity_np(pthread_self(), sizeof one, &one), 0);
      EXPECT_EQ(sched_getcpu(), cpu);
    }
  });
}

// ---- What threads share

TEST_P(LibcThread, MallocAndSharedPtrStorm) {
  constexpr int kRounds = 2000;
  std::mutex lock;
  std::vector<std::shared_ptr<std::string>> pool(64);
  Threads threads(GetParam());
  threads.start_all([&](int i) {
    unsigned random = static_cast<unsigned>(i) * 2654435761U + 1;
    for (int round = 0; round < kRounds; ++round) {
      random = random * 1664525U + 1013904223U;
      auto mine = std::make_shared<std::string>(random % 3000, static_cast<char>('a' + i));
      void* raw = std::malloc(random % 5000);
      std::shared_ptr<std::string> other = mine;
      {
        std::lock_guard guard(lock);
        std::swap(pool[(random >> 8) % pool.size()], other);
      }
      // What another thread has made is freed here.
      if (other != nullptr && !other->empty()) {
        EXPECT_EQ((*other)[0], other->back());
      }
      std::free(raw);
    }
  });
}

TEST_P(LibcThread, MutexAndConditionWithOrdinaryThreads) {
  constexpr int kRounds = 200;
  std::mutex lock;
  std::condition_variable changed;
  int turn = 0;
  const auto play = [&](int mine, int players) {
    for (int round = 0; round < kRounds; ++round) {
      std::unique_lock guard(lock);
      changed.wait(guard, [&] { return turn % players == mine; });
      ++turn;
      changed.notify_all();
    }
  };
  Threads threads(GetParam());
  ASSERT_EQ(threads.start([&] { play(0, 3); }), 0);
  ASSERT_EQ(threads.start([&] { play(1, 3); }), 0);
  std::thread ordinary([&] { play(2, 3); });
  ordinary.join();
  threads.join();
  EXPECT_EQ(turn, 3 * kRounds);
}

TEST_P(LibcThread, ARobustMutexTellsThatItsOwnerHasDied) {
  pthread_mutexattr_t attr;
  pthread_mutexattr_init(&attr);
  pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_t mutex;
  pthread_mutex_init(&mutex, &attr);
  pthread_mutexattr_destroy(&attr);
  Threads threads(GetParam());
  ASSERT_EQ(threads.start([&] { pthread_mutex_lock(&mutex); }), 0);
  threads.join();
  EXPECT_EQ(pthread_mutex_lock(&mutex), EOWNERDEAD);
  pthread_mutex_consistent(&mutex);
  pthread_mutex_unlock(&mutex);
  pthread_mutex_destroy(&mutex);
}

TEST_P(LibcThread, CallOnceRunsOnce) {
  for (int round = 0; round < 20; ++round) {
    std::once_flag flag;
    std::atomic<int> runs{0};
    std::barrier all(kThreads);
    Threads threads(GetParam());
    threads.start_all([&](int) {
      all.arrive_and_wait();
      std::call_once(flag, [&] { ++runs; });
      EXPECT_EQ(runs, 1);
    });
    threads.join();
  }
}

TEST_P(LibcThread, StreamsAndLocales) {
  std::ostringstream shared;
  std::mutex lock;
  Threads threads(GetParam());
  threads.start_all([&](int i) {
    const locale_t own = newlocale(LC_ALL_MASK, "C", nullptr);
    const locale_t before = uselocale(own);
    for (int round = 0; round < 100; ++round) {
      std::ostringstream text;
      text.imbue(std::locale::classic());
      text << i << ' ' << 0.1 * round << ' ' << std::boolalpha << true << '\n';
      char buffer[64];
      std::snprintf(buffer, sizeof buffer, "%d %g true\n", i, 0.1 * round);
      EXPECT_EQ(text.str(), buffer);
      EXPECT_NE(std::strstr(strerror_l(EDOM, own), "Numerical"), nullptr);
      std::lock_guard guard(lock);
      shared << text.str();
    }
    uselocale(before);
    freelocale(own);
    std::cout << std::flush;
    EXPECT_NE(strsignal(60 + i % 4), nullptr);  // libc frees its buffer at the thread's end
  });
}

TEST_P(LibcThread, ExceptionsAreCaughtAndTravel) {
  std::vector<std::exception_ptr> sent(kThreads);
  Threads threads(GetParam());
  threads.start_all([&](int i) {
    for (int round = 0; round < 50; ++round) {
      try {
        try {
          throw std::runtime_error("inner " + std::to_string(i));
        } catch (const std::exception& e) {
          EXPECT_EQ(std::uncaught_exceptions(), 0);
          std::throw_with_nested(std::logic_error(e.what()));
        }
      } catch (const std::logic_error& e) {
        EXPECT_EQ(e.what(), "inner " + std::to_string(i));
        sent[i] = std::current_exception();
      }
    }
  });
  threads.join();
  for (const std::exception_ptr& e : sent)
    EXPECT_THROW(std::rethrow_exception(e), std::logic_error);
}

TEST_P(LibcThread, StandardThreadsCanBeMadeFromIt) {
  std::atomic<int> runs{0};
  Threads threads(GetParam());
  threads.start_all([&](int) {
    std::thread child([&] { ++runs; });
    child.join();
    std::jthread([&] { ++runs; }).join();
  });
  threads.join();
  EXPECT_EQ(runs, 2 * kThreads);
}

TEST_P(LibcThread, NamesAreResolved) {
  Threads threads(GetParam());
  threads.start_all([&](int) {
    addrinfo* found = nullptr;
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    EXPECT_EQ(getaddrinfo("localhost", "80", &hints, &found), 0);
    if (found != nullptr) freeaddrinfo(found);
  });
}

// ---- The loader

// libgomp keeps "the number of threads that I shall use" in initial-exec TLS, each thread its own.
// It is loaded while threads run, so their static TLS gets its block behind their backs.
TEST_P(LibcThread, ALibraryWithThreadLocalsIsLoadedWhileTheyRun) {
  if (kSanitized) GTEST_SKIP() << "sanitizers have their own dlopen";
  std::barrier all(kThreads);
  void* library = nullptr;
  int (*get)() = nullptr;
  void (*set)(int) = nullptr;
  Threads threads(GetParam());
  threads.start_all([&](int i) {
    all.arrive_and_wait();
    if (i == 0) {
      library = dlopen("libgomp.so.1", RTLD_NOW | RTLD_LOCAL);
      if (library != nullptr) {
        get = reinterpret_cast<int (*)()>(dlsym(library, "omp_get_max_threads"));
        set = reinterpret_cast<void (*)(int)>(dlsym(library, "omp_set_num_threads"));
      }
    }
    all.arrive_and_wait();
    if (get == nullptr || set == nullptr) return;
    set(i + 1);
    all.arrive_and_wait();
    EXPECT_EQ(get(), i + 1);
    all.arrive_and_wait();
    if (i == kThreads - 1) {
      EXPECT_EQ(dlclose(library), 0);
    }
  });
  threads.join();
  if (get == nullptr) GTEST_SKIP() << "there is no libgomp.so.1";
}

TEST_P(LibcThread, LibrariesAreLoadedAndUnloadedByIt) {
  if (kSanitized) GTEST_SKIP() << "sanitizers do not see the loader's own lock";
  Threads threads(GetParam());
  threads.start_all([&](int) {
    for (int round = 0; round < 20; ++round) {
      void* library = dlopen("libresolv.so.2", RTLD_NOW | RTLD_LOCAL);
      if (library == nullptr) return;
      EXPECT_EQ(dlclose(library), 0);
    }
  });
}

// ---- Signals, credentials, processes

std::atomic<int> handled_by{0};

TEST_P(LibcThread, PthreadKillReachesIt) {
  struct sigaction action {
  }, old{};
  action.sa_handler = [](int) { handled_by = gettid(); };
  ASSERT_EQ(sigaction(SIGUSR1, &action, &old), 0);
  std::atomic<pthread_t> target{};
  std::atomic<int> tid{0};
  Threads threads(GetParam());
  handled_by = 0;
  ASSERT_EQ(threads.start([&] {
    target = pthread_self();
    tid = gettid();
    while (handled_by == 0) osyield();
  }),
            0);
  while (tid == 0) osyield();
  EXPECT_EQ(pthread_kill(target, 0), 0);
  EXPECT_EQ(pthread_kill(target, SIGUSR1), 0);
  threads.join();
  EXPECT_EQ(handled_by, tid);
  sigaction(SIGUSR1, &old, nullptr);
}

// The kernel's credentials belong to a thread; libc makes them the process's by a signal to each.
TEST_P(LibcThread, SetegidReachesIt) {
  if (geteuid() != 0) GTEST_SKIP() << "only root may change credentials";
  constexpr gid_t kOther = 12345;
  std::barrier all(kThreads + 1);
  Threads threads(GetParam());
  threads.start_all([&](int) {
    all.arrive_and_wait();
    all.arrive_and_wait();
    EXPECT_EQ(raw_syscall(SYS_getegid), static_cast<long>(kOther));
    all.arrive_and_wait();
  });
  all.arrive_and_wait();
  EXPECT_EQ(setegid(kOther), 0);
  all.arrive_and_wait();
  all.arrive_and_wait();
  EXPECT_EQ(setegid(0), 0);
}

// TH4: setegid holds the list lock and waits for everyone, also for who is waiting for that lock.
TEST_P(LibcThread, SetegidBesideChurnDoesNotDeadlock) {
  if (geteuid() != 0) GTEST_SKIP() << "only root may change credentials";
  constexpr int kChurns = 200;
  std::atomic<int> running{2};
  const auto churn = [&] {
    for (int i = 0; i < kChurns; ++i) {
      Threads threads(GetParam());
      EXPECT_EQ(threads.start([] {}), 0);
    }
    --running;
  };
  std::thread first(churn), second(churn);
  while (running > 0) {
    EXPECT_EQ(setegid(12345), 0);
    EXPECT_EQ(setegid(0), 0);
  }
  first.join();
  second.join();
}

TEST_P(LibcThread, ForksAndRunsAProgram) {
  Threads threads(GetParam());
  threads.start_all([&](int i) {
    const pid_t pid = fork();
    if (pid == 0) {
      const std::string number = std::to_string(i);
      execl("/bin/sh", "sh", "-c", "exit $0", number.c_str(), nullptr);
      _exit(127);
    }
    int status = 0;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), i);
  });
}

TEST_P(LibcThread, AForkedChildCanMakeThreads) {
  if (kSanitized) GTEST_SKIP() << "sanitizers forbid threads after such a fork";
  Threads threads(GetParam());
  threads.start_all([&](int) {
    const pid_t pid = fork();
    if (pid == 0) {
      int value = 0;
      std::thread([&] { value = 3; }).join();
      _exit(value);
    }
    int status = 0;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(WEXITSTATUS(status), 3);
  });
}

TEST_P(LibcThread, TheProgramMayExitWhileTheyRun) {
  EXPECT_EXIT(
      {
        Threads& threads = *new Threads(GetParam());
        std::latch& started = *new std::latch(kThreads);
        for (int i = 0; i < kThreads; ++i) {
          threads.start([&] {
            started.count_down();
            for (std::string text;; text = std::string(100, 'x')) osyield();
          });
        }
        started.wait();
        std::exit(7);
      },
      testing::ExitedWithCode(7), "");
}

// ---- Unwinders

TEST_P(LibcThread, ABacktraceEnds) {
  Threads threads(GetParam());
  threads.start_all([&](int) {
    void* frames[64];
    const int n = backtrace(frames, 64);
    EXPECT_GT(n, 3);
    EXPECT_LT(n, 64);
    const auto count = [](_Unwind_Context*, void* arg) {
      return ++*static_cast<int*>(arg) > 100 ? _URC_NORMAL_STOP : _URC_NO_REASON;
    };
    int seen = 0;
    EXPECT_EQ(_Unwind_Backtrace(count, &seen), _URC_END_OF_STACK);
  });
}

// ---- Leaks

size_t lines_of(const char* path) {
  std::ifstream file(path);
  size_t lines = 0;
  for (std::string line; std::getline(file, line);) ++lines;
  return lines;
}

size_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  size_t total = 0, resident = 0;
  file >> total >> resident;
  return resident * system_info().page_bytes;
}

TEST_P(LibcThread, ChurnLeaksNothing) {
  constexpr int kChurns = 2000;
  const auto churn = [&](int times) {
    for (int i = 0; i < times; ++i) {
      Threads threads(GetParam());
      // Fills malloc's cache of the thread, which its end must give back.
      ASSERT_EQ(threads.start([] {
        for (size_t n = 16; n < 1024; n += 16) std::make_unique<char[]>(n);
        counts_its_end.value = 1;
      }),
                0);
    }
  };
  churn(kChurns / 10);  // caches fill
  const int threads = count_threads();
  const size_t mappings = lines_of("/proc/self/maps");
  const size_t resident = resident_bytes();
  const size_t used = mallinfo2().uordblks;
  churn(kChurns);
  EXPECT_EQ(count_threads(), threads);
  if (kSanitized) return;  // they keep records of their own
  EXPECT_LE(lines_of("/proc/self/maps"), mappings + 4);
  EXPECT_LE(resident_bytes(), resident + (size_t{2} << 20));
  EXPECT_LE(mallinfo2().uordblks, used + kChurns);  // less than a byte each
}

#if GORT_GLIBC_THREADS

TEST(GlibcThread, CountsAndListsAreAsBefore) {
  const std::string obstacle = backend_obstacle(ThreadBackend::clone);
  if (!obstacle.empty()) GTEST_SKIP() << obstacle;
  const GlibcLayout& layout = glibc_layout();
  const auto listed = [&] {
    int n = 0;
    glibc_lock_take(layout.stack_lock);
    for (GlibcListNode* node = layout.stacks_user->next; node != layout.stacks_user;
         node = node->next) {
      ++n;
    }
    glibc_lock_give(layout.stack_lock);
    return n;
  };
  const unsigned threads_before = std::atomic_ref<unsigned>(*layout.threads).load();
  const int listed_before = listed();
  Threads threads(ThreadBackend::clone);
  std::barrier all(kThreads + 1);
  threads.start_all([&](int) {
    all.arrive_and_wait();
    void* self = reinterpret_cast<void*>(pthread_self());
    EXPECT_EQ(glibc_field<int>(self, layout.at.tid), gettid());
    all.arrive_and_wait();
  });
  all.arrive_and_wait();
  EXPECT_EQ(listed(), listed_before + kThreads);
  EXPECT_EQ(std::atomic_ref<unsigned>(*layout.threads).load(), threads_before + kThreads);
  all.arrive_and_wait();
  threads.join();
  EXPECT_EQ(listed(), listed_before);
  EXPECT_EQ(std::atomic_ref<unsigned>(*layout.threads).load(), threads_before);
}

// TS2.
TEST(GlibcThread, AStackThatWasUsedIsZeroWhereItMust) {
  const std::string obstacle = backend_obstacle(ThreadBackend::clone);
  if (!obstacle.empty()) GTEST_SKIP() << obstacle;
  const GlibcLayout& layout = glibc_layout();
  GlibcStack stack = glibc_stack_take(layout, kThreadStackBytes);
  ASSERT_NE(stack.mapping, nullptr);
  EXPECT_GE(stack.top(layout) - stack.low(), static_cast<long>(kThreadStackBytes));
  const std::byte* end = stack.mapping + stack.mapping_bytes;
  std::memset(stack.top(layout), 0xff, static_cast<size_t>(end - stack.top(layout)));
  glibc_stack_give(layout, stack);
  const GlibcStack again = glibc_stack_take(layout, kThreadStackBytes);
  EXPECT_EQ(again.mapping, stack.mapping);
  for (const std::byte* at = again.top(layout); at != end; ++at) ASSERT_EQ(*at, std::byte{0});
  glibc_stack_give(layout, again);
}

#endif  // GORT_GLIBC_THREADS

}  // namespace
}  // namespace gort::os
