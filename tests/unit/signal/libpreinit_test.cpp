// libpreinit: the handlers are there before anything else is. tests/library has a gort inside of a shared library.
#include "signal/libpreinit.hpp"

#include <atomic>

#include "fixture.hpp"

namespace gort {
namespace {

using test::Installed;

std::atomic<int> calls{0};
void count(int) {
  ++calls;
}

// SG1: with nothing of a runtime there, what is behind them works.
TEST(Libpreinit, InstallsBeforeThereIsARuntime) {
  calls = 0;
  const Installed installed(SIGURG, count);
  const os::SignalAction before = test::kernels_action(SIGURG);
  const bool sanitizers = os::sanitizer_present() && os::has_handler(test::kernels_action(SIGFPE));
  libpreinit(Ticks::some);
  EXPECT_TRUE(is_ours(getsig(SIGURG)));
  EXPECT_EQ(is_ours(getsig(SIGFPE)), !sanitizers);
  os::raise(SIGURG);
  EXPECT_EQ(calls, 1);
  finisig();
  EXPECT_TRUE(test::same_action(test::kernels_action(SIGURG), before));
  EXPECT_FALSE(is_ours(getsig(SIGFPE)));
}

TEST(Libpreinit, WithoutTicksSigurgIsLeftAlone) {
  const Installed installed(SIGURG, count);
  libpreinit(Ticks::none);
  EXPECT_FALSE(is_ours(getsig(SIGURG)));
  finisig();
}

}  // namespace
}  // namespace gort
