// preempt: what it costs that fibers are interrupted.
//
// preempt_compute, preempt_turns: a fixed amount of computing, a fiber for each P, and, for _turns, one more, so that all
// must give way every 10 ms; processor time of the whole process in ms. `off` is a fiber for each P with preemption
// switched off; what it costs is once more in per cent of that, as the median of pairs that were run one after the other
// (preempt_compute_cost, preempt_turns_cost). Each run is a process of its own: the environment is read once in a life.
// preempt_turns_time: the same by the clock on the wall: more than `off` where threads wait although a processor is free.
//
// preempt_cycle: two fibers that look at the clock all the time, on one P and one CPU, with the finest slice. The time
// in which neither worked, divided by how often one was interrupted, in us; so it has in it what the ticks cost that
// interrupt nobody, and what the machine did meanwhile. preempt_cycle_p50 is the median from the last look of the one to
// the first of the other; preempt_apart_p50 the same where the two threads may be on different CPUs. Beside it, on one
// CPU: two threads that the kernel interrupts (`threads`), that wake each other by a futex, that call sched_yield.
#include <linux/futex.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <gort/gort.hpp>
#include <thread>
#include <utility>
#include <vector>

#include "harness.hpp"
#include "pinned.hpp"
#include "slice.hpp"

namespace {

using namespace std::chrono_literals;

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "preempt_bench: %s\n", what);
  std::_Exit(1);
}

// ---- Computing ----------------------------------------------------------------------------------------

constexpr int64_t kSteps = 150'000'000;  // of each P, a quarter of a second
constexpr int64_t kWarmUpSteps =
    kSteps / 8;  // long enough for turns to be taken: threads are made only then
constexpr int kPairs = 15;
constexpr size_t kWords = 2048;  // half of a first-level cache: who takes turns meets a cold one

enum class Mode { off, on, turns };

struct Times {
  double cpu_ms = 0;
  double wall_ms = 0;
};

double ms_of(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) / 1e6;
}

Times now_ms() {
  return {ms_of(CLOCK_PROCESS_CPUTIME_ID), ms_of(CLOCK_MONOTONIC)};
}

void compute(int64_t steps) {
  std::vector<uint64_t> words(kWords, 1);
  uint64_t x = 88172645463325252ULL;
  for (int64_t i = 0; i < steps; ++i) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    words[x % kWords] += x;
  }
  for (const uint64_t word : words) asm volatile("" : : "r"(word));
}

// All of the work, in equal parts.
void compute_in(int fibers, int64_t steps) {
  std::vector<gort::task<void>> others;
  for (int i = 1; i < fibers; ++i) others.push_back(gort::spawn(compute, steps / fibers));
  compute(steps / fibers);
  for (auto& other : others) other.join();
}

// What the work takes.
Times compute_in_fibers(int procs, Mode mode) {
  const auto slice = mode == Mode::off ? 0us : bench::kSlice;
  return gort::run({.procs = procs, .slice = slice}, [=] {
    const int fibers = procs + (mode == Mode::turns ? 1 : 0);
    compute_in(fibers, kWarmUpSteps * procs);
    const uint64_t before = gort::stats().preemptions;
    const Times begin = now_ms();
    compute_in(fibers, kSteps * procs);
    const Times end = now_ms();
    if (mode == Mode::turns && gort::stats().preemptions == before)
      fail("no fiber was interrupted");
    return Times{end.cpu_ms - begin.cpu_ms, end.wall_ms - begin.wall_ms};
  });
}

Times in_a_process(int procs, Mode mode) {
  int ends[2];
  if (::pipe(ends) != 0) fail("no pipe");
  const pid_t child = ::fork();
  if (child == 0) {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): a process with one thread
    ::setenv("GORT_DEBUG", mode == Mode::off ? "asyncpreempt=0" : "asyncpreempt=1", 1);
    const Times times = compute_in_fibers(procs, mode);
    ::_exit(::write(ends[1], &times, sizeof times) == sizeof times ? 0 : 1);
  }
  ::close(ends[1]);
  Times times;
  const bool read = child > 0 && ::read(ends[0], &times, sizeof times) == sizeof times;
  ::close(ends[0]);
  int status = 0;
  if (child > 0) ::waitpid(child, &status, 0);
  if (!read || status != 0) fail("a run in a process of its own has failed");
  return times;
}

void computing(int procs) {
  std::vector<double> ms[3];
  std::vector<double> wall_ms[3];
  std::vector<double> on_cost;
  std::vector<double> turns_cost;
  for (int i = 0; i < kPairs; ++i) {
    for (const Mode mode : {Mode::off, Mode::on, Mode::turns}) {
      const Times times = in_a_process(procs, mode);
      ms[static_cast<int>(mode)].push_back(times.cpu_ms);
      wall_ms[static_cast<int>(mode)].push_back(times.wall_ms);
    }
    const auto percent = [&](Mode mode) {
      return (ms[static_cast<int>(mode)].back() / ms[0].back() - 1) * 100;
    };
    on_cost.push_back(percent(Mode::on));
    turns_cost.push_back(percent(Mode::turns));
  }
  const double off_ms = bench::quantile(ms[0], 0.5);
  bench::report("preempt_compute", "gort", procs, bench::quantile(ms[1], 0.5), "ms");
  bench::report("preempt_compute", "off", procs, off_ms, "ms");
  bench::report("preempt_compute_cost", "gort", procs, bench::quantile(on_cost, 0.5), "%");
  bench::report("preempt_turns", "gort", procs, bench::quantile(ms[2], 0.5), "ms");
  bench::report("preempt_turns", "off", procs, off_ms, "ms");
  bench::report("preempt_turns_cost", "gort", procs, bench::quantile(turns_cost, 0.5), "%");
  bench::report("preempt_turns_time", "gort", procs, bench::quantile(wall_ms[2], 0.5), "ms");
  bench::report("preempt_turns_time", "off", procs, bench::quantile(wall_ms[0], 0.5), "ms");
}

