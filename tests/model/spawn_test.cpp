// Models of birth and end (B1 to B5 in spawn.cpp and census.hpp), on the shipped spawn.cpp, pools.cpp and
// stack.cpp: who recycles a slot, who destroys what a task leaves behind, and whether the last end
// is seen, by stop_all() too.
#include "gort/spawn.hpp"

#include <gtest/gtest.h>

#include "gort/detail/fiber.hpp"
#include "gort/fiber.hpp"
#include "gort/run.hpp"
#include "port/machine.hpp"
#include "port/port.hpp"
#include "sched/pools.hpp"
#include "sched/stop.hpp"
#include "support.hpp"

namespace gort {
namespace {

using model::check;
using model::Event;
using model::Thread;
using model::var;

constexpr attrs kOn0{.name = "0"};
constexpr attrs kOn1{.name = "1"};

// A wait that a stop request alone ends.
void wait_to_be_stopped() {
  detail::sleep_until_ns(kNever - 1);
}

// What a task leaves behind: its end races with whoever still reads it, and comes once.
struct Left {
  explicit Left(int* ends) : ends(ends) {}
  Left(Left&& o) noexcept : ends(std::exchange(o.ends, nullptr)) { value = int{o.value}; }
  ~Left() {
    if (ends != nullptr) ++*ends;
  }
  int* ends;
  var<int> value = 7;
};

// B2, B3, B5: a joiner on another machine, who reads the result and lets go.
void join_and_end() {
  ModelRuntime runtime(2);
  int ends = 0;
  Event over;
  go(kOn0, [&] {
    {
      task<Left> t = spawn(kOn1, [&] { return Left(&ends); });
      t.join();
      check(t.done(), "joined");
      const Left left = t.get();
      check(left.value == 7, "the result is there");
    }
    over.set();
  });
  over.wait();
  runtime.close();
  check(ends == 1, "B5");
}

// B2, where the slot is used again at once, by whoever finds it in his drawer.
void end_and_reborn() {
  ModelRuntime runtime(2);
  Event over[2];
  go(kOn0, [&] {
    spawn(kOn1, [&] { go(kOn1, [&] { over[1].set(); }); }).detach();
    go(kOn0, [&] { over[0].set(); });
  });
  over[0].wait();
  over[1].wait();
}

// B3: a stop request takes the joiner out, while the fiber that it waits for ends.
void stop_a_joiner() {
  ModelRuntime runtime(2);
  int ends = 0;
  Event over;
  task<void> joiner = spawn(kOn0, [&] {
    {
      task<Left> t = spawn(kOn1, [&] { return Left(&ends); });
      try {
        t.join();
        check(t.done(), "joined");
      } catch (const stopped&) {
      }
    }
    over.set();
  });
  joiner.request_stop();
  joiner.detach();
  over.wait();
  runtime.close();
  check(ends == 1, "B5");
}

// B5: what the handle's owner has read is not destroyed before.
void let_go_of_a_payload() {
  ModelRuntime runtime(2);
  using Payload = var<int>;
  const detail::new_fiber f = detail::fiber_create(&kOn1, sizeof(Payload), alignof(Payload));
  auto* payload = new (f.payload) Payload(7);
  detail::fiber_start_joinable(
      f.g, [](void*) {}, [](void* p) { static_cast<Payload*>(p)->~Payload(); });
  check(*payload == 7, "there until we let go");
  detail::fiber_release(f.g);
}

// Two requests end one wait: the second does not end the next one.
void asked_twice() {
  ModelRuntime runtime(2);
  Event over;
  int times = 0;
  task<void> t = spawn(kOn0, [&] {
    try {
      wait_to_be_stopped();
    } catch (const stopped&) {
      ++times;
    }
    try {
      spawn(kOn1, [] {}).join();
    } catch (const stopped&) {
      ++times;
    }
    over.set();
  });
  Thread other([&] { t.request_stop(); });
  t.request_stop();
  other.join();
  t.detach();
  over.wait();
  check(times == 1, "one wait is stopped, whatever the number of requests");
}

// A pool that is made while another thread makes it too, and while a walk goes over all pools.
void pools_on_first_use() {
  ModelRuntime runtime(2);
  static constexpr size_t kBytes = 2 * StackPool::kDefaultStackBytes;
  for (const char* on : {"0", "1"}) {
    go(attrs{.name = on}, [on] { go(attrs{.name = on, .stack_size = kBytes}, [] {}); });
  }
  stop_all();
  runtime.wait_for_exit();
}

// A walk over all pools while one is made.
void pool_and_walk() {
  ModelRuntime runtime(1);
  Event over;
  go(kOn0, [&] {
    for_each_slot([](std::byte*) {});
    over.set();
  });
  go(attrs{.name = "0", .stack_size = 2 * StackPool::kDefaultStackBytes}, [] {});
  over.wait();
}

// B3: the handle is let go while the fiber ends.
void detach_and_end() {
  ModelRuntime runtime(2);
  int ends = 0;
  Event over[2];
  go(kOn0, [&] {
    task<Left> t = spawn(kOn1, [&] {
      over[1].set();
      return Left(&ends);
    });
    t.detach();
    over[0].set();
  });
  over[0].wait();
  over[1].wait();
  runtime.close();
  check(ends == 1, "B5");
}

// S2 for births (launch() in spawn.cpp): a fiber that is born while all are asked to stop hears of
// it, in a slot that is new.
void born_while_all_stop() {
  ModelRuntime runtime(2);
  bool all[2] = {};
  go(kOn0, [&] {
    go(kOn1, [&] {
      go(kOn1, [&] {
        all[0] = true;
        wait_to_be_stopped();
      });
      all[1] = true;
      wait_to_be_stopped();
    });
    stop_all();
  });
  runtime.wait_for_exit();
  check(all[0] && all[1], "B4: who is spawned runs, and ends before the runtime does");
}

// The same in a slot that has been used: its G may be marked, and be dead while it is.
void reborn_while_all_stop() {
  ModelRuntime runtime(1);
  bool ran = false;
  go(kOn0, [&] {
    go(kOn0, [&] {
      go(kOn0, [&] {  // in the first one's slot
        ran = true;
        wait_to_be_stopped();
      });
    });
  });
  stop_all();  // as a runtime's destructor does
  runtime.wait_for_exit();
  check(ran, "B4");
}

// The same in a slot whose last fiber was asked to stop by its handle: its flag is still set when all are asked.
void reborn_after_a_request() {
  ModelRuntime runtime(1);
  go(kOn0, [&] {
    {
      task<void> t = spawn(kOn0, [] { wait_to_be_stopped(); });
      t.request_stop();
    }
    go(kOn0, [] { wait_to_be_stopped(); });
  });
  stop_all();
  runtime.wait_for_exit();
}

// A task that ends while it is asked to stop, by its handle and with all others; then its slot is
// used again.
void end_while_asked() {
  ModelRuntime runtime(2);
  Event over;
  go(kOn0, [&] {
    task<void> t = spawn(kOn1, [] {});
    t.request_stop();
    t.detach();
    over.set();
  });
  over.wait();
  stop_all();
  runtime.wait_for_exit();
}

// B4: the last end is seen, and no other is taken for it, while fibers are born on both machines.
void last_end() {
  ModelRuntime runtime(2);
  int ended = 0;
  go(kOn0, [&] {
    go(kOn1, [&] {
      go(kOn0, [&] { ++ended; });
      ++ended;
    });
    stop_all();
    ++ended;
  });
  runtime.wait_for_exit();
  check(ended == 3, "B4: nobody is left");
}

// B4 for a thread that is no M: its fiber is counted, or it hears that the runtime is ending.
void foreign_birth() {
  ModelRuntime runtime(1);
  bool ran = false;
  bool refused = false;
  Thread foreign([&] {
    try {
      go(kOn0, [&] { ran = true; });
    } catch (const std::logic_error&) {
      refused = true;
    }
  });
  go(kOn0, [&] { stop_all(); });
  runtime.wait_for_exit();
  foreign.join();
  check(ran != refused, "B4: spawned or refused");
}

// A fiber that is not started after all, because what it is to run can not be moved in.
struct Unmovable {
  Unmovable() = default;
  Unmovable(const Unmovable&) { throw 1; }
  void operator()() const {}
};
void foreign_birth_abandoned() {
  ModelRuntime runtime(1);
  Thread foreign([&] {
    const Unmovable f;
    try {
      go(kOn0, f);
      check(false, "it throws");
    } catch (int) {
    } catch (const std::logic_error&) {
    }
  });
  go(kOn0, [&] { stop_all(); });
  runtime.wait_for_exit();
  foreign.join();
}

// B1: slots that go through drawers and pool, on two machines.
void drawers() {
  ModelRuntime runtime(2);
  int left = 8;
  Event over;
  const auto end = [&] {
    if (--left == 0) over.set();
  };
  for (const attrs& on : {kOn0, kOn1}) {
    go(on, [&end, on] {
      for (int i = 0; i < 3; ++i) go(on, end);
      end();
    });
  }
  over.wait();
}

// A stop request that comes while the fiber asks for its token for the first time: the token knows.
void token_and_request() {
  ModelRuntime runtime(2);
  Event over;
  bool knows = false;
  go(kOn0, [&] {
    std::stop_token token;
    {
      task<void> t = spawn(kOn1, [&] { token = this_fiber::stop_token(); });
      t.request_stop();
      t.join();
      knows = token.stop_requested();
    }
    over.set();
  });
  over.wait();
  check(knows, "the token knows of the request");
}

// What is too big for all its runs, or for more preemptions, goes further at random.
void expect_right_at_random(const std::function<void()>& program) {
  const uint64_t runs = test::kSanitizers ? 100 : 1'000;
  const model::Result r = model::explore({.random_runs = runs, .seed = 1}, program);
  EXPECT_FALSE(r.failed) << r;
}

TEST(SpawnModel, JoinAndEnd) {
  expect_right({.preemptions = 1}, join_and_end);
  expect_right_at_random(join_and_end);
}
TEST(SpawnModel, DetachAndEnd) {
  expect_right({.preemptions = 1}, detach_and_end);
  expect_right_at_random(detach_and_end);
}
TEST(SpawnModel, EndAndReborn) {
  expect_right({.preemptions = 1}, end_and_reborn);
  expect_right_at_random(end_and_reborn);
}
TEST(SpawnModel, StopAJoiner) {
  expect_right_at_random(stop_a_joiner);
}
TEST(SpawnModel, LetGoOfAPayload) {
  expect_right({.preemptions = 1}, let_go_of_a_payload);
}
TEST(SpawnModel, AskedTwice) {
  expect_right_at_random(asked_twice);
}
TEST(SpawnModel, PoolsOnFirstUse) {
  expect_right_at_random(pools_on_first_use);
}
TEST(SpawnModel, PoolAndWalk) {
  expect_right({.preemptions = 1}, pool_and_walk);
}
TEST(SpawnModel, BornWhileAllStop) {
  expect_right_at_random(born_while_all_stop);
}
TEST(SpawnModel, RebornAfterARequest) {
  expect_right_at_random(reborn_after_a_request);
}
TEST(SpawnModel, RebornWhileAllStop) {
  expect_right_at_random(reborn_while_all_stop);
}
TEST(SpawnModel, EndWhileAsked) {
  expect_right_at_random(end_while_asked);
}
TEST(SpawnModel, LastEnd) {
  expect_right_at_random(last_end);
}
TEST(SpawnModel, ForeignBirth) {
  expect_right_at_random(foreign_birth);
}
TEST(SpawnModel, ForeignBirthAbandoned) {
  expect_right_at_random(foreign_birth_abandoned);
}
TEST(SpawnModel, Drawers) {
  expect_right_at_random(drawers);
}
TEST(SpawnModel, TokenAndRequest) {
  expect_right_at_random(token_and_request);
}

TEST(SpawnModel, Mutants) {
  expect_mutants_die({"spawn.cpp", "spawn.hpp", "census.cpp", "census.hpp", "pools.cpp", "stop.cpp",
                      "p.hpp", "port.cpp"},
                     {{{.random_runs = 300}, join_and_end},
                      {{.random_runs = 300}, detach_and_end},
                      {{.random_runs = 300}, end_and_reborn},
                      {{.random_runs = 300}, stop_a_joiner},
                      {{.random_runs = 300}, let_go_of_a_payload},
                      {{.random_runs = 1'000}, asked_twice},
                      {{.random_runs = 300}, pools_on_first_use},
                      {{.preemptions = 1}, pool_and_walk},
                      {{.random_runs = 1500}, born_while_all_stop},
                      {{.random_runs = 2000}, reborn_while_all_stop},
                      {{.random_runs = 1500}, end_while_asked},
                      {{.random_runs = 300}, reborn_after_a_request},
                      {{.random_runs = 1500}, last_end},
                      {{.random_runs = 300}, foreign_birth},
                      {{.random_runs = 300}, foreign_birth_abandoned},
                      {{.random_runs = 100}, drawers},
                      {{.random_runs = 300}, token_and_request}});
}

}  // namespace
}  // namespace gort
