// wake: a thread outside the runtime wakes a fiber while everything sleeps, every 200 us. Microseconds
// from just before the call that wakes to the first line of the one woken, median and 99th percentile.
//
// The floor is in here, too: a thread that sleeps on a futex and one that reads an eventfd, woken by the
// same loop. What the kernel takes to start a sleeping core is most of all three figures.
#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <gort/gort.hpp>
#include <string>
#include <thread>

#include "harness.hpp"

namespace {

constexpr int kWarmUp = 200;
constexpr int kWakes = 5000;
constexpr auto kGap = std::chrono::microseconds(200);

// What the woken one writes and the waker looks at after the gap.
struct Meter {
  std::atomic<int64_t> called_ns{0};
  std::atomic<int> woken{0};
  std::vector<double> us;

  void arrived() {
    const int64_t took = now_after();
    if (woken.load(std::memory_order_relaxed) >= kWarmUp)
      us.push_back(static_cast<double>(took) / 1e3);
    woken.fetch_add(1, std::memory_order_release);
  }
  [[nodiscard]] int64_t now_after() const {
    return bench::now_ns() - called_ns.load(std::memory_order_acquire);
  }
};

// Calls wake() kWarmUp + kWakes times, each after the last one has arrived and slept for a while.
template <class Wake>
void drive(Meter& meter, Wake&& wake) {
  for (int i = 0; i < kWarmUp + kWakes; ++i) {
    std::this_thread::sleep_for(kGap);
    while (meter.woken.load(std::memory_order_acquire) != i) std::this_thread::sleep_for(kGap);
    meter.called_ns.store(bench::now_ns(), std::memory_order_release);
    wake();
  }
}

void report(Meter& meter, const char* impl, int procs) {
  std::sort(meter.us.begin(), meter.us.end());
  bench::report("wake_p50", impl, procs, meter.us[meter.us.size() / 2], "us");
  bench::report("wake_p99", impl, procs, meter.us[meter.us.size() * 99 / 100], "us");
}

void fiber(int procs) {
  Meter meter;
  gort::run({.procs = procs}, [&meter] {
    const gort::chan<int> bell(1);
    std::thread waker([&] {
      drive(meter, [&] { bell.send(1); });
      bell.close();
    });
    for ([[maybe_unused]] int ring : bell) meter.arrived();
    waker.join();
  });
  report(meter, "gort", procs);
}

void futex() {
  Meter meter;
  std::atomic<uint32_t> word{0};
  std::thread sleeper([&] {
    for (uint32_t seen = 0; seen < kWarmUp + kWakes; ++seen) {
      while (word.load(std::memory_order_acquire) == seen) {
        ::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
      }
      meter.arrived();
    }
  });
  drive(meter, [&] {
    word.fetch_add(1, std::memory_order_release);
    ::syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  });
  sleeper.join();
  report(meter, "futex", 1);
}

void eventfd() {
  Meter meter;
  const int fd = ::eventfd(0, EFD_CLOEXEC);
  if (fd < 0) std::abort();
  std::thread sleeper([&] {
    for (int seen = 0; seen < kWarmUp + kWakes; ++seen) {
      uint64_t count = 0;
      if (::read(fd, &count, sizeof(count)) != sizeof(count)) std::abort();
      meter.arrived();
    }
  });
  drive(meter, [fd] {
    const uint64_t one = 1;
    if (::write(fd, &one, sizeof(one)) != sizeof(one)) std::abort();
  });
  sleeper.join();
  ::close(fd);
  report(meter, "eventfd", 1);
}

}  // namespace

int main() {
  futex();
  eventfd();
  for (const int procs : {1, 2}) fiber(procs);
}
