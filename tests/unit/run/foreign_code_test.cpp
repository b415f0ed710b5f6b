// C++ and libc code inside fibers: exceptions, errno, thread_local, malloc, threads, processes, and
// blocking() for what blocks.
#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cfenv>
#include <chrono>
#include <csetjmp>
#include <cstring>
#include <exception>
#include <iostream>
#include <memory>
#include <mutex>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/chan.hpp"
#include "gort/fiber.hpp"
#include "gort/mutex.hpp"
#include "gort/spawn.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;

constexpr int kFibers = test::kSanitizers ? 20 : 100;
constexpr int kTurns = test::kSanitizers ? 10 : 50;

class ForeignCode : public test::SchedulerTest {
 protected:
  // Many fibers that do f(number of the fiber, turn) and wait in between, so that they move about.
  template <class F>
  void everywhere(F f) {
    in_fibers([&f] {
      std::vector<task<void>> tasks;
      for (int i = 0; i < kFibers; ++i) {
        tasks.push_back(spawn([&f, i] {
          for (int turn = 0; turn < kTurns; ++turn) f(i, turn);
        }));
      }
      for (auto& t : tasks) t.get();
    });
  }
};
GORT_ON_EVERY_PROCS(ForeignCode);

void move_about(int turn) {
  if (turn % 4 == 0) {
    sleep_for(std::chrono::microseconds(turn));
  } else {
    yield();
  }
}

// ---- Exceptions ---------------------------------------------------------------------------------

TEST_P(ForeignCode, AFiberMayWaitInACatchBlock) {
  everywhere([](int i, int turn) {
    const std::string text = std::to_string(i) + "." + std::to_string(turn);
    try {
      throw std::runtime_error(text);
    } catch (const std::exception& e) {
      move_about(turn);
      EXPECT_EQ(e.what(), text);
      const std::exception_ptr current = std::current_exception();
      try {
        std::rethrow_exception(current);
      } catch (const std::runtime_error& inner) {
        EXPECT_EQ(inner.what(), text);
      }
    }
    EXPECT_EQ(std::current_exception(), nullptr);
  });
}

TEST_P(ForeignCode, RethrowFindsTheFibersOwnException) {
  everywhere([](int i, int turn) {
    const int code = i * 1000 + turn;
    try {
      try {
        throw code;
      } catch (...) {
        move_about(turn);
        try {
          throw std::to_string(code);  // one inside the other
        } catch (const std::string& s) {
          move_about(turn + 1);
          EXPECT_EQ(s, std::to_string(code));
        }
        throw;
      }
    } catch (int caught) {
      EXPECT_EQ(caught, code);
    }
  });
}

TEST_P(ForeignCode, UncaughtExceptionsAreCountedPerFiber) {
  everywhere([](int, int turn) {
    struct Looks {
      int turn;
      int expected;
      ~Looks() {
        EXPECT_EQ(std::uncaught_exceptions(), expected);
        move_about(turn);
        EXPECT_EQ(std::uncaught_exceptions(), expected);
      }
    };
    EXPECT_EQ(std::uncaught_exceptions(), 0);
    { const Looks calm{turn, 0}; }
    try {
      const Looks unwinding{turn, 1};
      throw 1;
    } catch (int) {
      EXPECT_EQ(std::uncaught_exceptions(), 0);
    }
  });
}

TEST_P(ForeignCode, ExceptionsPassThroughDeepStacks) {
  everywhere([](int i, int turn) {
    struct Deep {
      static int down(int n) {
        const std::string keeps(20, 'x');  // has a destructor
        if (n == 0) throw std::out_of_range("bottom");
        return down(n - 1) + static_cast<int>(keeps.size());
      }
    };
    EXPECT_THROW(Deep::down(20 + i % 10), std::out_of_range);
    move_about(turn);
  });
}

// ---- libc ---------------------------------------------------------------------------------------

// errno is the thread's: it says something right after the call only.
__attribute__((noinline)) int error_of_failing_call(int n) {
  if (n % 2 == 0) return ::close(-1) < 0 ? errno : 0;
  return ::open("/nonexistent/file", 0) < 0 ? errno : 0;
}

