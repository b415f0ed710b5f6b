// memory: fibers that are parked all at once, on stacks of the default size, each with its guard. Resident
// bytes each, nanoseconds to start and park one, nanoseconds to wake and join one.
//
//     memory_bench [fibers]...        100,000 and 1,000,000 unless told
//
// A million needs some 4.5 GB of memory. What the process has mapped meanwhile goes to standard error.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <gort/gort.hpp>
#include <string>

#include "harness.hpp"

namespace {

int64_t resident_bytes() {
  int64_t size = 0;
  int64_t resident = 0;
  std::ifstream("/proc/self/statm") >> size >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

int mappings() {
  int lines = 0;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) ++lines;
  return lines;
}

void park(int64_t fibers) {
  const std::string suffix = fibers % 1'000'000 == 0 ? std::to_string(fibers / 1'000'000) + "M"
                                                     : std::to_string(fibers / 1000) + "k";
  gort::run({.procs = 1}, [&] {
    gort::wait_group all;
    gort::wait_group gate;
    gate.add(1);
    const int64_t before = resident_bytes();
    const int mapped_before = mappings();
    int64_t parked = 0;
    const double start = bench::time_ns(fibers, [&] {
      for (int64_t i = 0; i < fibers; ++i) {
        all.go([&] {
          ++parked;
          gate.wait();
        });
        if (i % 64 == 63) gort::yield();
      }
      while (parked != fibers) gort::yield();
    });
    const int64_t each = (resident_bytes() - before) / fibers;
    const char* guard = gort::stats().guard;
    std::fprintf(stderr, "%lld fibers parked: %d mappings more, guards by %s\n",
                 static_cast<long long>(fibers), mappings() - mapped_before, guard);
    const double join = bench::time_ns(fibers, [&] {
      gate.done();
      all.wait();
    });
    bench::report(("memory_" + suffix).c_str(), "gort", 1, static_cast<double>(each), "bytes");
    bench::report(("park_" + suffix).c_str(), "gort", 1, start);
    bench::report(("join_" + suffix).c_str(), "gort", 1, join);
  });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    for (const int64_t fibers : {100'000, 1'000'000}) park(fibers);
  }
  for (int i = 1; i < argc; ++i) {
    const int64_t fibers = std::atoll(argv[i]);
    if (fibers < 1) {
      std::fprintf(stderr, "usage: memory_bench [fibers]...\n");
      return 2;
    }
    park(fibers);
  }
}
