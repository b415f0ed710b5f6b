// Preemption: fibers that never give way, in the middle of malloc, locks, exceptions, formatted output and arithmetic, are
// interrupted everywhere, and none of it can tell (PR1 to PR5, RG1 to RG4).
#include <gtest/gtest.h>
#include <regex.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "gort/chan.hpp"
#include "gort/mutex.hpp"
#include "gort/spawn.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using test::below;
using test::Random;

class PreemptStress : public test::SchedulerTest {
 protected:
  [[nodiscard]] options fine() const {
    options o = opts();
    o.slice = 1ms;
    return o;
  }
};
GORT_ON_EVERY_PROCS(PreemptStress);

thread_local uint64_t of_this_thread = 0;

uint64_t mix(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdULL;
  x ^= x >> 33;
  return x;
}

// What each does is checked by itself: any difference is an error.
void in_malloc(Random& random) {
  std::vector<std::vector<uint8_t>> blocks;
  for (int i = 0; i < 40; ++i) {
    const auto fill = static_cast<uint8_t>(random());
    blocks.emplace_back(1 + below(random, 3000), fill);
    if (blocks.size() > 8) blocks.erase(blocks.begin());
    for (const auto& b : blocks) ASSERT_EQ(b.front(), b.back());
  }
}
std::mutex plain_mutex;
uint64_t under_plain_mutex[2] = {};
void in_a_plain_mutex(Random&) {
  const std::lock_guard guard(plain_mutex);
  ++under_plain_mutex[0];
  for (int i = 0; i < 200; ++i) asm volatile("" ::: "memory");
  ++under_plain_mutex[1];
  ASSERT_EQ(under_plain_mutex[0], under_plain_mutex[1]);
}
void in_exceptions(Random& random) {
  const uint64_t what = random();
  try {
    const std::string text = std::to_string(what);
    throw std::runtime_error(text);
  } catch (const std::runtime_error& e) {
    ASSERT_EQ(std::to_string(what), e.what());
    ASSERT_EQ(std::uncaught_exceptions(), 0);
  }
}
FILE* dev_null = nullptr;
void in_printf(Random& random) {
  char text[64];
  const double x = static_cast<double>(below(random, 1000)) / 8;
  std::fprintf(dev_null, "%d %.3f %s\n", 7, x, "text");
  std::snprintf(text, sizeof text, "%.3f", x);
  ASSERT_EQ(std::strtod(text, nullptr), x);
}
// A fiber that does not wait keeps its thread, and so the thread's variables and errno.
void in_thread_locals(Random& random) {
  const uint64_t mine = random();
  of_this_thread = mine;
  errno = static_cast<int>(mine % 100);
  for (int i = 0; i < 500; ++i) asm volatile("" ::: "memory");
  ASSERT_EQ(of_this_thread, mine);
  ASSERT_EQ(errno, static_cast<int>(mine % 100));
}
void in_regex(Random& random) {
  regex_t pattern;
  ASSERT_EQ(::regcomp(&pattern, "^(a|b)*c[0-9]+$", REG_EXTENDED), 0);
  const std::string text = "ababac" + std::to_string(below(random, 1000));
  ASSERT_EQ(::regexec(&pattern, text.c_str(), 0, nullptr, 0), 0);
  ::regfree(&pattern);
}
void in_arithmetic(Random& random) {
  double v[32];
  double w[32];
  for (int i = 0; i < 32; ++i) v[i] = w[i] = static_cast<double>(below(random, 1000));
  for (int round = 0; round < 100; ++round) {
    for (double& x : v) x = x * 1.0000001 + 0.5;
  }
  for (int round = 0; round < 100; ++round) {
    for (double& x : w) x = x * 1.0000001 + 0.5;
  }
  ASSERT_EQ(std::memcmp(v, w, sizeof v), 0);
}
void in_a_loop(Random& random) {
  uint64_t x = random();
  const uint64_t start = x;
  for (int i = 0; i < 2000; ++i) x = mix(x);
  uint64_t y = start;
  for (int i = 0; i < 2000; ++i) y = mix(y);
  ASSERT_EQ(x, y);
}

