// mutex: what lock() and unlock() cost, nanoseconds per pair. `mutex`: by one fiber; beside it, a pair of compare-and-swaps,
// which is the least, and std::mutex. `mutex_8`: eight fibers, or threads, that all want the same one all the time.
#include <atomic>
#include <cstdint>
#include <gort/gort.hpp>
#include <mutex>
#include <thread>
#include <vector>

#include "harness.hpp"

namespace {

constexpr int64_t kAlone = 20'000'000;
constexpr int kCrowd = 8;
constexpr int64_t kEach = 250'000;

// As little as a lock can do: no queue, nobody is ever woken.
class Word {
 public:
  void lock() noexcept { change(0, 1, std::memory_order_acquire); }
  void unlock() noexcept { change(1, 0, std::memory_order_release); }

 private:
  void change(int from, int to, std::memory_order order) noexcept {
    int expected = from;
    while (!word_.compare_exchange_weak(expected, to, order, std::memory_order_relaxed)) {
      expected = from;
    }
  }
  std::atomic<int> word_{0};
};

template <class Mutex>
void pairs(Mutex& mutex, int64_t n, int64_t& count) {
  for (int64_t i = 0; i < n; ++i) {
    const std::lock_guard guard(mutex);
    ++count;
    asm volatile("" ::: "memory");
  }
}

template <class Mutex>
double alone() {
  Mutex mutex;
  int64_t count = 0;
  return bench::median_ns(kAlone, [&] { pairs(mutex, kAlone, count); });
}

// start: begins something that ends when its result has been joined.
template <class Mutex, class Start>
double crowd(Start start) {
  Mutex mutex;
  int64_t count = 0;
  return bench::median_ns(kCrowd * kEach, [&] {
    std::vector<decltype(start([] {}))> all;
    all.reserve(kCrowd);
    for (int i = 0; i < kCrowd; ++i) {
      all.push_back(start([&] { pairs(mutex, kEach, count); }));
    }
    for (auto& each : all) each.join();
  });
}

}  // namespace

int main() {
  // First: a process that has never had a second thread has cheaper mutexes.
  const double threads = crowd<std::mutex>([](auto f) { return std::thread(f); });
  bench::report("mutex", "two cas", 1, alone<Word>());
  bench::report("mutex", "std::mutex", 1, alone<std::mutex>());
  for (const int procs : {1, 2}) {
    gort::run({.procs = procs}, [procs, threads] {
      bench::report("mutex", "gort", procs, alone<gort::mutex>());
      bench::report("mutex_8", "gort", procs,
                    crowd<gort::mutex>([](auto f) { return gort::spawn(f); }));
      bench::report("mutex_8", "threads", procs, threads);
    });
  }
}
