// Hand-off: fibers that block their threads, in every way that a program does, lose their Ps meanwhile, so that others go
// on; no call of theirs is cut short by it, and none comes to another end (PR5, preempt.hpp).
//
// Wherever a call blocks here, what ends it is done by another fiber: with one P, without a hand-off, nothing ends.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <poll.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gort/chan.hpp"
#include "gort/spawn.hpp"
#include "gort/stats.hpp"
#include "os/os.hpp"
#include "support/random.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

struct Calls {
  std::atomic<int> made{0};
  std::atomic<int> interrupted{0};
};

// Around a call that may block: counts it, and what errno says right after it.
template <class Result>
[[gnu::noinline]] Result counted(Calls& calls, Result result) {
  if (result < 0 && errno == EINTR) calls.interrupted.fetch_add(1, std::memory_order_relaxed);
  calls.made.fetch_add(1, std::memory_order_relaxed);
  return result;
}

struct Pipe {
  Pipe() { EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0); }
  ~Pipe() {
    ::close(ends[0]);
    ::close(ends[1]);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void feed() const { EXPECT_EQ(::write(ends[1], "x", 1), 1); }
  std::array<int, 2> ends{};
};

// A file on a disk, where there is one: /tmp often is none.
struct DiskFile {
  DiskFile() : fd(::mkostemp(path.data(), O_CLOEXEC)) { EXPECT_GE(fd, 0) << path << ": " << errno; }
  ~DiskFile() {
    ::close(fd);
    ::unlink(path.c_str());
  }
  DiskFile(const DiskFile&) = delete;
  DiskFile& operator=(const DiskFile&) = delete;
  std::string path = "/var/tmp/gort_handoff_XXXXXX";
  int fd;
};

// ---- What each kind does once --------------------------------------------------------------------------

void in_read(Calls& calls) {
  const Pipe pipe;
  std::atomic<bool> about{false};
  auto feeder = spawn([&] {
    test::until([&] { return about.load(std::memory_order_acquire); });
    pipe.feed();
  });
  about.store(true, std::memory_order_release);
  char byte = 0;
  EXPECT_EQ(counted(calls, ::read(pipe.ends[0], &byte, 1)), 1);
  EXPECT_EQ(byte, 'x');
  feeder.join();
}

void in_poll(Calls& calls) {
  const Pipe pipe;
  std::atomic<bool> about{false};
  auto feeder = spawn([&] {
    test::until([&] { return about.load(std::memory_order_acquire); });
    pipe.feed();
  });
  about.store(true, std::memory_order_release);
  pollfd wanted{pipe.ends[0], POLLIN, 0};
  EXPECT_EQ(counted(calls, ::poll(&wanted, 1, -1)), 1);
  EXPECT_EQ(wanted.revents, POLLIN);
  feeder.join();
}

void in_nanosleep(Calls& calls) {
  constexpr timespec kTime{0, 3'000'000};
  const auto start = steady_clock::now();
  EXPECT_EQ(counted(calls, ::nanosleep(&kTime, nullptr)), 0);
  EXPECT_GE(steady_clock::now() - start, 3ms);
}

// Three want one lock, each by a description of its own, and let the others have the P while they hold it.
void in_flock(Calls& calls) {
  const DiskFile file;
  std::atomic<int> holders{0};
  std::vector<task<void>> fibers;
  for (int i = 0; i < 3; ++i) {
    fibers.push_back(spawn([&] {
      const int fd = ::open(file.path.c_str(), O_RDONLY | O_CLOEXEC);
      EXPECT_EQ(counted(calls, ::flock(fd, LOCK_EX)), 0);
      EXPECT_EQ(holders.fetch_add(1, std::memory_order_relaxed), 0);
      for (int turn = 0; turn < 3; ++turn) yield();
      EXPECT_EQ(holders.fetch_sub(1, std::memory_order_relaxed), 1);
      EXPECT_EQ(::flock(fd, LOCK_UN), 0);
      ::close(fd);
    }));
  }
  for (auto& f : fibers) f.join();
}

