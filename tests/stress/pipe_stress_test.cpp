// Pipes: time limits of no to 200 us, stop requests, closes and releases, against reads and writes. What was written is read, once.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <span>
#include <system_error>
#include <thread>
#include <vector>

#include "gort/blocking.hpp"
#include "gort/errors.hpp"
#include "gort/fd.hpp"
#include "gort/wait_group.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

using std::chrono::microseconds;
using std::chrono::steady_clock;
using test::below;
using test::Random;

class PipeStress : public test::SchedulerTest {};
GORT_ON_EVERY_PROCS(PipeStress);

// Records of eight bytes go through whole: a pipe's room is a multiple of that.
struct Tally {
  std::atomic<uint64_t> written{0};
  std::atomic<uint64_t> read{0};
  std::atomic<int> unknown{0};  // errors that there should not be
};

steady_clock::time_point some_limit(Random& random) {
  return steady_clock::now() +
         (below(random, 4) == 0 ? std::chrono::hours(1) : microseconds(below(random, 200)));
}

bool is_an_end(const std::error_code& ec) {
  return ec == std::errc::operation_canceled || ec == std::errc::broken_pipe;
}

void write_records(fd& to, Random random, Tally& tally) {
  std::error_code ec;
  for (uint64_t i = 0, n = below(random, 2000); i < n; ++i) {
    if (below(random, 8) == 0) to.set_write_deadline(some_limit(random), ec);
    const uint64_t record = 1 + below(random, 1000);
    const size_t done = to.write(std::as_bytes(std::span(&record, 1)), ec);
    if (done == sizeof record) {
      tally.written += record;
    } else if (is_an_end(ec)) {
      return;
    } else if (ec != std::errc::timed_out || done != 0) {
      ++tally.unknown;
    }
  }
}

// True: the pipe has come to its end; false: the handle has.
bool read_records(fd& from, Random& random, Tally& tally) {
  std::error_code ec;
  for (;;) {
    if (below(random, 8) == 0) from.set_read_deadline(some_limit(random), ec);
    uint64_t record = 0;
    const size_t done = from.read(std::as_writable_bytes(std::span(&record, 1)), ec);
    if (done == sizeof record) {
      tally.read += record;
    } else if (!ec && done == 0) {
      return true;
    } else if (is_an_end(ec)) {
      return false;
    } else if (ec != std::errc::timed_out || done != 0) {
      ++tally.unknown;
    }
  }
}

// Goes on after a request to stop: it ends one wait.
void read_until_the_end(fd& from, Random random, Tally& tally) {
  for (;;) {
    try {
      (void)read_records(from, random, tally);
      return;
    } catch (const stopped&) {
    }
  }
}

void read_the_rest(int number, Tally& tally) {
  uint64_t record = 0;
  while (::read(number, &record, sizeof record) == sizeof record) tally.read += record;
}

TEST_P(PipeStress, NothingIsLost) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    Random random(seed);
    const test::StressClock clock;
    while (clock.running()) {
      Tally tally;
      auto [reader, writer] = pipe();
      fd& in = reader;
      fd& out = writer;
      std::vector<task<void>> readers;
      for (uint64_t i = 1 + below(random, 2); i > 0; --i) {
        readers.push_back(spawn([&, r = Random(random())] { read_until_the_end(in, r, tally); }));
      }
      wait_group writers;
      for (uint64_t i = 1 + below(random, 3); i > 0; --i) {
        writers.go([&, r = Random(random())] { write_records(out, r, tally); });
      }
      std::thread thread;
      if (below(random, 8) == 0) {
        thread = std::thread([&, r = Random(random())] { write_records(out, r, tally); });
      }
      for (uint64_t y = below(random, 50); y > 0; --y) yield();
      if (below(random, 2) == 0) readers.front().request_stop();
      int released = -1;
      if (below(random, 3) == 0) {
        // Others may be in the middle of a read. What they leave is read here, up to the end.
        released = in.release();
      }
      std::thread rest;
      if (released >= 0) rest = std::thread([&] { read_the_rest(released, tally); });
      writers.wait();
      blocking([&] {
        if (thread.joinable()) thread.join();
      });
      out.close();
      blocking([&] {
        if (rest.joinable()) rest.join();
      });
      if (released >= 0) ::close(released);
      for (auto& t : readers) t.join();
      ASSERT_EQ(tally.read, tally.written);
      ASSERT_EQ(tally.unknown, 0);
    }
  });
}

// A close, or the end of the other side, in the middle of everything: nobody is forgotten, and no number is used that is another's.
TEST_P(PipeStress, NobodyIsForgotten) {
  const uint64_t seed = test::test_seed();
  in_fibers([seed] {
    Random random(seed);
    const test::StressClock clock;
    while (clock.running()) {
      Tally tally;
      auto [reader, writer] = pipe();
      fd& in = reader;
      fd& out = writer;
      wait_group all;
      for (int i = 0; i < 2; ++i) {
        all.go([&, r = Random(random())] { read_until_the_end(in, r, tally); });
        all.go([&, r = Random(random())] { write_records(out, r, tally); });
      }
      all.go([&, y = below(random, 50)] {
        for (uint64_t i = 0; i < y; ++i) yield();
        in.close();
      });
      for (uint64_t y = below(random, 50); y > 0; --y) yield();
      (below(random, 2) == 0 ? in : out).close();
      all.wait();
      ASSERT_LE(tally.read, tally.written);
      ASSERT_EQ(tally.unknown, 0);
    }
  });
}

}  // namespace
}  // namespace gort