TEST_P(ForeignCode, ErrnoIsRightAfterACall) {
  everywhere([](int i, int turn) {
    EXPECT_EQ(error_of_failing_call(i + turn), (i + turn) % 2 == 0 ? EBADF : ENOENT);
    move_about(turn);
  });
}

// A compiler keeps the address of a thread's variable for a whole function, so whoever waits leaves it to another.
thread_local int id_of_this_thread = 0;
__attribute__((noinline)) int remembered_id() {
  if (id_of_this_thread == 0) id_of_this_thread = gettid();
  return id_of_this_thread;
}

TEST_P(ForeignCode, ThreadLocalsInAFunctionOfTheirOwn) {
  everywhere([](int, int turn) {
    EXPECT_EQ(remembered_id(), gettid());
    move_about(turn);
    EXPECT_EQ(remembered_id(), gettid());
  });
}

TEST_P(ForeignCode, MemoryMayBeFreedOnAnotherThread) {
  everywhere([](int i, int turn) {
    std::vector<std::shared_ptr<std::vector<int>>> kept;
    for (int k = 0; k < 10; ++k) {
      kept.push_back(std::make_shared<std::vector<int>>(static_cast<size_t>(10 + i * k), k));
    }
    const auto copy = kept;
    move_about(turn);
    for (int k = 0; k < 10; ++k) {
      const auto& v = *copy[static_cast<size_t>(k)];
      EXPECT_EQ(std::accumulate(v.begin(), v.end(), 0), k * static_cast<int>(v.size()));
    }
  });
}

TEST_P(ForeignCode, StandardMutexesMayBeHeldBetweenWaits) {
  std::mutex m;
  int64_t n = 0;  // under m
  everywhere([&](int, int turn) {
    for (int k = 0; k < 10; ++k) {
      const std::lock_guard guard(m);
      ++n;
    }
    move_about(turn);
  });
  EXPECT_EQ(n, int64_t{10} * kFibers * kTurns);
}

TEST_P(ForeignCode, StreamsFormat) {
  everywhere([](int i, int turn) {
    std::ostringstream out;
    out << i << ' ' << 0.5 * turn;
    move_about(turn);
    out << std::hex << 255;
    std::istringstream in(out.str());
    int first = -1;
    double second = -1;
    in >> first >> second;
    EXPECT_EQ(first, i);
    EXPECT_EQ(second, 0.5 * turn);
    std::clog << "" << std::flush;
  });
}

TEST_P(ForeignCode, StaticLocalsAreMadeOnce) {
  static std::atomic<int> made{0};
  made.store(0);
  everywhere([](int, int turn) {
    struct Made {
      Made() { made.fetch_add(1); }
    };
    static const Made once;
    (void)once;
    move_about(turn);
  });
  EXPECT_LE(made.load(), 1);
}

// libstdc++ hands the function over in variables of the thread. One flag's function may use another flag.
TEST_P(ForeignCode, CallOnceCallsAFunctionThatDoesNotWaitOnce) {
  struct Flags {
    std::once_flag outer;
    std::once_flag inner;
    std::atomic<int> outer_calls{0};
    std::atomic<int> inner_calls{0};
  };
  std::vector<Flags> flags(kTurns);
  std::atomic<int> early{0};
  everywhere([&](int, int turn) {
    Flags& f = flags[static_cast<size_t>(turn)];
    std::call_once(f.outer, [&f] {
      std::call_once(f.inner, [&f] { f.inner_calls.fetch_add(1); });
      f.outer_calls.fetch_add(1);
    });
    if (f.outer_calls.load() != 1) early.fetch_add(1);
    move_about(turn);
  });
  EXPECT_EQ(early.load(), 0);
  for (const Flags& f : flags) {
    EXPECT_EQ(f.outer_calls.load(), 1);
    EXPECT_EQ(f.inner_calls.load(), 1);
  }
}

std::atomic<int> locals_alive{0};
struct ThreadLocalThing {
  std::unique_ptr<int> owned = std::make_unique<int>(1);
  ThreadLocalThing() { locals_alive.fetch_add(1); }
  ~ThreadLocalThing() { locals_alive.fetch_sub(1); }
};
thread_local ThreadLocalThing thing;
__attribute__((noinline)) int touch_thing() {
  return *thing.owned;
}

