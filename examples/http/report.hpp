// report: the line of JSON that a server prints at its end: requests served, CPU time per request.
#pragma once

#include <sys/resource.h>

#include <cstdint>
#include <cstdio>

namespace http {

// User and system time of the whole process, in microseconds.
inline double cpu_us() noexcept {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto us = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_usec);
  };
  return us(usage.ru_utime) + us(usage.ru_stime);
}

inline void report(const char* impl, int procs, uint64_t requests) {
  std::printf(
      "{\"workload\":\"http\",\"impl\":\"%s\",\"procs\":%d,\"requests\":%llu,\"us\":%.3f}\n", impl,
      procs, static_cast<unsigned long long>(requests),
      requests == 0 ? 0.0 : cpu_us() / static_cast<double>(requests));
  std::fflush(stdout);
}

}  // namespace http
