// fiber_local: each fiber's own, made once, destroyed at its end (LO1, LO2 in locals.cpp).
#include "sched/locals.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "gort/fiber_local.hpp"
#include "gort/spawn.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

class FiberLocal : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(FiberLocal);

// Counts those that are there, and notes where they end.
struct Counted {
  static inline std::atomic<int> alive{0};
  static inline std::atomic<uint64_t> ended_on{0};
  int value = 7;
  Counted() { ++alive; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  ~Counted() {
    ended_on = this_fiber::id();
    --alive;
  }
};

TEST_P(FiberLocal, EachFiberHasItsOwn) {
  static const fiber_local<Counted> own;
  in_fibers([] {
    std::vector<task<void>> tasks;
    for (int i = 0; i < 50; ++i) {
      tasks.push_back(spawn([i] {
        EXPECT_EQ(own->value, 7);
        own->value = i;
        Counted* const mine = &own.get();
        for (int k = 0; k < 20; ++k) {
          yield();
          ASSERT_EQ((*own).value, i);
          ASSERT_EQ(&*own, mine);
        }
      }));
    }
    for (auto& t : tasks) t.join();
    EXPECT_EQ(Counted::alive, 0) << "gone before their joins returned";
    EXPECT_EQ(own->value, 7);
  });
  EXPECT_EQ(Counted::alive, 0);
}

TEST_P(FiberLocal, EndsOnItsFiber) {
  static const fiber_local<Counted> own;
  in_fibers([] {
    auto t = spawn([] { own->value = 1; });
    const uint64_t id = t.id();
    t.join();
    EXPECT_EQ(Counted::ended_on, id);
    go([] {
      own->value = 1;
      throw stopped();
    });
    test::until([] { return num_fibers() == 1; });
    EXPECT_EQ(Counted::alive, 0);
  });
}

// LO2.
TEST_P(FiberLocal, TheLastGoesFirstAndMayWaitAndAskForOthers) {
  static std::string order;
  struct First {
    ~First() { order += "first "; }
    int value = 1;
  };
  static const fiber_local<First> first;
  struct Middle {
    ~Middle() {
      yield();
      order += "middle ";
      first->value = 2;
    }
    int value = 1;
  };
  static const fiber_local<Middle> middle;
  static const fiber_local<Counted> other;
  struct Late {
    ~Late() {
      order += "late ";
      middle->value = 3;  // there
      other->value = 1;   // made now, and destroyed
    }
    int value = 1;
  };
  static const fiber_local<Late> late;
  in_fibers([] {
    order.clear();
    spawn([] {
      first->value = 1;
      middle->value = 1;
      late->value = 1;
    }).join();
    EXPECT_EQ(order, "late middle first ");
    EXPECT_EQ(Counted::alive, 0);
  });
}

// LO1: more than have a place at once, made and ended in any order.
TEST_P(FiberLocal, ManyComeAndGo) {
  in_fibers([] {
    std::vector<std::unique_ptr<fiber_local<int>>> all(200);
    for (int round = 0; round < 20; ++round) {
      for (size_t i = 0; i < all.size(); ++i) {
        if ((i * 7 + static_cast<size_t>(round)) % 3 != 0) continue;
        all[i] = std::make_unique<fiber_local<int>>();
        EXPECT_EQ(**all[i], 0);
        **all[i] = static_cast<int>(i);
      }
      for (size_t i = 0; i < all.size(); ++i) {
        if (all[i] == nullptr) continue;
        ASSERT_EQ(**all[i], static_cast<int>(i));
      }
    }
    const fiber_local<Counted> here;
    {
      const fiber_local<Counted> gone;
      EXPECT_EQ(gone->value + here->value, 14);
    }
    EXPECT_EQ(Counted::alive, 1) << "this fiber's value ends with its fiber_local";
    auto t = spawn([] {
      auto local = std::make_unique<fiber_local<Counted>>();
      spawn([&] { (*local)->value = 1; }).join();
      (*local)->value = 2;
    });
    t.join();
    EXPECT_EQ(Counted::alive, 1);
  });
}

TEST_P(FiberLocal, MadeByAFunctionThatMayThrow) {
  in_fibers([] {
    int calls = 0;
    const fiber_local<std::unique_ptr<int>> own([&] {
      if (++calls == 1) throw std::runtime_error("not yet");
      yield();
      return std::make_unique<int>(calls);
    });
    EXPECT_THROW((void)*own, std::runtime_error);
    EXPECT_EQ(**own, 2);
    EXPECT_EQ(**own, 2);
    spawn([&] { EXPECT_EQ(**own, 3); }).join();
    EXPECT_EQ(**own, 2);
  });
}

TEST_P(FiberLocal, OnThreadsItIsTheThreads) {
  static const fiber_local<Counted> own;
  own->value = 8;
  std::thread([] {
    EXPECT_EQ(own->value, 7);
    own->value = 9;
    EXPECT_EQ(own->value, 9);
    EXPECT_EQ(Counted::alive, 2);
  }).join();
  EXPECT_EQ(Counted::alive, 1);
  in_fibers([] { EXPECT_EQ(own->value, 7); });
  EXPECT_EQ(own->value, 8) << "the thread that has called run() has its own again";
  EXPECT_EQ(Counted::alive, 1);
  detail::end_locals();
  EXPECT_EQ(Counted::alive, 0);
}

// Also what is made by a destructor of the thread's that comes behind those of before.
TEST(FiberLocalOnThreads, WhatIsMadeAtTheirEndEndsWithThem) {
  struct Counted {
    static int& alive() {
      static int n = 0;
      return n;
    }
    Counted() { ++alive(); }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    ~Counted() { --alive(); }
  };
  static const fiber_local<Counted> mine;
  static int made = 0;
  struct Last {
    ~Last() {
      (void)mine.get();
      made += Counted::alive();
    }
  };
  for (int i = 1; i <= 3; ++i) {
    std::thread([] {
      thread_local const Last last;  // made before anything of gort's, so it ends behind that
      (void)mine.get();
    }).join();
    EXPECT_EQ(made, i);
    EXPECT_EQ(Counted::alive(), 0);
  }
}

}  // namespace
}  // namespace gort
