// go, spawn and task: values, exceptions, arguments, life time.
#include "gort/spawn.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "gort/blocking.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;

class Spawn : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(Spawn);

TEST_P(Spawn, GetReturnsTheValue) {
  in_fibers([] {
    EXPECT_EQ(spawn([] { return 1; }).get(), 1);
    EXPECT_EQ(spawn([](int a, int b) { return a * b; }, 6, 7).get(), 42);
    EXPECT_EQ(spawn([] { return std::string(1000, 'x'); }).get(), std::string(1000, 'x'));
    spawn([] {}).get();
    int n = 0;
    int& ref = spawn([&n]() -> int& { return n; }).get();
    EXPECT_EQ(&ref, &n);
  });
}

TEST_P(Spawn, GetRethrowsAndJoinDoesNot) {
  in_fibers([] {
    auto t = spawn([]() -> int { throw std::out_of_range("there"); });
    t.join();
    EXPECT_TRUE(t.done());
    try {
      t.get();
      ADD_FAILURE() << "nothing was thrown";
    } catch (const std::out_of_range& e) {
      EXPECT_STREQ(e.what(), "there");
    }
    EXPECT_FALSE(t.joinable());
    {
      auto dropped = spawn([] { throw std::runtime_error("dropped by the destructor"); });
    }
    auto v = spawn([] { throw 3; });
    EXPECT_THROW(v.get(), int);
  });
}

TEST_P(Spawn, ATaskWithoutAFiberSaysSo) {
  in_fibers([] {
    task<int> t;
    EXPECT_FALSE(t.joinable());
    EXPECT_THROW(t.join(), std::logic_error);
    EXPECT_THROW(t.get(), std::logic_error);
    EXPECT_THROW((void)t.done(), std::logic_error);
    EXPECT_THROW(t.detach(), std::logic_error);
    EXPECT_THROW(t.request_stop(), std::logic_error);
    t = spawn([] { return 2; });
    EXPECT_EQ(t.get(), 2);
    EXPECT_THROW(t.get(), std::logic_error);
  });
}

TEST_P(Spawn, TasksMove) {
  in_fibers([] {
    auto a = spawn([] { return 1; });
    auto b = std::move(a);
    EXPECT_FALSE(a.joinable());  // NOLINT(bugprone-use-after-move): it is what is tested
    EXPECT_EQ(b.get(), 1);
    // Assignment ends what was there.
    bool stop_seen = false;
    auto c = spawn([&stop_seen] {
      try {
        sleep_for(1h);
      } catch (const stopped&) {
        stop_seen = true;
      }
    });
    c = spawn([] {});
    EXPECT_TRUE(stop_seen);
    c.join();
  });
}

TEST_P(Spawn, TheDestructorStopsAndJoins) {
  in_fibers([] {
    std::atomic<bool> ended{false};
    {
      auto t = spawn([&ended] {
        try {
          sleep_for(1h);
        } catch (const stopped&) {
          yield();
          ended.store(true);
          throw;
        }
      });
    }
    EXPECT_TRUE(ended.load());
  });
}

// B2: the handle goes first, and the fiber's own end recycles its slot.
TEST_P(Spawn, ADetachedFiberGoesOn) {
  in_fibers([] {
    std::atomic<bool> go_on{false};
    std::atomic<bool> ended{false};
    {
      auto t = spawn([&] {
        test::until([&] { return go_on.load(); });
        ended.store(true);
      });
      t.detach();
      EXPECT_FALSE(t.joinable());
    }
    EXPECT_FALSE(ended.load());
    go_on.store(true);
    test::until([&] { return ended.load(); });
    test::until([] { return num_fibers() == 1; });
  });
}

TEST_P(Spawn, AJoinMayHaveALimit) {
  const auto joins = [] {
    std::atomic<bool> go_on{false};
    auto t = spawn([&go_on] {
      while (!go_on) yield();
      return 7;
    });
    EXPECT_FALSE(t.join_for(0s));
    EXPECT_FALSE(t.join_for(1ms));
    const auto when = std::chrono::steady_clock::now() + 1ms;
    EXPECT_FALSE(t.join_until(when));
    EXPECT_GE(std::chrono::steady_clock::now(), when);
    EXPECT_FALSE(t.join_until(std::chrono::system_clock::now() + 1ms));
    EXPECT_FALSE(t.done());
    go_on = true;
    EXPECT_TRUE(t.join_for(std::chrono::hours::max()));
    EXPECT_TRUE(t.join_for(0s));
    EXPECT_EQ(t.get(), 7);
    EXPECT_THROW((void)t.join_for(0s), std::logic_error);
    auto let_go = spawn([] { yield(); });
    (void)let_go.join_for(1us);
    let_go.detach();
  };
  in_fibers([&] {
    joins();
    blocking([&] { joins(); });
    blocking([&] { std::thread(joins).join(); });
  });
}

