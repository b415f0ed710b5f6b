// worker_pool: a few fibers work off many jobs, until all are done or they are told to stop.
//
//     worker_pool [WORKERS [JOBS [SIZE]]]        4, 100 and 20000 if none are given
//
//     feed --jobs--> worker, worker, worker... --results--> main
//
// A job counts the primes in a range of SIZE numbers. Ctrl-C or SIGTERM cancels: jobs that nobody
// has begun stay undone, those under way are given up within a moment, and the last line says how
// many of each there were. The exit status is 0 then, too. A second signal ends it at once.
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <gort/gort.hpp>
#include <optional>
#include <stop_token>
#include <vector>

#include "arguments.hpp"

namespace {

struct Job {
  int number;
  uint64_t first;  // of the numbers to look at
  uint64_t end;
};

struct Result {
  int job;
  std::optional<uint64_t> primes;  // nullopt: given up
};

bool is_prime(uint64_t n) {
  if (n < 2) return false;
  for (uint64_t d = 2; d * d <= n; ++d) {
    if (n % d == 0) return false;
  }
  return true;
}

// A fiber that computes is interrupted when others wait, but ended by nobody: it has to look
// itself.
std::optional<uint64_t> count_primes(const Job& job, const std::stop_token& cancelled) {
  uint64_t primes = 0;
  for (uint64_t n = job.first; n < job.end; ++n) {
    if (cancelled.stop_requested()) return std::nullopt;
    if (is_prime(n)) ++primes;
  }
  return primes;
}

// Offers the jobs, and returns how many have been taken. No job waits in the channel, which is
// unbuffered: what was taken gets a result.
int feed(int count, int size, const gort::chan<Job>& jobs, const std::stop_token& cancelled) {
  int taken = 0;
  while (taken < count && !cancelled.stop_requested()) {
    const uint64_t first = static_cast<uint64_t>(taken) * static_cast<uint64_t>(size);
    const Job next{taken, first, first + static_cast<uint64_t>(size)};
    gort::select(gort::on_send(jobs, next, [&] { ++taken; }), gort::on_stop(cancelled));
  }
  jobs.close();
  return taken;
}

void work(const gort::receiver<Job>& jobs, const gort::sender<Result>& results,
          const std::stop_token& cancelled) {
  for (const Job& job : jobs) results.send({job.number, count_primes(job, cancelled)});
}

void run_pool(int workers, int count, int size) {
  const gort::chan<int> signals(1);
  gort::signals::notify(signals, {SIGINT, SIGTERM});
  std::stop_source cancel;
  gort::go([signals, cancel]() mutable {
    (void)signals.recv();
    gort::signals::stop(signals);  // the next one does what it does by itself
    cancel.request_stop();
  });
  const gort::chan<Job> jobs;
  const gort::chan<Result> results;

  // Tasks are joined where they go out of scope, the last one first. So none outlives what it
  // refers to, whatever is thrown.
  auto feeder = gort::spawn(feed, count, size, jobs, cancel.get_token());
  std::vector<gort::task<void>> pool;
  pool.reserve(static_cast<size_t>(workers));
  for (int i = 0; i < workers; ++i) {
    pool.push_back(gort::spawn(work, jobs, results, cancel.get_token()));
  }
  auto closer = gort::spawn([&pool, results] {
    for (auto& worker : pool) worker.join();
    results.close();
  });

  int done = 0;
  int given_up = 0;
  uint64_t primes = 0;
  const auto take = [&](const Result& result) {
    if (!result.primes) {
      ++given_up;
      return;
    }
    ++done;
    primes += *result.primes;
    std::printf("job %d: %llu primes\n", result.job,
                static_cast<unsigned long long>(*result.primes));
    std::fflush(stdout);
  };
  for (const Result& result : results) take(result);
  for (auto& worker : pool) worker.get();  // rethrows what a worker has thrown
  const int begun = feeder.get();
  std::printf("%s: %d jobs done, %d given up, %d not begun; %llu primes\n",
              cancel.stop_requested() ? "cancelled" : "finished", done, given_up, count - begun,
              static_cast<unsigned long long>(primes));
}

}  // namespace

int main(int argc, char** argv) try {
  examples::check_count(argc, 3, "worker_pool [WORKERS [JOBS [SIZE]]]");
  const int workers = examples::parse(argc, argv, 1, {"WORKERS", 1, 1000, 4});
  const int jobs = examples::parse(argc, argv, 2, {"JOBS", 0, 1'000'000, 100});
  const int size = examples::parse(argc, argv, 3, {"SIZE", 1, 1'000'000'000, 20'000});
  gort::run(run_pool, workers, jobs, size);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "worker_pool: %s\n", error.what());
  return 1;
}
