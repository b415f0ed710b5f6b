// slice: the slice of the benchmarks about fibers that do not give way, with which preemption is in use whether or not it
// is by itself.
#pragma once

#include <chrono>
#include <cstdlib>
#include <cstring>

namespace bench {

inline constexpr std::chrono::microseconds kSlice{10'000};  // as Go's

// For options.slice: kSlice, or what GORT_DEBUG=slice=<microseconds>us asks for, which is what 0 stands for.
inline std::chrono::microseconds slice() {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nobody changes it meanwhile
  const char* debug = std::getenv("GORT_DEBUG");
  const bool named = debug != nullptr && std::strstr(debug, "slice=") != nullptr;
  return named ? std::chrono::microseconds(0) : kSlice;
}

}  // namespace bench
