// worker_pool from outside: all jobs, or as many as there were until it was told to stop.
#include <cstdio>
#include <set>
#include <sstream>

#include "program.hpp"

namespace example_tests {
namespace {

class WorkerPool : public ::testing::Test {};

struct Report {
  std::set<int> jobs;  // that have a line
  int lines = 0;
  unsigned long long primes = 0;  // by those lines
  std::string last;
};

Report read(const std::string& output) {
  Report report;
  std::istringstream text(output);
  for (std::string line; std::getline(text, line); report.last = line) {
    int job = 0;
    unsigned long long primes = 0;
    if (std::sscanf(line.c_str(), "job %d: %llu primes", &job, &primes) != 2) continue;
    report.jobs.insert(job);
    ++report.lines;
    report.primes += primes;
  }
  return report;
}

TEST_F(WorkerPool, DoesEveryJobOnce) {
  for (const char* workers : {"1", "3", "200"}) {
    Program pool("worker_pool", {workers, "100"});
    EXPECT_EQ(pool.wait(), 0);
    EXPECT_EQ(pool.errors, "");
    const Report report = read(pool.output);
    EXPECT_EQ(report.lines, 100);
    EXPECT_EQ(report.jobs.size(), 100U);
    EXPECT_EQ(report.primes, 148'933U) << "that many primes are below 2,000,000";
    EXPECT_EQ(report.last, "finished: 100 jobs done, 0 given up, 0 not begun; 148933 primes");
  }
  Program idle("worker_pool", {"3", "0"});
  EXPECT_EQ(idle.wait(), 0);
  EXPECT_EQ(idle.output, "finished: 0 jobs done, 0 given up, 0 not begun; 0 primes\n");
}

// Weeks of work, which end at once. A job is several slices long, so that all workers are in the middle
// of one when the first is done.
TEST_F(WorkerPool, StopsWhenItIsToldTo) {
  constexpr int kWorkers = 16;
  constexpr int kJobs = 1'000'000;
  for (const int signal : {SIGTERM, SIGINT}) {
    Program pool("worker_pool", {std::to_string(kWorkers), std::to_string(kJobs), "500000"});
    ASSERT_TRUE(pool.await("primes\n")) << pool.errors;
    pool.signal(signal);
    EXPECT_EQ(pool.wait(), 0);
    EXPECT_EQ(pool.errors, "");
    const Report report = read(pool.output);
    int done = 0;
    int given_up = 0;
    int not_begun = 0;
    unsigned long long primes = 0;
    ASSERT_EQ(std::sscanf(report.last.c_str(),
                          "cancelled: %d jobs done, %d given up, %d not begun; %llu primes", &done,
                          &given_up, &not_begun, &primes),
              4)
        << report.last;
    EXPECT_EQ(done + given_up + not_begun, kJobs);
    EXPECT_EQ(report.lines, done);
    EXPECT_EQ(report.jobs.size(), static_cast<size_t>(done));
    EXPECT_EQ(report.primes, primes);
    EXPECT_GT(given_up, 0) << "the others were in the middle of theirs";
    EXPECT_LE(given_up, kWorkers + 1) << "the feeder may offer one more while the signal comes";
  }
}

// While it waits for somebody to read what it prints.
TEST_F(WorkerPool, EndsAtOnceByASecondSignal) {
  Program pool("worker_pool", {}, Program::Output::narrow);
  ASSERT_TRUE(pool.await_output());
  pool.hang_in_output();
  pool.signal(SIGTERM);
  ASSERT_TRUE(pool.await_unhandled(SIGTERM));
  pool.signal(SIGTERM);
  EXPECT_EQ(pool.wait(), -1);
  EXPECT_EQ(pool.killed_by(), SIGTERM);
}

TEST_F(WorkerPool, SaysWhatIsWrongWithItsArguments) {
  Program nobody("worker_pool", {"-1"});
  EXPECT_EQ(nobody.wait(), 1);
  EXPECT_EQ(nobody.errors, "worker_pool: WORKERS must be a number from 1 to 1000, not '-1'\n");
  Program many("worker_pool", {"1", "99999999999"});
  EXPECT_EQ(many.wait(), 1);
  EXPECT_EQ(many.errors,
            "worker_pool: JOBS must be a number from 0 to 1000000, not '99999999999'\n");
}

}  // namespace
}  // namespace example_tests