TEST_P(Spawn, AJoinWithALimitHearsOfARequest) {
  in_fibers([] {
    std::atomic<bool> go_on{false};
    auto never = spawn([&go_on] {
      while (!go_on) yield();
    });
    bool threw = false;
    auto joins = spawn([&] {
      try {
        (void)never.join_for(1h);
      } catch (const stopped&) {
        threw = true;
      }
    });
    for (int i = 0; i < 10; ++i) yield();
    joins.request_stop();
    joins.join();
    EXPECT_TRUE(threw);
    go_on = true;
    never.join();
  });
}

TEST_P(Spawn, AFiberCannotJoinItself) {
  in_fibers([] {
    std::optional<task<void>> own;
    std::atomic<bool> there{false};
    own = spawn([&] {
      test::until([&] { return there.load(); });
      try {
        own->join();
        ADD_FAILURE() << "joined itself";
      } catch (const std::system_error& e) {
        EXPECT_EQ(e.code(), std::errc::resource_deadlock_would_occur);
      }
    });
    there.store(true);
    own->get();
  });
}

TEST_P(Spawn, ASecondJoinerIsAMistake) {
  in_fibers([] {
    auto t = spawn([] { sleep_for(1h); });
    // Whoever comes first waits; the other one is told, and ends the wait of the first.
    std::atomic<int> mistakes{0};
    const auto joiner = [&t, &mistakes] {
      try {
        t.join();
      } catch (const std::logic_error&) {
        ++mistakes;
        t.request_stop();
      }
    };
    auto one = spawn(joiner);
    auto other = spawn(joiner);
    one.join();
    other.join();
    EXPECT_EQ(mistakes.load(), 1);
  });
}

TEST_P(Spawn, TakesMoveOnlyArgumentsAndReferences) {
  in_fibers([] {
    auto p = std::make_unique<int>(7);
    EXPECT_EQ(*spawn([](std::unique_ptr<int> q) { return q; }, std::move(p)).get(), 7);
    int n = 0;
    spawn([](int& i) { i = 5; }, std::ref(n)).get();
    EXPECT_EQ(n, 5);
    struct Counter {
      int n = 0;
      int add(int by) { return n += by; }
    } counter;
    EXPECT_EQ(spawn(&Counter::add, &counter, 3).get(), 3);
    EXPECT_EQ(counter.n, 3);
    std::atomic<int> seen{0};
    go([&seen, q = std::make_unique<int>(9)] { seen.store(*q); });
    test::until([&] { return seen.load() == 9; });
  });
}

template <size_t bytes>
void big_payload() {
  std::array<char, bytes> data{};
  data.front() = 'a';
  data.back() = 'z';
  const auto result = spawn([data] { return data; }).get();
  EXPECT_EQ(result.front(), 'a');
  EXPECT_EQ(result.back(), 'z');
  std::atomic<int> seen{0};
  go([data, &seen] { seen.store(data.back()); });
  test::until([&] { return seen.load() == 'z'; });
}

TEST_P(Spawn, PayloadsOfAnySizeFit) {
  in_fibers([] {
    big_payload<2>();
    big_payload<64>();
    big_payload<1000>();
    big_payload<2000>();
    big_payload<2048>();
    big_payload<2100>();
    big_payload<20'000>();
  });
}

TEST_P(Spawn, PayloadsAreAligned) {
  in_fibers([] {
    struct alignas(128) Wide {
      char c[128] = {};
    };
    const Wide w;
    EXPECT_TRUE(spawn([w] { return reinterpret_cast<uintptr_t>(&w) % 128 == 0; }).get());
  });
}

struct Counted {
  std::shared_ptr<int> token;
};

TEST_P(Spawn, FunctionsArgumentsAndResultsAreDestroyed) {
  in_fibers([] {
    const auto token = std::make_shared<int>(0);
    for (int i = 0; i < 100; ++i) {
      spawn([token] { return Counted{token}; }).get();
      {
        auto dropped = spawn([token] { return Counted{token}; });
      }
      spawn([token] { return Counted{token}; }).detach();
      go([token] {});
      auto thrown = spawn([token]() -> Counted { throw Counted{token}; });
      thrown.join();
      EXPECT_THROW(thrown.get(), Counted);
    }
    test::until([] { return num_fibers() == 1; });
    EXPECT_EQ(token.use_count(), 1);
  });
}

struct ThrowsOnCopy {
  ThrowsOnCopy() = default;
  ThrowsOnCopy(const ThrowsOnCopy&) { throw std::runtime_error("copy"); }
};

TEST_P(Spawn, AThrowingCopyStartsNothing) {
  in_fibers([] {
    const ThrowsOnCopy bad;
    for (int i = 0; i < 200; ++i) {  // more than a P keeps, so that a leak would show
      EXPECT_THROW(go([](const ThrowsOnCopy&) {}, bad), std::runtime_error);
      EXPECT_THROW((void)spawn([](const ThrowsOnCopy&) {}, bad), std::runtime_error);
    }
    EXPECT_EQ(num_fibers(), 1U);
  });
}

