// Storms: many faults at once, at random, from a seed that is printed (GORT_TEST_SEED repeats it).
#include <cerrno>

#include "fault_test.hpp"

namespace gort::faults {
namespace {

constexpr int64_t kUs = 1'000;

class Storm : public FaultTest, public testing::WithParamInterface<int> {
 protected:
  static constexpr int kRuns = test::kSanitizers ? 10 : 40;
};
INSTANTIATE_TEST_SUITE_P(Procs, Storm, testing::Values(1, 2, 4));

// What a program must not notice: interruptions, early returns, short counts, late wake-ups.
TEST_P(Storm, NothingIsNoticed) {
  const uint64_t seed = test::test_seed();
  uint64_t fired = 0;
  for (int i = 0; i < kRuns && !HasFailure(); ++i) {
    Armed armed({{Call::futex_wait, chance(200), fail(EINTR)},
                 {Call::futex_wait, chance(200), early(0, 20 * kUs)},
                 {Call::futex_wait, chance(100), late(50 * kUs, 200 * kUs)},
                 {Call::futex_wake, chance(200), late(100 * kUs, 0)},
                 {Call::futex_wake, chance(50), late(2000 * kUs, 100 * kUs)},
                 {Call::epoll_wait, chance(200), fail(EINTR)},
                 {Call::epoll_wait, chance(200), early(0, 20 * kUs)},
                 {Call::epoll_wait, chance(100), late(0, 300 * kUs)},
                 {Call::membarrier, chance(100), late(100 * kUs, 100 * kUs)},
                 {Call::read, chance(300), fail(EINTR)},
                 {Call::write, chance(300), fail(EINTR)},
                 {Call::write, chance(200), late(200 * kUs, 200 * kUs)},
                 {Call::recv, chance(200), fail(EINTR)},
                 {Call::recv, chance(300), shorten(3)},
                 {Call::send, chance(200), fail(EINTR)},
                 {Call::send, chance(300), shorten(5)},
                 {Call::accept, chance(300), fail(EINTR)},
                 {Call::connect, chance(300), fail(EINTR)},
                 {Call::close, chance(300), fail(EINTR)},
                 {Call::poll, chance(300), fail(EINTR)},
                 {Call::thread, chance(200), late(200 * kUs, 500 * kUs)},
                 {Call::guard, chance(200), fail(EINVAL)},
                 {Call::open, chance(200), fail(EMFILE)}},
                seed + static_cast<uint64_t>(i));
    Watchdog::name("seed " + std::to_string(seed) + ", run " + std::to_string(i));
    Outcome out;
    run_workload(out, options{.procs = GetParam()});
    armed.disarm();
    EXPECT_TRUE(out.refusals.empty() && out.mistakes.empty())
        << out.text() << "seed " << seed << ", run " << i << "\n"
        << armed.report();
    for (size_t r = 0; r < 20; ++r) fired += armed.fired(r);
  }
  EXPECT_GT(fired, static_cast<uint64_t>(kRuns));
  expect_nothing_left("a storm");
}

// What it may hear of: refusals. Each part ends with the right result or with an error, and nothing is
// lost or left.
TEST_P(Storm, NothingIsLost) {
  const uint64_t seed = test::test_seed();
  uint64_t fired = 0;
  for (int i = 0; i < kRuns && !HasFailure(); ++i) {
    Armed armed({{Call::map, chance(150), fail(ENOMEM)},
                 {Call::guard, chance(150), fail(ENOMEM)},
                 {Call::protect, chance(300), fail(ENOMEM)},
                 {Call::thread, chance(200), fail(ENOMEM)},
                 {Call::thread, chance(20), fail(EAGAIN)},
                 {Call::epoll_create, chance(50), fail(EMFILE)},
                 {Call::eventfd, chance(50), fail(ENFILE)},
                 {Call::epoll_add, chance(100), fail(ENOSPC)},
                 {Call::membarrier, chance(50), fail(ENOMEM)},
                 {Call::recv, chance(50), fail(ECONNRESET)},
                 {Call::recv, chance(50), fail(ENOMEM)},
                 {Call::send, chance(50), fail(ENOBUFS)},
                 {Call::send, chance(200), shorten(7)},
                 {Call::accept, chance(150), fail(ECONNABORTED)},
                 {Call::accept, chance(150), fail(EMFILE)},
                 {Call::socket, chance(100), fail(EMFILE)},
                 {Call::connect, chance(50), fail(ENETUNREACH)},
                 {Call::set_option, chance(30), fail(ENOBUFS)},
                 {Call::get_option, chance(50), fail(ENOBUFS)},
                 {Call::address, chance(50), fail(ENOBUFS)},
                 {Call::open, chance(300), fail(EMFILE)},
                 {Call::futex_wait, chance(100), fail(EINTR)},
                 {Call::epoll_wait, chance(100), early(0)}},
                seed + static_cast<uint64_t>(i));
    Watchdog::name("seed " + std::to_string(seed) + ", run " + std::to_string(i));
    Outcome out;
    run_workload(out, options{.procs = GetParam()});
    armed.disarm();
    EXPECT_TRUE(out.mistakes.empty()) << out.text() << "seed " << seed << ", run " << i << "\n"
                                      << armed.report();
    for (size_t r = 0; r < 20; ++r) fired += armed.fired(r);
  }
  EXPECT_GT(fired, static_cast<uint64_t>(kRuns));
  expect_nothing_left("a storm");
}

}  // namespace
}  // namespace gort::faults
