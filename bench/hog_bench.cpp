// hog: fibers that spin, and call nobody, want every P; another one wants to run every millisecond. Microseconds from
// when it wanted to until it ran: median, 99th percentile, maximum.
//
// hog has as many hogs as Ps, hog_4x four times as many. The next wish comes a millisecond after the last one was
// granted, so a delay counts once however long it is; the Go peer does the same. `threads` are OS threads on as many
// CPUs: what the kernel, whose slices are shorter, does on this machine.
//
// To compare with: 1.5 slices for the 99th percentile and 3 for the maximum over 30 s (./dev bench -s 30 hog). The slice
// is 10 ms, or what GORT_DEBUG=slice=<microseconds>us says.
#include <atomic>
#include <gort/gort.hpp>
#include <string>
#include <thread>
#include <vector>

#include "harness.hpp"
#include "pinned.hpp"
#include "slice.hpp"

namespace {

using namespace std::chrono_literals;

constexpr int64_t kUsualSeconds = 3;
constexpr auto kEvery = 1ms;

void spin(const std::atomic<bool>& over) {
  while (!over.load(std::memory_order_relaxed)) {
  }
}

// Wishes until the time has passed; the delays in microseconds.
template <class Sleep>
std::vector<double> wish(Sleep&& sleep_until) {
  std::vector<double> us;
  const int64_t end_ns = bench::now_ns() + bench::seconds(kUsualSeconds) * bench::kNsPerSecond;
  while (bench::now_ns() < end_ns) {
    const auto due = std::chrono::steady_clock::now() + kEvery;
    sleep_until(due);
    us.push_back(
        std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - due).count());
  }
  return us;
}

void report(const std::string& name, const char* impl, int procs, std::vector<double> us) {
  bench::report((name + "_p50").c_str(), impl, procs, bench::quantile(us, 0.5), "us");
  bench::report((name + "_p99").c_str(), impl, procs, bench::quantile(us, 0.99), "us");
  bench::report((name + "_max").c_str(), impl, procs, bench::quantile(us, 1), "us");
}

std::vector<double> fibers(int procs, int hogs) {
  return gort::run({.procs = procs, .slice = bench::slice()}, [hogs] {
    std::atomic<bool> over{false};
    std::vector<gort::task<void>> spinning;
    spinning.reserve(static_cast<size_t>(hogs));
    for (int i = 0; i < hogs; ++i) spinning.push_back(gort::spawn(spin, std::cref(over)));
    std::vector<double> us = wish([](auto due) { gort::sleep_until(due); });
    over.store(true, std::memory_order_relaxed);
    for (auto& hog : spinning) hog.join();
    return us;
  });
}

std::vector<double> threads(int procs, int hogs) {
  const bench::Pinned pinned(procs);
  std::atomic<bool> over{false};
  std::vector<std::jthread> spinning;
  spinning.reserve(static_cast<size_t>(hogs));
  for (int i = 0; i < hogs; ++i) spinning.emplace_back(spin, std::cref(over));
  std::vector<double> us = wish([](auto due) { std::this_thread::sleep_until(due); });
  over.store(true, std::memory_order_relaxed);
  return us;
}

}  // namespace

int main() {
  for (const int procs : {1, 2}) {
    for (const int factor : {1, 4}) {
      const std::string name = factor == 1 ? "hog" : "hog_4x";
      report(name, "gort", procs, fibers(procs, factor * procs));
      report(name, "threads", procs, threads(procs, factor * procs));
    }
  }
}