TEST_P(PreemptStress, HogsOfEveryKind) {
  const uint64_t seed = test::test_seed();
  dev_null = std::fopen("/dev/null", "w");
  ASSERT_NE(dev_null, nullptr);
  in_fibers(fine(), [seed] {
    const auto end = std::chrono::steady_clock::now() + test::stress_time();
    constexpr void (*kKinds[])(Random&) = {in_malloc,     in_a_plain_mutex, in_exceptions,
                                           in_printf,     in_thread_locals, in_regex,
                                           in_arithmetic, in_a_loop};
    std::vector<task<void>> hogs;
    std::atomic<uint64_t> rounds{0};
    for (size_t i = 0; i < 2 * std::size(kKinds); ++i) {
      hogs.push_back(spawn([&, i] {
        Random random(seed + i);
        const auto kind = kKinds[i % std::size(kKinds)];
        while (std::chrono::steady_clock::now() < end && !testing::Test::HasFatalFailure()) {
          kind(random);
          rounds.fetch_add(1, std::memory_order_relaxed);
        }
      }));
    }
    for (auto& h : hogs) h.join();
    EXPECT_GT(rounds.load(), 0U);
  });
  std::fclose(dev_null);
}

// RG2: fibers that call gort all the time, and change their threads by it, are interrupted between its functions, and
// when they leave them.
TEST_P(PreemptStress, HogsThatUseTheRuntime) {
  in_fibers(fine(), [] {
    const auto end = std::chrono::steady_clock::now() + test::stress_time();
    const auto going = [end] { return std::chrono::steady_clock::now() < end; };
    chan<int> ring(4);
    mutex m;
    int under[2] = {};
    std::vector<task<void>> hogs;
    std::atomic<int64_t> sent{0};
    std::atomic<int64_t> received{0};
    for (int i = 0; i < 3; ++i) {
      hogs.push_back(spawn([&] {
        while (going()) {
          if (ring.try_send(1) == op_status::ok) sent.fetch_add(1, std::memory_order_relaxed);
        }
      }));
      hogs.push_back(spawn([&] {
        int got = 0;
        while (going()) {
          if (ring.try_recv(got) == op_status::ok) received.fetch_add(1, std::memory_order_relaxed);
        }
      }));
      hogs.push_back(spawn([&] {
        while (going()) {
          const std::lock_guard guard(m);
          ++under[0];
          for (int k = 0; k < 100; ++k) asm volatile("" ::: "memory");
          ++under[1];
          ASSERT_EQ(under[0], under[1]);
        }
      }));
      hogs.push_back(spawn([&] {
        while (going()) {
          task<int> t = spawn([] { return 7; });
          ASSERT_EQ(t.get(), 7);
        }
      }));
    }
    for (auto& h : hogs) h.join();
    for (int got = 0; ring.try_recv(got) == op_status::ok;) ++received;
    EXPECT_EQ(sent.load(), received.load());
  });
}

// PR2, PR3: all want one plain mutex, whose holder is interrupted again and again.
TEST_P(PreemptStress, AllGetThePlainMutex) {
  in_fibers(fine(), [] {
    const auto end = std::chrono::steady_clock::now() + test::stress_time();
    std::mutex wanted;
    constexpr int kFibers = 8;
    std::vector<uint64_t> turns(kFibers);
    std::vector<task<void>> fibers;
    for (int i = 0; i < kFibers; ++i) {
      fibers.push_back(spawn([&, i] {
        do {
          const std::lock_guard guard(wanted);
          ++turns[static_cast<size_t>(i)];
          const auto hold = std::chrono::steady_clock::now() + 3ms;
          while (std::chrono::steady_clock::now() < hold) {
          }
        } while (std::chrono::steady_clock::now() < end);
      }));
    }
    for (auto& f : fibers) f.join();
    for (const uint64_t n : turns) EXPECT_GT(n, 0U);
  });
}

}  // namespace
}  // namespace gort
