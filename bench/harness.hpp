// harness: the little that gort's own benchmarks share. It knows no scheduler, so the floor (raw
// switches) and gort are timed by the same code.
//
// A benchmark prints one line of JSON per measurement and nothing else on standard output:
//     {"workload":"yield","impl":"gort","procs":1,"ns":12.34}
// bench/report.py runs the programs alternately and makes the table. The same workload has the same
// name in every program, so that its lines can be compared.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace bench {

inline int64_t now_ns() noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Nanoseconds per operation of one call of f, which does `operations` of them.
template <class F>
double time_ns(int64_t operations, F&& f) {
  const int64_t start = now_ns();
  f();
  return static_cast<double>(now_ns() - start) / static_cast<double>(operations);
}

// The median of several timed calls, after one call that warms caches, stacks and frequency up.
inline constexpr int kRepetitions = 5;
template <class F>
double median_ns(int64_t operations, F&& f, int repetitions = kRepetitions) {
  f();
  std::vector<double> ns(static_cast<size_t>(repetitions));
  for (double& one : ns) one = time_ns(operations, f);
  const auto middle = ns.begin() + repetitions / 2;
  std::nth_element(ns.begin(), middle, ns.end());
  return *middle;
}

// The value below which a share of `q` of the values lies, the largest for 1. Sorts them. 0 of none.
inline double quantile(std::vector<double>& values, double q) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const auto at = static_cast<size_t>(q * static_cast<double>(values.size()));
  return values[std::min(at, values.size() - 1)];
}

// How long a workload that goes by time is kept up: BENCH_SECONDS (./dev bench -s), or as many as are given.
// The peers read the same variable.
inline int64_t seconds(int64_t usual) {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nobody changes it meanwhile
  const char* given = std::getenv("BENCH_SECONDS");
  const int64_t wanted = given != nullptr ? std::atoll(given) : 0;
  return wanted > 0 ? wanted : usual;
}
inline constexpr int64_t kNsPerSecond = 1'000'000'000;

// Prints the line. `metric` is the unit of the value: "ns", "us", "ms", "mops", "%" or "bytes".
inline void report(const char* workload, const char* impl, int procs, double value,
                   const char* metric = "ns") {
  std::printf("{\"workload\":\"%s\",\"impl\":\"%s\",\"procs\":%d,\"%s\":%.3f}\n", workload, impl,
              procs, metric, value);
  std::fflush(stdout);
}

}  // namespace bench
