// spawn: an empty fiber is started and joined, one at a time; 100,000 are started, then all joined.
// Nanoseconds each.
#include <gort/gort.hpp>
#include <vector>

#include "harness.hpp"

namespace {

constexpr int64_t kSpawns = 200'000;
constexpr int64_t kCrowd = 100'000;

void one_at_a_time() {
  for (int64_t i = 0; i < kSpawns; ++i) gort::spawn([] {}).get();
}

void crowd() {
  std::vector<gort::task<void>> tasks;
  tasks.reserve(kCrowd);
  for (int64_t i = 0; i < kCrowd; ++i) tasks.push_back(gort::spawn([] {}));
  for (auto& t : tasks) t.get();
}

}  // namespace

int main() {
  for (const int procs : {1, 2}) {
    gort::run({.procs = procs}, [procs] {
      bench::report("spawn", "gort", procs, bench::median_ns(kSpawns, one_at_a_time));
      bench::report("spawn100k", "gort", procs, bench::median_ns(kCrowd, crowd));
    });
  }
}
