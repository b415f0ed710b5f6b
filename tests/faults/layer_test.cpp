// The layer itself: it sees what gort asks for, and fails exactly what it was told to.
#include <unistd.h>

#include <cerrno>

#include "fault_test.hpp"
#include "os/linux/internal.hpp"
#include "os/os.hpp"

namespace gort::faults {
namespace {

TEST(Layer, PassesOnWhileNothingIsArmed) {
  void* page = os::mem_map(4096);
  ASSERT_NE(page, nullptr);
  os::mem_unmap(page, 4096);
}

TEST(Layer, FailsTheNthCallOnce) {
  Armed armed({{Call::map, nth(2), fail(ENOMEM)}});
  void* first = os::mem_map(4096);
  EXPECT_NE(first, nullptr);
  EXPECT_EQ(os::mem_map(4096), nullptr);
  void* third = os::mem_map(4096);
  EXPECT_NE(third, nullptr);
  EXPECT_EQ(armed.fired(), 1U);
  EXPECT_EQ(armed.seen(Call::map), 3U);
  armed.disarm();
  os::mem_unmap(first, 4096);
  os::mem_unmap(third, 4096);
}

TEST(Layer, ChancesComeFromTheSeed) {
  const auto draw = [](uint64_t seed) {
    Armed armed({{Call::random, chance(300), early(0)}, {Call::affinity, every(3), fail(EINVAL)}},
                seed);
    std::string pattern;
    for (int i = 0; i < 100; ++i) {
      unsigned long mask[16];
      pattern += os::sched_getaffinity(0, mask) == -EINVAL ? 'x' : '.';
      (void)decide(Call::random);
    }
    EXPECT_EQ(armed.fired(1), 33U);
    EXPECT_GT(armed.fired(0), 10U);
    EXPECT_LT(armed.fired(0), 60U);
    return pattern + std::to_string(armed.fired(0));
  };
  EXPECT_EQ(draw(7), draw(7));
}

TEST(Layer, ShortensAndDelaysAndEndsEarly) {
  int fds[2];
  ASSERT_EQ(os::pipe2(fds, 0), 0);
  char buffer[8];
  {
    Armed armed({{Call::write, nth(1), shorten(3)}, {Call::read, nth(1), late(2'000'000, 0)}});
    EXPECT_EQ(os::fd_write(fds[1], "12345", 5), 3);
    const int64_t begin = os::nanotime();
    EXPECT_EQ(os::fd_read(fds[0], buffer, sizeof buffer), 3);
    EXPECT_GE(os::nanotime() - begin, 2'000'000);
  }
  Atomic<uint32_t> word{0};
  Armed armed({{Call::futex_wait, always(), early(0)}});
  os::futexsleep(&word, 0, os::kForever);  // hangs if the fault does not come
  EXPECT_EQ(armed.fired(), 1U);
  os::fd_close(fds[0]);
  os::fd_close(fds[1]);
}

class LayerSees : public FaultTest {};

// Every call that the runtime makes leads here: one that no longer did would make its tests say nothing.
TEST_F(LayerSees, WhatTheRuntimeAsksFor) {
  Armed armed({});
  Outcome out;
  run_workload(out);
  armed.disarm();
  for (const Call c :
       {Call::thread,       Call::map,       Call::unmap,      Call::guard,   Call::mincore,
        Call::epoll_create, Call::epoll_add, Call::epoll_wait, Call::eventfd, Call::futex_wait,
        Call::futex_wake,   Call::close,     Call::recv,       Call::send,    Call::accept,
        Call::socket,       Call::bind,      Call::listen,     Call::connect, Call::set_option,
        Call::get_option,   Call::address,   Call::poll,       Call::prctl}) {
    EXPECT_GT(armed.seen(c), 0U) << name_of(c);
  }
}

}  // namespace
}  // namespace gort::faults
