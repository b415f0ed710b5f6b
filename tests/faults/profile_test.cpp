// A CPU profile without what it needs: an error and nothing left behind, or less precise ticks.
#include "gort/profile.hpp"

#include <cerrno>
#include <cstdio>
#include <string>
#include <system_error>

#include "fault_test.hpp"
#include "support/burn.hpp"
#include "support/profile_reader.hpp"

namespace gort::faults {
namespace {

class Profile : public FaultTest {
 protected:
  void SetUp() override {
    if (test::kTsan) GTEST_SKIP() << "a profile is refused under ThreadSanitizer";
  }
  // Starts a profile under the rule; what it threw.
  static std::error_code refusal(const Rule& rule) {
    Armed armed({rule});
    try {
      profile::cpu_start("/dev/null");
    } catch (const std::system_error& e) {
      armed.disarm();
      EXPECT_GT(armed.fired(), 0U);
      profile::cpu_start("/dev/null");
      profile::cpu_stop();
      return e.code();
    }
    ADD_FAILURE() << "nothing was thrown";
    profile::cpu_stop();
    return {};
  }
};

TEST_F(Profile, WithoutAThread) {
  EXPECT_EQ(refusal({Call::thread, always(), fail(EAGAIN)}),
            std::errc::resource_unavailable_try_again);
  expect_nothing_left("a profile without a thread");
}

TEST_F(Profile, WithoutMemory) {
  EXPECT_EQ(refusal({Call::map, always(), fail(ENOMEM)}), std::errc::not_enough_memory);
  expect_nothing_left("a profile without memory");
}

// PF5: an M that gets no timer is counted by the process's ticks.
TEST_F(Profile, WithoutTimers) {
  const std::string path = "/tmp/gort_profile_faults_" + std::to_string(::getpid());
  Armed armed({{Call::timer_create, always(), fail(EAGAIN)}});
  run(options{.procs = 2}, [&] {
    profile::cpu_start(path, 100);
    auto other = spawn(attrs{.name = "other"}, [] { test::burn_here(300); });
    test::burn_here(300);
    other.join();
    profile::cpu_stop();
  });
  EXPECT_GT(armed.fired(), 0U);
  armed.disarm();
  const test::ProfileFile p = test::read_profile(path);
  std::remove(path.c_str());
  for (const char* fiber : {"main", "other"}) {
    EXPECT_GE(p.of_fiber(fiber), 20U) << fiber;
    EXPECT_LE(p.of_fiber(fiber), 36U) << fiber;
  }
}

}  // namespace
}  // namespace gort::faults