// The holder of a plain mutex blocks in a read, and those who want it in the lock.
void in_plain_mutex(Calls& calls) {
  const Pipe pipe;
  std::mutex wanted;
  std::atomic<bool> held{false};
  std::atomic<int> about{0};
  int got = 0;  // protected by `wanted`
  constexpr int kOthers = 3;
  std::vector<task<void>> fibers;
  for (int i = 0; i < kOthers; ++i) {
    fibers.push_back(spawn([&] {
      test::until([&] { return held.load(std::memory_order_acquire); });
      about.fetch_add(1, std::memory_order_release);
      const std::lock_guard guard(wanted);
      ++got;
    }));
  }
  fibers.push_back(spawn([&] {
    test::until([&] { return about.load(std::memory_order_acquire) == kOthers; });
    pipe.feed();
  }));
  {
    const std::lock_guard guard(wanted);
    held.store(true, std::memory_order_release);
    char byte = 0;
    EXPECT_EQ(counted(calls, ::read(pipe.ends[0], &byte, 1)), 1);
    EXPECT_EQ(got, 0);
  }
  for (auto& f : fibers) f.join();
  EXPECT_EQ(got, kOthers);
}

void in_getaddrinfo(Calls& calls) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo("localhost", "80", &hints, &found);
  counted(calls, error == EAI_SYSTEM ? -1 : 0);
  ASSERT_EQ(error, 0) << ::gai_strerror(error);
  EXPECT_EQ(found->ai_socktype, SOCK_STREAM);
  ::freeaddrinfo(found);
}