TEST_P(ForeignCode, ThreadLocalsOfMsAreDestroyed) {
  std::thread([this] {
    in_fibers([] {
      std::vector<task<void>> tasks;
      for (int i = 0; i < kFibers; ++i) {
        tasks.push_back(spawn([] {
          for (int turn = 0; turn < 10; ++turn) {
            EXPECT_EQ(touch_thing(), 1);
            move_about(turn);
          }
        }));
      }
      for (auto& t : tasks) t.get();
    });
  }).join();
  EXPECT_EQ(locals_alive.load(), 0);
}

// An M's thread ends outside of its fibers: what it calls there finds itself on a thread like others.
std::atomic<int> called_at_the_end{0};
std::atomic<int> wrong_at_the_end{0};
struct CallsAtTheEnd {
  bool touched = false;
  ~CallsAtTheEnd() {
    static mutex shared;
    const std::lock_guard guard(shared);
    yield();
    const chan<int> c(1);
    c.send(1);
    const bool right = c.recv() == 1 && !this_fiber::in_fiber() && this_fiber::id() == 0 &&
                       !this_fiber::stop_token().stop_possible();
    if (!right) ++wrong_at_the_end;
    ++called_at_the_end;
  }
};
thread_local CallsAtTheEnd calls_at_the_end;
__attribute__((noinline)) void touch_calls_at_the_end() {
  calls_at_the_end.touched = true;
}

TEST_P(ForeignCode, ThreadLocalsOfMsMayCallGortAtTheirEnd) {
  called_at_the_end = 0;
  std::thread([this] {
    in_fibers([] {
      std::vector<task<void>> tasks;
      for (int i = 0; i < kFibers; ++i) {
        tasks.push_back(spawn([] {
          touch_calls_at_the_end();
          blocking(touch_calls_at_the_end);
        }));
      }
      for (auto& t : tasks) t.get();
    });
  }).join();
  EXPECT_GE(called_at_the_end, 1);
  EXPECT_EQ(wrong_at_the_end, 0);
}

TEST_P(ForeignCode, ThreadsMayBeStartedByFibers) {
  in_fibers([] {
    std::vector<task<void>> tasks;
    for (int i = 0; i < 10; ++i) {
      tasks.push_back(spawn([] {
        std::atomic<bool> ran{false};
        std::thread t([&ran] {
          EXPECT_FALSE(this_fiber::in_fiber());
          ran.store(true);
        });
        test::until([&] { return ran.load(); });
        blocking([&t] { t.join(); });
      }));
    }
    for (auto& t : tasks) t.get();
  });
}

TEST_P(ForeignCode, TheCpuIsKnown) {
  everywhere([](int, int turn) {
    EXPECT_GE(sched_getcpu(), 0);
    move_about(turn);
  });
}

TEST_P(ForeignCode, NamesAreResolved) {
  in_fibers([] {
    std::vector<task<void>> tasks;
    for (int i = 0; i < 4; ++i) {
      tasks.push_back(spawn([] {
        blocking([] {
          addrinfo* found = nullptr;
          if (getaddrinfo("127.0.0.1", "80", nullptr, &found) == 0) freeaddrinfo(found);
          found = nullptr;
          if (getaddrinfo("localhost", "http", nullptr, &found) == 0) freeaddrinfo(found);
        });
      }));
    }
    for (auto& t : tasks) t.get();
  });
}

TEST_P(ForeignCode, LibrariesMayBeLoaded) {
  in_fibers([] {
    for (int i = 0; i < 5; ++i) {
      spawn([] {
        void* library = dlopen("libm.so.6", RTLD_NOW);
        ASSERT_NE(library, nullptr) << dlerror();
        auto cosine = reinterpret_cast<double (*)(double)>(dlsym(library, "cos"));
        ASSERT_NE(cosine, nullptr);
        EXPECT_EQ(cosine(0), 1.0);
        dlclose(library);
      }).get();
    }
  });
}

TEST_P(ForeignCode, AFiberMayForkAndExec) {
  if (test::kTsan) GTEST_SKIP() << "TSan does not follow a fork of a process with threads";
  in_fibers([] {
    for (int i = 0; i < 3; ++i) {
      const int status = spawn([] {
                           const pid_t child = fork();
                           if (child == 0) {
                             execl("/bin/true", "true", nullptr);
                             _exit(127);
                           }
                           return blocking([child] {
                             int s = -1;
                             return waitpid(child, &s, 0) == child ? s : -1;
                           });
                         }).get();
      EXPECT_EQ(status, 0);
    }
  });
}

