// Channels at their edges: sizes that do not exist, elements with ideas of their own, loops and limits, stop requests.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gort/chan.hpp"
#include "gort/select.hpp"
#include "gort/spawn.hpp"
#include "gort/timer.hpp"
#include "sched/sched.hpp"
#include "support/scheduler_test.hpp"
#include "sync/sync_fixture.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using test::Waiter;
using Seconds = std::chrono::duration<double>;

class ChanEdges : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(ChanEdges);

// What is added to the elements, and what operator new adds for alignment, must not wrap past zero.
TEST(ChanCapacity, ThatNoMemoryHasIsRefused) {
  for (size_t less = 0; less < 1024; ++less) {
    EXPECT_THROW(chan<char>{SIZE_MAX - less}, std::bad_alloc) << less;
  }
  EXPECT_THROW(chan<char>{size_t{PTRDIFF_MAX}}, std::bad_alloc);
  EXPECT_THROW(chan<int>{SIZE_MAX / sizeof(int)}, std::bad_alloc);
}

}  // namespace
}  // namespace gort
