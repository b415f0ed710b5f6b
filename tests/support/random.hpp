// random: what tests with random choices share: their seed and their bound.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace gort::test {

using Random = std::mt19937_64;

// The seed of a test with random choices: GORT_TEST_SEED, or a new one; printed.
inline uint64_t test_seed() {
  const char* given = std::getenv("GORT_TEST_SEED");
  const uint64_t seed = given != nullptr
                            ? std::strtoull(given, nullptr, 0)
                            : (uint64_t{std::random_device{}()} << 32) ^ std::random_device{}();
  std::printf("GORT_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  return seed;
}

// From 0 to n - 1.
inline uint64_t below(Random& random, uint64_t n) {
  return random() % n;
}

// How long a stress test goes on: GORT_TEST_MS, or a second.
inline std::chrono::milliseconds stress_time() {
  const char* given = std::getenv("GORT_TEST_MS");
  return std::chrono::milliseconds(given != nullptr ? std::atoll(given) : 1000);
}

// Running from its making on for that time.
class StressClock {
 public:
  [[nodiscard]] bool running() const { return std::chrono::steady_clock::now() < end_; }

 private:
  std::chrono::steady_clock::time_point end_ = std::chrono::steady_clock::now() + stress_time();
};

}  // namespace gort::test