// A result may need to wait to be destroyed, also when nobody asks for it: a task inside a task.
// B5: by the fiber's end, and by the handle.
TEST_P(Spawn, AForgottenResultMayWaitInItsDestructor) {
  in_fibers([] {
    std::atomic<int> inner_stopped{0};
    for (int i = 0; i < 20; ++i) {
      spawn([&inner_stopped] {
        return spawn([&inner_stopped] {
          try {
            sleep_for(1h);
          } catch (const stopped&) {
            yield();
            inner_stopped.fetch_add(1);
          }
        });
      }).detach();
      auto joined = spawn([&inner_stopped] {
        return spawn([&inner_stopped] {
          try {
            sleep_for(1h);
          } catch (const stopped&) {
            yield();
            inner_stopped.fetch_add(1);
          }
        });
      });
      joined.join();
    }
    test::until([&] { return inner_stopped.load() == 40; });
    test::until([] { return num_fibers() == 1; });
  });
}

TEST_P(Spawn, ForeignThreadsMayJoin) {
  in_fibers([] {
    auto a = spawn([] { return 3; });
    auto b = spawn([] {
      sleep_for(2ms);
      return 4;
    });
    const int sum = blocking([&] {
      int n = 0;
      std::thread([&] { n = a.get() + b.get(); }).join();
      return n;
    });
    EXPECT_EQ(sum, 7);
  });
}

TEST_P(Spawn, NamesAndStacks) {
  in_fibers([] {
    EXPECT_EQ(this_fiber::name(), "main");
    spawn(attrs{.name = "reader"}, [] {
      EXPECT_EQ(this_fiber::name(), "reader");
      this_fiber::name("a name that is much longer than thirty-one bytes");
      EXPECT_EQ(this_fiber::name(), "a name that is much longer than");
      this_fiber::name(std::string("cut\0here", 8));
      EXPECT_EQ(this_fiber::name(), "cut");
      this_fiber::name("");
      EXPECT_EQ(this_fiber::name(), "");
    }).get();
    std::atomic<bool> named{false};
    go(attrs{.name = "gone"}, [&named] { named.store(this_fiber::name() == "gone"); });
    test::until([&] { return named.load(); });
    spawn([] { EXPECT_EQ(this_fiber::name(), ""); }).get();  // no name is inherited or left over
  });
}

// Uses about `bytes` of stack.
__attribute__((noinline)) size_t deep(size_t bytes) {
  volatile char frame[1024];
  frame[0] = 1;
  const size_t below = bytes > sizeof frame ? deep(bytes - sizeof frame) : 0;
  return below + static_cast<size_t>(frame[0]);
}

TEST_P(Spawn, AStackIsAsBigAsAskedFor) {
  in_fibers([] {
    constexpr size_t kMiB = size_t{1} << 20;
    constexpr size_t kGiB = size_t{1} << 30;
    const size_t use = test::kSanitizers ? kMiB / 4 : kMiB - 64 * 1024;
    EXPECT_GT(spawn(attrs{.stack_size = kMiB}, deep, use).get(), 0U);
    std::vector<task<size_t>> tasks;
    for (const size_t bytes : {size_t{16} << 10, size_t{64} << 10, kMiB, 8 * kMiB}) {
      for (int i = 0; i < 3; ++i) {
        tasks.push_back(spawn(attrs{.stack_size = bytes}, [bytes] {
          yield();
          return deep(bytes / 8);
        }));
      }
    }
    for (auto& t : tasks) EXPECT_GT(t.get(), 0U);
    for (const size_t bytes : {kGiB + 1, size_t{1} << 40, (size_t{1} << 63) + 1, SIZE_MAX}) {
      EXPECT_THROW((void)spawn(attrs{.stack_size = bytes}, [] {}), std::invalid_argument);
      EXPECT_THROW(go(attrs{.stack_size = bytes}, [] {}), std::invalid_argument);
    }
    EXPECT_EQ(spawn(attrs{.stack_size = 1}, [] { return 2; }).get(), 2);
  });
}

TEST_P(Spawn, ManyFibersAtOnce) {
  in_fibers([] {
    constexpr int kMany = test::many(20'000);
    std::vector<task<int>> tasks;
    std::atomic<bool> go_on{false};
    tasks.reserve(kMany);
    for (int i = 0; i < kMany; ++i) {
      tasks.push_back(spawn([&go_on, i] {
        while (!go_on.load()) sleep_for(1ms);
        return i;
      }));
    }
    go_on.store(true);
    for (int i = 0; i < kMany; ++i) ASSERT_EQ(tasks[static_cast<size_t>(i)].get(), i);
  });
}

TEST_P(Spawn, IdsAreUnique) {
  in_fibers([] {
    std::vector<task<uint64_t>> tasks;
    for (int i = 0; i < test::many(1000); ++i) {
      tasks.push_back(spawn([] { return this_fiber::id(); }));
    }
    std::vector<uint64_t> ids{this_fiber::id()};
    for (auto& t : tasks) {
      const uint64_t id = t.id();
      ids.push_back(t.get());
      EXPECT_EQ(ids.back(), id);
    }
    std::sort(ids.begin(), ids.end());
    EXPECT_EQ(std::adjacent_find(ids.begin(), ids.end()), ids.end());
    EXPECT_GT(ids.front(), 0U);
  });
}

}  // namespace
}  // namespace gort
