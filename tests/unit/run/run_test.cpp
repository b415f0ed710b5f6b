// gort::run and gort::runtime: values, exceptions, repetition, where they may be called, options.
#include "gort/run.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/chan.hpp"
#include "gort/stats.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;

class Run : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(Run);

TEST_P(Run, ReturnsTheValueOfItsFunction) {
  const test::Resources before;
  EXPECT_EQ(run(opts(), [] { return 42; }), 42);
  EXPECT_EQ(run(
                opts(), [](int a, const std::string& b) { return b + std::to_string(a); }, 7, "x"),
            "x7");
  auto owned = run(
      opts(), [](std::unique_ptr<int> p) { return p; }, std::make_unique<int>(5));
  EXPECT_EQ(*owned, 5);
  int n = 0;
  int& ref = run(opts(), [&n]() -> int& { return n; });
  EXPECT_EQ(&ref, &n);
  static_assert(std::is_void_v<decltype(run([] {}))>);
  before.expect_unchanged();
}

TEST_P(Run, RethrowsTheExceptionOfItsFunction) {
  const test::Resources before;
  EXPECT_THROW(run(opts(), [] { throw std::out_of_range("x"); }), std::out_of_range);
  EXPECT_THROW(run(opts(), [] { throw 7; }), int);
  EXPECT_THROW(run(opts(), [] { throw stopped(); }), stopped);
  before.expect_unchanged();
}

// The others are asked to stop, and have ended, before it comes out.
TEST_P(Run, RethrowsOnceTheOthersHaveEnded) {
  const test::Resources before;
  for (int turn = 0; turn < 20; ++turn) {
    constexpr int kOthers = 8;
    std::atomic<int> asleep{0};
    std::atomic<int> unwound{0};
    const auto lives = [&asleep, &unwound] {
      struct Ends {
        std::atomic<int>& unwound;
        ~Ends() {
          for (int i = 0; i < 10; ++i) yield();
          ++unwound;
        }
      } const ends{unwound};
      ++asleep;
      sleep_for(1h);
    };
    try {
      run(opts(), [&] {
        for (int i = 0; i < kOthers; ++i) go(lives);
        test::until([&] { return asleep == kOthers; });
        auto owned = spawn([] { sleep_for(1h); });  // joined by its handle, on the way out
        throw std::out_of_range("from main");
      });
      ADD_FAILURE() << "no exception";
    } catch (const std::out_of_range& e) {
      EXPECT_STREQ(e.what(), "from main");
      EXPECT_EQ(unwound.load(), kOthers);
      EXPECT_EQ(num_fibers(), 0U);
    }
  }
  before.expect_unchanged();
}

TEST_P(Run, MayFollowAnother) {
  const test::Resources before;
  for (int i = 0; i < 50; ++i) {
    std::atomic<int> n{0};
    run(opts(), [&n] {
      std::vector<task<void>> tasks;
      for (int k = 0; k < 10; ++k) tasks.push_back(spawn([&n] { n.fetch_add(1); }));
      for (auto& t : tasks) t.join();
    });
    ASSERT_EQ(n.load(), 10);
  }
  before.expect_unchanged();
}

TEST_P(Run, WorksOnAThreadOfTheProgram) {
  const test::Resources before;
  std::thread([this] {
    EXPECT_EQ(run(opts(), [] { return spawn([] { return 3; }).get(); }), 3);
    EXPECT_EQ(run(opts(), [] { return 4; }), 4);
  }).join();
  before.expect_unchanged();
}

TEST_P(Run, LeavesTheProgramsThreadsAlone) {
  std::atomic<bool> end{false};
  std::atomic<uint64_t> turns{0};
  std::thread mine([&] {
    while (!end.load()) {
      turns.fetch_add(1);
      std::this_thread::yield();
    }
  });
  in_fibers([&turns] {
    const uint64_t start = turns.load();
    test::until([&] { return turns.load() > start; });
  });
  end.store(true);
  mine.join();
}

std::string refusal_of_run() {
  try {
    run([] { ADD_FAILURE() << "it was not to run"; });
  } catch (const std::logic_error& e) {
    return e.what();
  }
  return "none";
}

TEST_P(Run, IsRefusedWhereARuntimeIsAlive) {
  in_fibers([this] {
    EXPECT_THROW(run([] {}), std::logic_error);
    EXPECT_THROW(run(opts(), [] {}), std::logic_error);
    EXPECT_THROW(runtime{}, std::logic_error);
    EXPECT_EQ(refusal_of_run(), "gort: run() inside a fiber");
    spawn([] { EXPECT_THROW(run([] {}), std::logic_error); }).get();
    blocking([] {
      std::thread([] {
        EXPECT_EQ(refusal_of_run(), "gort: a runtime is alive already");
        EXPECT_THROW(runtime{}, std::logic_error);
      }).join();
    });
    EXPECT_EQ(spawn([] { return 1; }).get(), 1);  // nothing was harmed
  });
}