// ---- From one to the other ----------------------------------------------------------------------------

constexpr int64_t kUsualSeconds = 2;
constexpr int64_t kGapNs = 1'000;     // longer than any look at the clock and what is done with it
constexpr auto kFinestSlice = 100us;  // the least that options.slice takes
constexpr size_t kTurnsMax = 1'000'000;

// One of two that compute and look at the clock.
struct alignas(64) Clockwork {
  std::atomic<int64_t> last_ns{0};  // its last look, for the other
  int64_t worked_ns = 0;            // between looks that follow each other
  std::vector<double> lost_us;      // from the other's last look to its own first one
};

void watch_the_clock(Clockwork& mine, const Clockwork& other, int64_t end_ns) {
  mine.lost_us.reserve(kTurnsMax);
  int64_t before_ns = bench::now_ns();
  while (before_ns < end_ns) {
    const int64_t ns = bench::now_ns();
    if (ns - before_ns < kGapNs) {
      mine.worked_ns += ns - before_ns;
    } else if (const int64_t last_ns = other.last_ns.load(std::memory_order_acquire);
               last_ns > before_ns && last_ns < ns && mine.lost_us.size() < kTurnsMax) {
      mine.lost_us.push_back(static_cast<double>(ns - last_ns) / 1e3);
    }
    before_ns = ns;
    mine.last_ns.store(ns, std::memory_order_release);
  }
}

struct Cycle {
  double mean_us;
  double p50_us;
};

// `interrupted` tells how often one was, afterwards.
template <class Both, class Count>
Cycle cycle(Both&& both, Count&& interrupted) {
  Clockwork a;
  Clockwork b;
  const int64_t start_ns = bench::now_ns();
  both(a, b, start_ns + bench::seconds(kUsualSeconds) * bench::kNsPerSecond);
  const int64_t elapsed_ns = bench::now_ns() - start_ns;
  std::vector<double> us = std::move(a.lost_us);
  us.insert(us.end(), b.lost_us.begin(), b.lost_us.end());
  const auto times = static_cast<double>(interrupted(us.size()));
  if (us.empty() || times == 0) fail("no fiber or thread was interrupted");
  const auto lost_us = static_cast<double>(elapsed_ns - a.worked_ns - b.worked_ns) / 1e3;
  return {lost_us / times, bench::quantile(us, 0.5)};
}

Cycle fibers_in_turn() {
  return gort::run({.procs = 1, .slice = kFinestSlice}, [] {
    return cycle(
        [](Clockwork& a, Clockwork& b, int64_t end_ns) {
          auto other = gort::spawn([&] { watch_the_clock(b, a, end_ns); });
          watch_the_clock(a, b, end_ns);
          other.join();
        },
        [](size_t) { return gort::stats().preemptions; });
  });
}

Cycle threads_in_turn() {
  return cycle(
      [](Clockwork& a, Clockwork& b, int64_t end_ns) {
        std::jthread other([&] { watch_the_clock(b, a, end_ns); });
        watch_the_clock(a, b, end_ns);
      },
      [](size_t seen) { return seen; });
}

// ---- Threads that give way by themselves --------------------------------------------------------------

constexpr int64_t kSwitches = 200'000;

long futex(std::atomic<uint32_t>& word, int what, uint32_t value) {
  return ::syscall(SYS_futex, &word, what, value, nullptr, nullptr, 0);
}

// The word says whose turn it is.
void take_turns(std::atomic<uint32_t>& word, uint32_t mine) {
  for (int64_t i = 0; i < kSwitches / 2; ++i) {
    while (word.load(std::memory_order_acquire) != mine) futex(word, FUTEX_WAIT_PRIVATE, 1 - mine);
    word.store(1 - mine, std::memory_order_release);
    futex(word, FUTEX_WAKE_PRIVATE, 1);
  }
}

void futex_switches() {
  std::atomic<uint32_t> word{0};
  std::jthread other([&] { take_turns(word, 1); });
  take_turns(word, 0);
}

void yield_switches() {
  std::atomic<int> there{0};
  const auto yields = [&there] {
    there.fetch_add(1, std::memory_order_relaxed);
    while (there.load(std::memory_order_relaxed) < 2) ::sched_yield();
    for (int64_t i = 0; i < kSwitches / 2; ++i) ::sched_yield();
  };
  std::jthread other(yields);
  yields();
}

void cycles() {
  {
    const bench::Pinned pinned(1);
    const Cycle gort = fibers_in_turn();
    const Cycle threads = threads_in_turn();
    bench::report("preempt_cycle", "gort", 1, gort.mean_us, "us");
    bench::report("preempt_cycle", "threads", 1, threads.mean_us, "us");
    bench::report("preempt_cycle_p50", "gort", 1, gort.p50_us, "us");
    bench::report("preempt_cycle_p50", "threads", 1, threads.p50_us, "us");
    bench::report("preempt_cycle_p50", "futex", 1,
                  bench::median_ns(kSwitches, futex_switches) / 1e3, "us");
    bench::report("preempt_cycle_p50", "sched_yield", 1,
                  bench::median_ns(kSwitches, yield_switches) / 1e3, "us");
  }
  bench::report("preempt_apart_p50", "gort", 1, fibers_in_turn().p50_us, "us");
  bench::report("preempt_apart_p50", "futex", 1, bench::median_ns(kSwitches, futex_switches) / 1e3,
                "us");
}

}  // namespace

int main() {
  for (const int procs : {1, 2}) computing(procs);
  cycles();
}
