// What must not allocate: because it runs in signal handlers, beside a program's own malloc, or a million times a second.
#include "support/allocations.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <gort/gort.hpp>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

#include "os/linux/cgroup.hpp"
#include "os/linux/internal.hpp"
#include "os/os.hpp"
#include "sched/chaos.hpp"

namespace gort {
namespace {

class AllocatesNothing : public testing::Test {
 protected:
  void SetUp() override {
    if (!test::allocations()) GTEST_SKIP() << "malloc is a sanitizer's";
  }
  // How often this thread allocates meanwhile.
  template <class F>
  static uint64_t count(F f) {
    const uint64_t before = *test::allocations();
    f();
    return *test::allocations() - before;
  }
};

// The count itself. Through pointers that the compiler can not see through: it may leave out pairs.
TEST_F(AllocatesNothing, OrItIsCounted) {
  void* (*volatile get)(size_t) = std::malloc;
  void (*volatile put)(void*) = std::free;
  EXPECT_EQ(count([&] { put(get(1)); }), 1U);
  EXPECT_EQ(count([&] { const std::string long_one(1000 + (get != nullptr ? 1 : 0), 'x'); }), 1U);
  EXPECT_GE(count([&] { const std::vector<int> v(put != nullptr ? 100 : 0); }), 1U);
}

// A1.
TEST_F(AllocatesNothing, FactsOfTheKernel) {
  os::osinit();
  EXPECT_EQ(count([] {
              unsigned long words[128];
              EXPECT_GT(os::read_auxv("/proc/self/auxv", words), 0);
              EXPECT_NE(os::parse_auxv(words).hwcap, 0U);
              EXPECT_NE(os::auxv_facts().vdso, nullptr);
              EXPECT_EQ(os::probe_page_bytes(), os::system_info().page_bytes);
            }),
            0U);
}

// CG1.
TEST_F(AllocatesNothing, TheQuotaOfTheCgroup) {
  EXPECT_EQ(count([] { (void)os::cgroup_cpu_quota(); }), 0U);
}

// Z3.
TEST_F(AllocatesNothing, ChaosHooks) {
  if (!kChecked) GTEST_SKIP() << "no chaos in this build";
  chaos_begin(5, 1);
  const uint64_t n = count([] {
    for (int i = 0; i < static_cast<int>(ChaosPoint::count); ++i) {
      for (int k = 0; k < 100; ++k) chaos_point(static_cast<ChaosPoint>(i));
    }
    for (int i = 0; i < 100; ++i) (void)chaos_one_in(2);
  });
  chaos_end();
  EXPECT_EQ(n, 0U);
}

// RG4: a fiber that is interrupted inside malloc() must not keep the end of a run waiting. Tokens that are made while all are asked
// to stop, and more of them than there is room for at first.
TEST_F(AllocatesNothing, InARegionWhileAllAreAskedToStop) {
  constexpr int kFibers = 500;
  const uint64_t before = test::allocations_in_regions();
  std::atomic<int> called{0};
  std::atomic<int> waiting{0};
  run(options{.procs = 2}, [&] {
    for (int i = 0; i < kFibers; ++i) {
      go([&] {
        const std::stop_callback<std::function<void()>> callback(this_fiber::stop_token(),
                                                                 [&called] { ++called; });
        ++waiting;
        try {
          sleep_for(std::chrono::hours(1));
        } catch (const stopped&) {
          (void)this_fiber::stop_token();  // has its callbacks run, whoever is faster
        }
      });
    }
    while (waiting != kFibers) yield();
  });
  EXPECT_EQ(called, kFibers);
  EXPECT_EQ(test::allocations_in_regions(), before);
}

// RG4: the first stack of a size.
TEST_F(AllocatesNothing, InARegionForAnotherSizeOfStack) {
  const uint64_t before = test::allocations_in_regions();
  run(options{.procs = 1}, [] {
    spawn(attrs{.stack_size = 64 << 10}, [] {}).join();
    blocking([] { spawn(attrs{.stack_size = 128 << 10}, [] {}).join(); });
  });
  EXPECT_EQ(test::allocations_in_regions(), before);
}

// ST1, and whoever else lets go of something there: the last reference to a fiber is its own, or a handle's.
TEST_F(AllocatesNothing, AndNothingIsFreedInARegion) {
  run(options{.procs = 1}, [] {
    const auto round = [] {
      for (int i = 0; i < 20; ++i) {
        go([](const std::stop_token& token) { EXPECT_TRUE(token.stop_possible()); });
        spawn([](const std::stop_token& token) { return token.stop_requested(); }).join();
        auto t = spawn([](const std::stop_token&) {
          const chan<int> c(1);
          c.send(1);
        });
        yield();
      }
      yield();
    };
    round();
    const uint64_t before = test::frees_in_regions();
    round();
    EXPECT_EQ(test::frees_in_regions(), before);
  });
}

// B1, and waits: a Wait lives on the stack of who waits.
TEST_F(AllocatesNothing, FibersAndTheirWaits) {
  options o;
  o.procs = 1;
  run(o, [] {
    chan<int> there;
    chan<int> back;
    mutex m;
    wait_group done;
    const auto round = [&] {
      constexpr int kFibers = 8;
      for (int i = 0; i < kFibers; ++i) {
        done.add(1);
        go([&] {
          there.send(back.recv().value_or(-1) + 1);
          const std::lock_guard guard(m);
          yield();
          done.done();
        });
      }
      for (int i = 0; i < kFibers; ++i) back.send(i);
      for (int i = 0; i < kFibers; ++i) (void)there.recv();
      done.wait();
      bool slept = false;
      task<void> busy = spawn([&] {
        while (!slept)
          yield();  // an idle P could be given to another thread, which would have to be made
      });
      sleep_for(std::chrono::microseconds(10));
      slept = true;
      busy.join();
      task<int> t = spawn([] { return 7; });
      EXPECT_EQ(t.get(), 7);
    };
    round();  // pools, timer heaps and libstdc++'s exceptions get what they keep
    EXPECT_EQ(count([&] {
                for (int i = 0; i < 20; ++i) round();
              }),
              0U);
  });
}

// A select's nodes stand on its stack, and a selector's in what add() has allocated: ready ones and parked ones.
TEST_F(AllocatesNothing, Selects) {
  options o;
  o.procs = 1;
  run(o, [] {
    const chan<int> a;
    const chan<int> b;
    const chan<int> full(1);
    full.send(0);
    std::stop_source source;
    selector many;
    for (int i = 0; i < 20; ++i) many.add(on_recv(a));
    selector s;
    for (int i = 0; i < 20; ++i) s.add(on_recv(a));
    s.add(on_recv(full, [&] { full.send(0); }));
    const auto ready_round = [&] {
      for (int i = 0; i < 20; ++i) {
        select(on_recv(a), on_recv(full, [&] { full.send(0); }), on_recv(b), on_send(full, 1),
               on_send(a, 2), on_send(b, 3), on_stop(source.get_token()),
               on_timeout(std::chrono::hours(1)));
        select(on_recv(a), on_recv(b), otherwise());
        s.select();
        (void)s.poll();
      }
    };
    const auto parked_round = [&] {
      task<void> partner = spawn([&] {
        for (int i = 0; i < 20; ++i) select(on_send(a, i), on_send(b, i));
        for (int i = 0; i < 20; ++i) a.send(i);
      });
      for (int i = 0; i < 20; ++i) {
        select(on_recv(a), on_recv(b), on_recv(a), on_recv(b), on_recv(a), on_recv(b),
               on_stop(source.get_token()), on_timeout(std::chrono::hours(1)));
      }
      for (int i = 0; i < 20; ++i) many.select();
      partner.join();
    };
    ready_round();
    parked_round();
    EXPECT_EQ(count([&] {
                ready_round();
                parked_round();
              }),
              0U);
  });
}

// RG4, PR4: nor does what interrupts a fiber, and lets it go on.
TEST_F(AllocatesNothing, Preemption) {
  options o;
  o.procs = 1;
  o.slice = std::chrono::milliseconds(1);
  run(o, [] {
    const auto turns = [](uint64_t n) {
      uint64_t seen = 0;
      std::atomic<bool> over{false};
      task<void> other = spawn([&] {
        while (!over.load(std::memory_order_relaxed)) {
        }
      });
      while (seen < n) seen = stats().preemptions;
      over = true;
      other.join();
    };
    turns(3);  // the thread for it is there
    const uint64_t before = stats().preemptions;
    std::atomic<bool> over{false};
    task<void> other = spawn([&] {
      while (!over.load(std::memory_order_relaxed)) {
      }
    });
    // This fiber does not wait, so it stays on this thread, which is the one that counts.
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(100);
    EXPECT_EQ(count([&] {
                while (std::chrono::steady_clock::now() < end) {
                }
              }),
              0U);
    over = true;
    other.join();
    EXPECT_GT(stats().preemptions, before);
  });
}

}  // namespace
}  // namespace gort