TEST_P(Run, CountsFibersAndProcs) {
  EXPECT_EQ(num_fibers(), 0U);
  EXPECT_EQ(procs(), 0);
  EXPECT_GE(num_cpus(), 1);
  in_fibers([this] {
    EXPECT_EQ(num_fibers(), 1U);
    EXPECT_EQ(procs(), nprocs());
    auto t = spawn([] { sleep_for(1h); });
    EXPECT_EQ(num_fibers(), 2U);
  });
}

// A thread that spawns and spawns would keep the runtime for ever; fibers may still do so, to clean up.
TEST_P(Run, ThreadsMayNotSpawnIntoTheEnd) {
  std::atomic<int> refused{0};
  std::atomic<bool> ran{false};
  in_fibers([&] {
    go([&] {
      try {
        sleep_for(1h);
      } catch (const stopped&) {
        blocking([&] {
          std::thread([&] {
            try {
              go([] {});
            } catch (const std::logic_error&) {
              ++refused;
            }
          }).join();
          go([&ran] { ran.store(true); });
        });
        throw;
      }
    });
    yield();
  });
  EXPECT_EQ(refused.load(), 1);
  EXPECT_TRUE(ran.load());
}

TEST_P(Run, EndsPromptlyWithManySleepers) {
  const int count = test::many(10'000);
  std::atomic<int> stops{0};
  std::chrono::steady_clock::time_point returned;
  in_fibers([&] {
    for (int i = 0; i < count; ++i) {
      go([&stops] {
        try {
          sleep_for(1h);
        } catch (const stopped&) {
          stops.fetch_add(1);
          throw;
        }
      });
    }
    returned = std::chrono::steady_clock::now();
  });
  EXPECT_EQ(stops.load(), count);
  EXPECT_LT(std::chrono::steady_clock::now() - returned, 30s);
}

TEST_P(Run, StopsSpawnsOfItsLastMoments) {
  std::atomic<int> born_stopped{0};
  in_fibers([&] {
    for (int i = 0; i < 20; ++i) {
      go([&born_stopped] {
        try {
          sleep_for(1h);
        } catch (const stopped&) {
          // The run is ending: a new fiber is born with the request.
          go([&born_stopped] {
            EXPECT_TRUE(this_fiber::stop_token().stop_requested());
            try {
              sleep_for(1h);
            } catch (const stopped&) {
              born_stopped.fetch_add(1);
            }
          });
        }
      });
    }
  });
  EXPECT_EQ(born_stopped.load(), 20);
}

TEST_P(Run, WaitsForFibersThatDoNotCare) {
  std::atomic<bool> ended{false};
  in_fibers([&] {
    go([&] {
      const std::stop_token token = this_fiber::stop_token();
      while (!token.stop_requested()) yield();
      for (int i = 0; i < 100; ++i) yield();
      ended.store(true);
    });
  });
  EXPECT_TRUE(ended.load());
}

// One that never comes to the scheduler is interrupted there, too: those who have to end do so beside it, which is what it is
// looking for; and it is waited for.
TEST_P(Run, EndsBesideFibersThatNeverWait) {
  constexpr int kOthers = 6;
  const int hogs = nprocs();
  std::atomic<int> ended{0};
  std::atomic<int> hogs_ended{0};
  std::atomic<int> begun{0};
  in_fibers([&] {
    for (int i = 0; i < kOthers; ++i) {
      go([&, i] {
        ++begun;
        try {
          if (i % 2 == 0) sleep_for(1h);
          (void)chan<int>().recv();
        } catch (const stopped&) {
          for (int k = 0; k < 10; ++k) yield();
          ++ended;
          throw;
        }
      });
    }
    test::until([&] { return begun == kOthers; });
    for (int i = 0; i < hogs; ++i) {
      go([&] {
        EXPECT_TRUE(test::spin_until([&] { return ended == kOthers; }));
        ++hogs_ended;
      });
    }
  });
  EXPECT_EQ(ended.load(), kOthers);
  EXPECT_EQ(hogs_ended.load(), hogs);
}

TEST(RunOptions, ImpossibleOnesAreRefused) {
  EXPECT_THROW(run(options{.procs = -1}, [] {}), std::invalid_argument);
  EXPECT_THROW(run(options{.procs = 1025}, [] {}), std::invalid_argument);
  EXPECT_THROW(run(options{.stack_size = (size_t{1} << 30) + 1}, [] {}), std::invalid_argument);
  EXPECT_THROW(run(options{.stack_size = SIZE_MAX}, [] {}), std::invalid_argument);
  EXPECT_THROW(run(options{.max_threads = -1}, [] {}), std::invalid_argument);
  using std::chrono::microseconds;
  for (const microseconds slice :
       {microseconds::min(), -1us, 99us, microseconds(24h) + 1us, microseconds::max()}) {
    EXPECT_THROW(run(options{.slice = slice}, [] {}), std::invalid_argument);
  }
  EXPECT_EQ(run(options{.slice = 24h}, [] { return 1; }), 1);
  EXPECT_THROW(runtime(options{.procs = -1}), std::invalid_argument);
  EXPECT_EQ(run(options{.procs = 1}, [] { return 1; }), 1);  // and leave no trace
}

TEST(RunOptions, FromEnvIsComplete) {
  const options o = options::from_env();
  EXPECT_GE(o.procs, 1);
  EXPECT_GE(o.stack_size, size_t{16} << 10);
  EXPECT_GE(o.max_threads, 1);
}

// Of now, whatever has been read before.
TEST(RunOptions, FromEnvReadsTheEnvironment) {
  const int automatic = options::from_env().procs;
  ASSERT_EQ(::setenv("GORT_PROCS", std::to_string(automatic + 1).c_str(), 1), 0);
  EXPECT_EQ(options::from_env().procs, automatic + 1);
  ASSERT_EQ(::unsetenv("GORT_PROCS"), 0);
}

TEST(Runs, FollowEachOtherWithFibersOfOtherNumbers) {
  uint64_t last = 0;
  for (int i = 0; i < 3; ++i) {
    uint64_t main_fiber = 0;
    uint64_t second = 0;
    run(options{.procs = 1}, [&] {
      main_fiber = this_fiber::id();
      second = spawn([] { return this_fiber::id(); }).get();
    });
    EXPECT_GT(main_fiber, last);
    EXPECT_GT(second, main_fiber);
    last = second;
  }
}

TEST(RunOptions, NothingWorksWithoutARuntime) {
  EXPECT_THROW(go([] {}), std::logic_error);
  EXPECT_THROW((void)spawn([] {}), std::logic_error);
  EXPECT_EQ(stats().fibers, 0U);
}

// A limit on threads is a limit on what may block at once, not an error.
TEST(RunOptions, FewThreadsAreEnough) {
  const test::Resources before;
  run(options{.procs = 4, .max_threads = 2}, [] {
    std::vector<task<void>> tasks;
    for (int i = 0; i < 8; ++i) {
      tasks.push_back(spawn([] { blocking([] { std::this_thread::sleep_for(1ms); }); }));
    }
    for (auto& t : tasks) t.join();
    EXPECT_LE(stats().threads, 2);
  });
  before.expect_unchanged();
}

class EmbeddedRuntime : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(EmbeddedRuntime);

TEST_P(EmbeddedRuntime, RunsAndSpawns) {
  const test::Resources before;
  {
    runtime rt(opts());
    EXPECT_EQ(procs(), nprocs());
    EXPECT_FALSE(this_fiber::in_fiber());
    EXPECT_EQ(rt.run([] {
      EXPECT_TRUE(this_fiber::in_fiber());
      return 5;
    }),
              5);
    auto t = rt.spawn([](int a) { return a + 1; }, 8);
    EXPECT_EQ(t.get(), 9);
    EXPECT_THROW(rt.run([] { throw std::runtime_error("x"); }), std::runtime_error);
    go([] {});  // any thread may
  }
  before.expect_unchanged();
}

TEST_P(EmbeddedRuntime, ServesSeveralThreads) {
  const test::Resources before;
  {
    runtime rt(opts());
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&rt, i] {
        for (int k = 0; k < 100; ++k) {
          ASSERT_EQ(rt.run([i, k] { return spawn([i, k] { return i * 1000 + k; }).get(); }),
                    i * 1000 + k);
        }
      });
    }
    for (auto& t : threads) t.join();
  }
  before.expect_unchanged();
}

TEST_P(EmbeddedRuntime, RunDoesNotStopOthers) {
  runtime rt(opts());
  std::atomic<bool> go_on{false};
  auto t = rt.spawn([&go_on] { return test::until([&] { return go_on.load(); }); });
  rt.run([] {});
  EXPECT_FALSE(t.done());
  go_on.store(true);
  EXPECT_TRUE(t.get());
}

TEST_P(EmbeddedRuntime, ItsEndStopsEveryFiber) {
  std::atomic<int> stops{0};
  {
    runtime rt(opts());
    for (int i = 0; i < 100; ++i) {
      rt.spawn([&stops] {
          try {
            sleep_for(1h);
          } catch (const stopped&) {
            stops.fetch_add(1);
          }
        }).detach();
    }
  }
  EXPECT_EQ(stops.load(), 100);
}

TEST_P(EmbeddedRuntime, MayBeEmptyAndFollowAnother) {
  const test::Resources before;
  for (int i = 0; i < 30; ++i) const runtime rt(opts());
  before.expect_unchanged();
}

}  // namespace
}  // namespace gort