void in_fsync(Calls& calls) {
  const DiskFile file;
  const std::string text(10'000, 'y');
  EXPECT_EQ(::write(file.fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  EXPECT_EQ(counted(calls, ::fsync(file.fd)), 0);
  std::string back(text.size(), '\0');
  EXPECT_EQ(::pread(file.fd, back.data(), back.size(), 0), static_cast<ssize_t>(text.size()));
  EXPECT_EQ(back, text);
}

struct Kind {
  const char* name;
  void (*once)(Calls&);
  std::atomic<int> begun{0};
  std::atomic<int> ended{0};

  void operator()(Calls& calls) {
    begun.fetch_add(1, std::memory_order_relaxed);
    once(calls);
    ended.fetch_add(1, std::memory_order_relaxed);
  }
};
Kind kinds[] = {{"read", in_read},   {"poll", in_poll},         {"nanosleep", in_nanosleep},
                {"flock", in_flock}, {"mutex", in_plain_mutex}, {"getaddrinfo", in_getaddrinfo},
                {"fsync", in_fsync}};

// Ends a test that hangs, and says what it hangs in. A thread: no fiber is sure to run then.
class Watchdog {
 public:
  Watchdog() : thread_([this] { watch(); }) {}
  ~Watchdog() {
    {
      const std::lock_guard guard(mutex_);
      over_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  void watch() {
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, test::kPatience, [this] { return over_; })) return;
    std::fprintf(
        stderr,
        "a fiber that blocked, or one beside it, has not gone on; under way, of those begun:\n");
    for (const Kind& k : kinds) {
      const int begun = k.begun.load(std::memory_order_relaxed);
      const int open = begun - k.ended.load(std::memory_order_relaxed);
      if (begun != 0) std::fprintf(stderr, "  %s: %d of %d\n", k.name, open, begun);
    }
    const auto now = stats();
    std::fprintf(stderr, "  %d threads, %d of them idle, %llu preemptions, %llu hand-offs; queues:",
                 now.threads, now.idle_threads, static_cast<unsigned long long>(now.preemptions),
                 static_cast<unsigned long long>(now.handoffs));
    for (const auto& p : now.procs) std::fprintf(stderr, " %u", p.runq);
    std::fprintf(stderr, "\n");
    std::abort();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;  // protected by mutex_
  std::thread thread_;
};

class HandoffStress : public test::SchedulerTest {
 protected:
  [[nodiscard]] options with_slice() const {
    options o = opts();
    o.slice = 10ms;
    return o;
  }
  template <class F>
  void in_watched_fibers(F&& body) {
    const Watchdog watchdog;
    in_fibers(with_slice(), std::forward<F>(body));
  }
};
INSTANTIATE_TEST_SUITE_P(Procs, HandoffStress, testing::Values(1, 2, 4),
                         [](const testing::TestParamInfo<int>& info) {
                           return std::to_string(info.param);
                         });

// ---- Those who must go on -------------------------------------------------------------------------------

// Two fibers that play ping-pong, and one that sleeps a millisecond at a time, while others block.
class Bystanders {
 public:
  Bystanders() {
    players_[0] = spawn([this] {
      while (!over_.load(std::memory_order_relaxed)) {
        ball_.send(1);
        rounds_.fetch_add(1, std::memory_order_relaxed);
      }
      ball_.close();
    });
    players_[1] = spawn([this] {
      for ([[maybe_unused]] int ball : ball_) yield();
    });
    sleeper_ = spawn([this] {
      while (!over_.load(std::memory_order_relaxed)) {
        const auto due = steady_clock::now() + 1ms;
        sleep_until(due);
        longest_ = std::max(longest_, steady_clock::now() - due);
        naps_.fetch_add(1, std::memory_order_relaxed);
      }
    });
  }
  // All are under way.
  void await() {
    test::until([this] {
      return rounds_.load(std::memory_order_relaxed) > 0 &&
             naps_.load(std::memory_order_relaxed) > 0;
    });
  }
  // Ends them. Each must have been able to go on all the time, and still be.
  void expect_that_they_went_on() {
    const int64_t rounds = rounds_.load(std::memory_order_relaxed);
    test::until([&] { return rounds_.load(std::memory_order_relaxed) > rounds; });
    over_.store(true, std::memory_order_relaxed);
    sleeper_.join();
    for (auto& p : players_) p.join();
    const double ms = std::chrono::duration<double, std::milli>(longest_).count();
    std::printf("%lld rounds of ping-pong; the sleeper's longest delay: %.1f ms\n",
                static_cast<long long>(rounds_.load()), ms);
    EXPECT_LT(ms, kDelayMsMax)
        << "while others blocked, a fiber that slept came that much too late";
  }

 private:
  static constexpr double kDelayMsMax = 1000;  // the tight limits are those of HandoffAlone
  chan<int> ball_;
  std::atomic<bool> over_{false};
  std::atomic<int64_t> rounds_{0};
  std::atomic<int64_t> naps_{0};
  steady_clock::duration longest_{0};
  task<void> players_[2];
  task<void> sleeper_;
};

void expect_uninterrupted(const Calls& calls, int least) {
  EXPECT_GE(calls.made.load(), least);
  EXPECT_EQ(calls.interrupted.load(), 0)
      << "of " << calls.made.load() << " calls so many ended with EINTR";
}

// One kind, so that a failure names it.
void some_turns_of(void (*once)(Calls&)) {
  constexpr int kTurns = 10;
  Calls calls;
  Kind& kind = *std::find_if(std::begin(kinds), std::end(kinds),
                             [once](const Kind& k) { return k.once == once; });
  Bystanders bystanders;
  bystanders.await();
  for (int i = 0; i < kTurns; ++i) kind(calls);
  bystanders.expect_that_they_went_on();
  expect_uninterrupted(calls, kTurns);
}

TEST_P(HandoffStress, Read) {
  in_watched_fibers([] { some_turns_of(in_read); });
}
TEST_P(HandoffStress, Poll) {
  in_watched_fibers([] { some_turns_of(in_poll); });
}
TEST_P(HandoffStress, Nanosleep) {
  in_watched_fibers([this] {
    some_turns_of(in_nanosleep);
    if (nprocs() > 1) return;  // another P may have been enough for the others
    EXPECT_GT(stats().handoffs, 0U)
        << "who sleeps in the kernel for 3 ms loses its P, if others want it";
  });
}
TEST_P(HandoffStress, Flock) {
  in_watched_fibers([] { some_turns_of(in_flock); });
}
TEST_P(HandoffStress, PlainMutex) {
  in_watched_fibers([] { some_turns_of(in_plain_mutex); });
}
TEST_P(HandoffStress, Getaddrinfo) {
  in_watched_fibers([] { some_turns_of(in_getaddrinfo); });
}
TEST_P(HandoffStress, Fsync) {
  in_watched_fibers([] { some_turns_of(in_fsync); });
}

// All of them, more than there are Ps, and fibers that compute between.
TEST_P(HandoffStress, EveryKindAtOnce) {
  in_watched_fibers([] {
    const test::StressClock clock;
    Calls calls;
    Bystanders bystanders;
    bystanders.await();
    std::vector<task<void>> fibers;
    for (size_t i = 0; i < 2 * std::size(kinds); ++i) {
      fibers.push_back(spawn([&, &kind = kinds[i % std::size(kinds)]] {
        do {
          kind(calls);
        } while (clock.running() && !testing::Test::HasFailure());
      }));
    }
    for (int i = 0; i < 2; ++i) {
      fibers.push_back(spawn([&] {
        while (clock.running()) {
        }
      }));
    }
    for (auto& f : fibers) f.join();
    bystanders.expect_that_they_went_on();
    expect_uninterrupted(calls, static_cast<int>(2 * std::size(kinds)));
  });
}

// Computes for a while, so that a fiber whose time has come asks for the P by a signal, then waits with a limit, again and again: in the
// calls that the kernel does not make again by itself.
void compute_and_wait(Calls& calls, test::Random& random) {
  const auto until = steady_clock::now() + std::chrono::microseconds(test::below(random, 400));
  while (steady_clock::now() < until) {
  }
  const timespec kMoment{0, 1000};
  // ThreadSanitizer knows only the first two as calls that wait; in others it puts our handler off until they have failed.
  switch (test::below(random, test::kTsan ? 2 : 4)) {
    case 0:
      (void)counted(calls, ::poll(nullptr, 0, 1));
      break;
    case 1:
      (void)counted(calls, ::nanosleep(&kMoment, nullptr));
      break;
    case 2:
      (void)counted(calls, ::ppoll(nullptr, 0, &kMoment, nullptr));
      break;
    default: {
      timeval moment{0, 1};
      (void)counted(calls, ::select(0, nullptr, nullptr, nullptr, &moment));
    }
  }
}

std::atomic<int> sigurgs_of_the_program{0};

// PR6. What a kick meets that comes late: no call is cut short, and none comes to the program's own handler.
TEST_P(HandoffStress, KicksCutNoCallShort) {
  if (!os::kRestartsCutCalls) GTEST_SKIP() << "such a call ends with EINTR on this processor";
  const uint64_t seed = test::test_seed();
  sigurgs_of_the_program = 0;
  struct sigaction before {};
  struct sigaction counts {};
  counts.sa_handler = [](int) { ++sigurgs_of_the_program; };
  counts.sa_flags = SA_RESTART;
  ASSERT_EQ(::sigaction(SIGURG, &counts, &before), 0);
  in_watched_fibers([this, seed] {
    const test::StressClock clock;
    Calls calls;
    Bystanders bystanders;
    bystanders.await();
    std::vector<task<void>> fibers;
    for (int i = 0; i < 2 * nprocs(); ++i) {
      fibers.push_back(spawn([&, own_seed = seed + static_cast<uint64_t>(i)] {
        test::Random random(own_seed);
        while (clock.running()) compute_and_wait(calls, random);
      }));
    }
    for (auto& f : fibers) f.join();
    bystanders.expect_that_they_went_on();
    expect_uninterrupted(calls, 1);
  });
  ::sigaction(SIGURG, &before, nullptr);
  EXPECT_EQ(sigurgs_of_the_program, 0);
}

}  // namespace
}  // namespace gort
