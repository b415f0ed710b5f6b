// Memory that the kernel refuses: stacks, guards, timers.
#include <atomic>
#include <chrono>
#include <optional>
#include <vector>

#include "fault_test.hpp"
#include "gort/gort.hpp"

namespace gort::faults {
namespace {

using namespace std::chrono_literals;

class Memory : public FaultTest {};

constexpr Rule kNoMemory{Call::map, always(), fail(ENOMEM)};

// Spawns until it is refused.
void fill(std::vector<task<int>>& tasks, chan<int>& gate) {
  constexpr size_t kMany = 2000;  // more than a slab has
  while (tasks.size() < kMany) {
    tasks.push_back(spawn([gate] { return gate.recv() ? 0 : 1; }));
  }
}

TEST_F(Memory, SpawnThrowsAndWhatLivesLivesOn) {
  for (const int procs : {1, 2}) {
    run(options{.procs = procs}, [&] {
      chan<int> gate;
      std::vector<task<int>> tasks;
      Armed armed({kNoMemory});
      try {
        fill(tasks, gate);
        ADD_FAILURE() << "nothing was refused";
      } catch (const std::system_error& e) {
        EXPECT_EQ(e.code(), std::errc::not_enough_memory);
        EXPECT_EQ(std::string(e.what()).find("gort: no memory for a fiber's stack"), 0U)
            << e.what();
      }
      EXPECT_THROW(go([] {}), std::system_error);
      EXPECT_GT(tasks.size(), 100U);
      EXPECT_GT(armed.fired(), 0U);
      EXPECT_EQ(num_fibers(), tasks.size() + 1);
      armed.disarm();
      tasks.push_back(spawn([gate] { return gate.recv() ? 0 : 1; }));  // memory is back
      gate.close();
      size_t sum = 0;
      for (auto& t : tasks) sum += static_cast<size_t>(t.get());
      EXPECT_EQ(sum, tasks.size());
    });
  }
  expect_nothing_left("no memory for stacks");
}

TEST_F(Memory, AThreadIsRefusedToo) {
  runtime rt(options{.procs = 1});
  Armed armed({kNoMemory});
  EXPECT_THROW((void)rt.spawn([] {}), std::system_error);
  armed.disarm();
  EXPECT_EQ(rt.run([] { return 3; }), 3);
}

// The first stack of a size makes a pool. A pool that got no memory must not be kept.
TEST_F(Memory, AnotherSizeOfStackIsRefusedOnce) {
  run([] {
    const attrs small{.stack_size = 64 * 1024};
    Armed armed({kNoMemory});
    EXPECT_THROW((void)spawn(small, [] {}), std::system_error);
    armed.disarm();
    EXPECT_EQ(spawn(small, [] { return 5; }).get(), 5);
  });
  expect_nothing_left("another size of stack");
}

// T4. A heap of timers that can not grow: none is lost, none fires early, stops reach the sleepers.
TEST_F(Memory, TimersNeedNone) {
  run(options{.procs = 1}, [] {
    constexpr int kSleepers = 700;  // more than two sizes of the heap
    chan<int> gate;
    std::atomic<int> early_ones{0};
    std::vector<task<void>> tasks;
    for (int i = 0; i < kSleepers; ++i) {
      tasks.push_back(spawn([&, i] {
        (void)gate.recv();
        const auto until =
            std::chrono::steady_clock::now() + std::chrono::microseconds(i * 37 % 5000);
        sleep_until(i % 7 == 0 ? until + 1h : until);
        if (std::chrono::steady_clock::now() < until) early_ones.fetch_add(1);
      }));
    }
    yield();
    Armed armed({kNoMemory});
    gate.close();
    yield();
    for (int i = 0; i < kSleepers; i += 7) tasks[static_cast<size_t>(i)].request_stop();
    // Half of them without memory, the rest when it is there again.
    for (int i = 0; i < kSleepers / 2; ++i) tasks[static_cast<size_t>(i)].join();
    armed.disarm();
    EXPECT_GT(armed.fired(), 0U);
    sleep_for(1ms);
    for (auto& t : tasks) t.join();
    EXPECT_EQ(early_ones, 0);
  });
  expect_nothing_left("timers");
}

TEST_F(Memory, GuardsAreDoneWithout) {
  for (const int error : {EINVAL, ENOMEM}) {
    run([&] {
      testing::internal::CaptureStderr();
      Armed armed({{Call::guard, always(), fail(error)}, {Call::protect, always(), fail(ENOMEM)}});
      std::vector<task<void>> tasks;
      for (int i = 0; i < 600; ++i) tasks.push_back(spawn([] { yield(); }));
      for (auto& t : tasks) t.join();
      armed.disarm();
      (void)testing::internal::GetCapturedStderr();  // the warning is given once in a process
      EXPECT_GT(armed.fired(0), 0U);
      EXPECT_GT(armed.fired(1), 0U);
      EXPECT_STREQ(stats().guard, "none");
    });
  }
  expect_nothing_left("no guards");
}

}  // namespace
}  // namespace gort::faults
