// A profile at the highest rate while fibers allocate, throw, lock, print, switch and are interrupted: nothing breaks,
// hangs or is corrupted, whatever the handler interrupts (PF8), and profiles come and go meanwhile (PF7).
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/profile.hpp"
#include "gort/spawn.hpp"
#include "support/profile_reader.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using test::below;
using test::Random;

class ProfileStress : public test::SchedulerTest {
 protected:
  void SetUp() override {
    if (test::kTsan) GTEST_SKIP() << "a profile is refused under ThreadSanitizer";
  }
};
GORT_ON_EVERY_PROCS(ProfileStress);

std::mutex plain_mutex;
uint64_t under_plain_mutex = 0;

void allocate(Random& random) {
  std::vector<std::string> texts;
  for (int i = 0; i < 30; ++i) texts.emplace_back(1 + below(random, 2000), 'x');
  for (const auto& t : texts) ASSERT_EQ(t.front(), t.back());
}
void deep_throw(int depth) {
  if (depth == 0) throw std::runtime_error("deep");
  deep_throw(depth - 1);
  asm volatile("");
}
void raise(Random& random) {
  try {
    deep_throw(static_cast<int>(below(random, 20)));
    FAIL() << "it throws";
  } catch (const std::runtime_error& e) {
    ASSERT_STREQ(e.what(), "deep");
  }
}
void lock(Random&) {
  const std::lock_guard guard(plain_mutex);
  ++under_plain_mutex;
}
void print(Random& random) {
  char text[64];
  const int n = std::snprintf(text, sizeof text, "%.3f", static_cast<double>(below(random, 100)));
  ASSERT_GT(n, 0);
}
void give_way(Random&) {
  yield();
}
void start_another(Random& random) {
  const uint64_t n = random();
  ASSERT_EQ(spawn([n] { return n; }).get(), n);
}

TEST_P(ProfileStress, HogsOfEveryKind) {
  const uint64_t seed = test::test_seed();
  const std::string path = "/tmp/gort_profile_stress_" + std::to_string(::getpid());
  options o = opts();
  o.slice = std::chrono::milliseconds(1);
  std::atomic<bool> over{false};
  std::thread outside([&over] {
    Random random(1);
    while (!over) {
      allocate(random);
      raise(random);
    }
  });
  in_fibers(o, [&] {
    const auto end = std::chrono::steady_clock::now() + test::stress_time();
    constexpr void (*kKinds[])(Random&) = {allocate, raise, lock, print, give_way, start_another};
    profile::cpu_start(path, 1000);
    std::vector<task<void>> hogs;
    for (size_t i = 0; i < 2 * std::size(kKinds); ++i) {
      hogs.push_back(spawn([&, i] {
        Random random(seed + i);
        while (std::chrono::steady_clock::now() < end && !testing::Test::HasFatalFailure()) {
          kKinds[i % std::size(kKinds)](random);
        }
      }));
    }
    for (auto& h : hogs) h.join();
    profile::cpu_stop();
  });
  over = true;
  outside.join();
  const test::ProfileFile p = test::read_profile(path);
  EXPECT_GT(p.total(), 0U);
  for (const auto& s : p.samples) ASSERT_FALSE(s.pcs.empty());
  std::remove(path.c_str());
}

TEST_P(ProfileStress, ProfilesComeAndGo) {
  in_fibers([&] {
    const auto end = std::chrono::steady_clock::now() + test::stress_time();
    const auto going = [end] { return std::chrono::steady_clock::now() < end; };
    std::vector<task<void>> fibers;
    std::atomic<int> begun{0};
    for (int i = 0; i < 3; ++i) {
      fibers.push_back(spawn([&] {
        while (going()) {
          try {
            profile::cpu_start("/dev/null", 1000);
            ++begun;
          } catch (const std::logic_error&) {  // another one runs
          }
          yield();
          profile::cpu_stop();
        }
      }));
    }
    for (int i = 0; i < 3; ++i) {
      fibers.push_back(spawn([&, i] {
        Random random(static_cast<uint64_t>(i));
        while (going()) {
          allocate(random);
          blocking([&] { raise(random); });
        }
      }));
    }
    for (auto& f : fibers) f.join();
    profile::cpu_stop();
    EXPECT_GT(begun, 0);
  });
}

}  // namespace
}  // namespace gort
