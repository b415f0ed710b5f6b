// A million fibers at once: what they cost in memory and mappings, and that it is given back.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>

#include "gort/gort.hpp"
#include "support/sanitized.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;

constexpr int64_t kCrowd = test::many(test::kSanitizers ? 10'000 : 1'000'000);
// Each 2 MiB of address space that is touched takes a page of page table, outside the resident set: with
// stacks of 256 KiB half a gigabyte.
constexpr size_t kStackBytes = 64 * 1024;
constexpr int64_t kBytesEachMax = 4608;
constexpr int kMappingsMax = 16;

int64_t resident_bytes() {
  int64_t size = 0;
  int64_t resident = 0;
  std::ifstream("/proc/self/statm") >> size >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

int count_mappings() {
  std::ifstream maps("/proc/self/maps");
  int lines = 0;
  for (std::string line; std::getline(maps, line);) ++lines;
  return lines;
}

int64_t available_bytes() {
  std::ifstream info("/proc/meminfo");
  std::string key;
  std::string unit;
  for (int64_t kib = 0; info >> key >> kib >> unit;) {
    if (key == "MemAvailable:") return kib * 1024;
  }
  return 0;
}

double seconds_since(int64_t start_ns) {
  return static_cast<double>(test::now_ns() - start_ns) / 1e9;
}

// "Alone": it takes 4.5 GB and both processors. How long it takes is the page faults' affair: 0.3 us each
// on one machine, 20 on a busy virtual one.
TEST(CrowdAlone, AMillionFibersParkedAtOnce) {
  if (available_bytes() < kCrowd * 6000) GTEST_SKIP() << "not enough memory";
  run(options{.procs = 1, .stack_size = kStackBytes}, [] {
    wait_group all;
    wait_group gate;
    gate.add(1);
    int64_t parked = 0;
    const int64_t resident_before = resident_bytes();
    const int mappings_before = count_mappings();
    const int64_t start_ns = test::now_ns();
    for (int64_t i = 0; i < kCrowd; ++i) {
      all.go([&] {
        ++parked;
        gate.wait();
      });
      if (i % 64 == 63) yield();
    }
    while (parked != kCrowd) yield();
    const double started_s = seconds_since(start_ns);
    EXPECT_EQ(stats().fibers, static_cast<uint64_t>(kCrowd) + 1);
    const int64_t resident = resident_bytes() - resident_before;
    const int mappings = count_mappings() - mappings_before;
    const bool guards_cost_nothing = std::string(stats().guard) == "madvise";

    const int64_t end_ns = test::now_ns();
    gate.done();
    all.wait();
    const double ended_s = seconds_since(end_ns);
    std::printf(
        "%lld fibers: %.1f s to start and park, %.1f s to wake and end, %lld bytes each, %d "
        "mappings more\n",
        static_cast<long long>(kCrowd), started_s, ended_s,
        static_cast<long long>(resident / kCrowd), mappings);
    if (!test::kSanitizers) {  // they map memory of their own
      EXPECT_LE(resident / kCrowd, kBytesEachMax);
      if (guards_cost_nothing) {
        EXPECT_LE(mappings, kMappingsMax);
      }
      // After a burst the memory comes back by and by, without anybody asking for it.
      test::until([&] {
        sleep_for(10ms);
        return resident_bytes() - resident_before < resident / 10;
      });
    }
  });
}

}  // namespace
}  // namespace gort
