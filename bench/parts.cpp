// parts: what single parts of the scheduler cost, by Google Benchmark: `./dev bench parts`. For whoever works
// on one of them; the workloads that users see are in *_bench.cpp.
#include <benchmark/benchmark.h>

#include <array>
#include <gort/gort.hpp>

#include "sched/lock.hpp"
#include "sched/runq.hpp"
#include "sched/stack.hpp"
#include "sched/timerheap.hpp"

namespace {

void lock_unlock(benchmark::State& state) {
  gort::Lock lock;
  for ([[maybe_unused]] auto _ : state) {
    lock.lock();
    benchmark::ClobberMemory();
    lock.unlock();
  }
}
BENCHMARK(lock_unlock);

void mutex_lock_unlock(benchmark::State& state) {
  gort::run({.procs = 1}, [&state] {
    gort::mutex mutex;
    for ([[maybe_unused]] auto _ : state) {
      mutex.lock();
      benchmark::ClobberMemory();
      mutex.unlock();
    }
  });
}
BENCHMARK(mutex_lock_unlock);

void runq_push_take(benchmark::State& state) {
  static gort::RunQueue<int, 256> queue;
  int item = 0;
  for ([[maybe_unused]] auto _ : state) {
    benchmark::DoNotOptimize(queue.push(&item));
    benchmark::DoNotOptimize(queue.take());
  }
}
BENCHMARK(runq_push_take);

// With so many others in the heap.
void timer_add_stop(benchmark::State& state) {
  const auto others = static_cast<size_t>(state.range(0));
  std::vector<gort::Timer> timers(others + 1);
  gort::TimerHeap heap;
  for (size_t i = 0; i < others; ++i) {
    timers[i].when_ns = static_cast<int64_t>(i * 7919 % others);
    (void)heap.add(&timers[i]);
  }
  gort::Timer& one = timers.back();
  for ([[maybe_unused]] auto _ : state) {
    one.when_ns = static_cast<int64_t>(others / 2);
    (void)heap.add(&one);
    gort::TimerHeap::stop(&one);
  }
}
BENCHMARK(timer_add_stop)->Arg(0)->Arg(1000)->Arg(1'000'000);

void stack_take_give(benchmark::State& state) {
  gort::StackPool pool(gort::StackPool::kDefaultStackBytes);
  std::array<std::byte*, 32> slots{};
  for ([[maybe_unused]] auto _ : state) {
    benchmark::DoNotOptimize(pool.take(slots));
    pool.give(slots);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(slots.size()));
}
BENCHMARK(stack_take_give);

void chan_send_recv_buffered(benchmark::State& state) {
  gort::run({.procs = 1}, [&state] {
    const gort::chan<int> c(1);
    for ([[maybe_unused]] auto _ : state) {
      c.send(1);
      benchmark::DoNotOptimize(c.recv());
    }
  });
}
BENCHMARK(chan_send_recv_buffered);

}  // namespace

BENCHMARK_MAIN();