TEST_P(ForeignCode, ABacktraceEndsAtTheFibersFirstFrame) {
  in_fibers([] {
    const int frames = spawn([] {
                         void* stack[64];
                         return backtrace(stack, 64);
                       }).get();
    EXPECT_GT(frames, 1);
    EXPECT_LT(frames, 64);
  });
}

TEST_P(ForeignCode, FloatingPointValuesStayWithTheFiber) {
  in_fibers([] {
    std::vector<task<void>> tasks;
    for (int i = 0; i < 20; ++i) {
      tasks.push_back(spawn([i] {
        volatile double x = i + 0.5;
        volatile long double y = i * 3.25L;
        for (int turn = 0; turn < 20; ++turn) {
          move_about(turn);
          x = x * 1.0;
          y = y + 0.0L;
        }
        EXPECT_EQ(x, i + 0.5);
        EXPECT_EQ(y, i * 3.25L);
      }));
    }
    for (auto& t : tasks) t.get();
  });
}

TEST_P(ForeignCode, RoundingModesStayWithTheFiber) {
  constexpr int kModes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
  everywhere([&](int i, int turn) {
    const int mode = kModes[i % 4];
    std::fesetround(mode);
    move_about(turn);
    EXPECT_EQ(std::fegetround(), mode);
    volatile double third = 1.0;
    third = third / 3.0;
    EXPECT_EQ(third > 1.0 / 3.0, mode == FE_UPWARD);
    std::fesetround(FE_TONEAREST);
  });
}

TEST_P(ForeignCode, LongJumpsStayInTheFiber) {
  everywhere([](int i, int turn) {
    std::jmp_buf here;
    volatile int written = 0;
    if (setjmp(here) == 0) {
      written = i + 1;
      move_about(turn);
      std::longjmp(here, 1);
    }
    EXPECT_EQ(written, i + 1);
  });
}

// ---- blocking() ---------------------------------------------------------------------------------

class Blocking : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(Blocking);

TEST_P(Blocking, ReturnsAndThrowsWhatItsFunctionDoes) {
  in_fibers([] {
    EXPECT_EQ(blocking([] { return 3; }), 3);
    int n = 0;
    EXPECT_EQ(&blocking([&n]() -> int& { return n; }), &n);
    EXPECT_THROW(blocking([] { throw std::runtime_error("x"); }), std::runtime_error);
    EXPECT_EQ(*blocking([] { return std::make_unique<int>(4); }), 4);
    blocking([] { blocking([] { EXPECT_TRUE(this_fiber::in_fiber()); }); });
  });
}

TEST_P(Blocking, LetsOthersRun) {
  in_fibers([] {
    std::atomic<bool> ran{false};
    auto t = spawn([&ran] { ran.store(true); });
    const bool seen = blocking([&ran] { return test::spin_until([&] { return ran.load(); }); });
    EXPECT_TRUE(seen);
  });
}

TEST_P(Blocking, TheRuntimeMayBeUsedInside) {
  in_fibers([] {
    blocking([] {
      EXPECT_EQ(spawn([] { return 2; }).get(), 2);
      sleep_for(100us);
      yield();
      go([] {});
    });
    for (int i = 0; i < 50; ++i) {
      spawn([] {
        blocking([] {
          yield();
          sleep_for(10us);
        });
      }).join();
    }
  });
}

class BlockingAlone : public testing::Test {};

TEST_F(BlockingAlone, CallsOverlap) {
  run(options{.procs = 2}, [] {
    const auto start = std::chrono::steady_clock::now();
    std::vector<task<void>> tasks;
    for (int i = 0; i < 20; ++i) {
      tasks.push_back(spawn([] { blocking([] { usleep(20'000); }); }));
    }
    for (auto& t : tasks) t.join();
    const auto took = std::chrono::steady_clock::now() - start;
    EXPECT_GE(took, 20ms);
    EXPECT_LT(took, test::kSanitizers ? 400ms : 150ms);  // one after the other: 400 ms
  });
}

}  // namespace
}  // namespace gort
