// yield: a fiber yields to itself; two fibers alternate. Nanoseconds per yield.
#include <gort/gort.hpp>

#include "harness.hpp"

namespace {

constexpr int64_t kYields = 2'000'000;

void alternate() {
  auto half = [] {
    for (int64_t i = 0; i < kYields / 2; ++i) gort::yield();
  };
  auto other = gort::spawn(half);
  half();
  other.get();
}

void alone() {
  for (int64_t i = 0; i < kYields; ++i) gort::yield();
}

}  // namespace

int main() {
  for (const int procs : {1, 2}) {
    gort::run({.procs = procs}, [procs] {
      bench::report("yield_self", "gort", procs, bench::median_ns(kYields, alone));
      bench::report("yield", "gort", procs, bench::median_ns(kYields, alternate));
    });
  }
}
