// Models of threads that are no Ms and wait for a descriptor in poll(2): P2 by `foreign_waiters`, and deadlines. There
// is no runtime, as there need be none.
#include <gtest/gtest.h>

#include "ms/sockets.hpp"
#include "ms/world.hpp"
#include "sched/netpoll.hpp"
#include "sched/netpoll_internal.hpp"
#include "support.hpp"

namespace gort {
namespace {

using model::check;
using model::Thread;

constexpr int kFd = 1;
constexpr int64_t kSoonNs = 5;
constexpr int64_t kLaterNs = 10 * kForeignLookNs;

class Descriptor {
 public:
  Descriptor() {
    ModelKernel::begin();
    int error = 0;
    pd_ = netpoll_open(kFd, &error);
    check(pd_ != nullptr, "there is memory");
  }
  ~Descriptor() { netpoll_close(pd_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  // Waits that end without cause, as a signal makes them, are waited again: that is what callers do.
  [[nodiscard]] PollResult wait(PollMode mode) {
    for (;;) {
      const PollResult r = netpoll_wait(pd_, mode);
      if (r != PollResult::ready || data) return r;
    }
  }
  [[nodiscard]] PollDesc* get() const { return pd_; }

  bool data = false;

 private:
  PollDesc* pd_;
};

// P2: a close meets a thread on its way into poll(2), and is not left to the time.
void closed() {
  Descriptor d;
  Thread waiter([&] {
    check(d.wait(PollMode::read) == PollResult::closing, "P2: the close is not lost");
    check(ModelKernel::now_ns() == 1, "P2: nor late");
  });
  netpoll_evict(d.get());
  waiter.join();
}

// P2: two threads, one for each direction.
void closed_both() {
  Descriptor d;
  const auto wait = [&](PollMode mode) {
    check(d.wait(mode) == PollResult::closing, "P2: the close is not lost");
    check(ModelKernel::now_ns() == 1, "P2: nor late");
  };
  Thread reader([&] { wait(PollMode::read); });
  Thread writer([&] { wait(PollMode::write); });
  netpoll_evict(d.get());
  reader.join();
  writer.join();
}

// Who has waited is no reason to shut a socket down.
void closed_behind_data() {
  Descriptor d;
  Thread waiter([&] { check(d.wait(PollMode::read) == PollResult::ready, "data ends a wait"); });
  d.data = true;
  ModelSocket::data(kFd);
  waiter.join();
  netpoll_evict(d.get());
  check(!ModelSocket::is_shut(kFd), "nobody waits any more");
}

// A deadline that was there before.
void deadline() {
  Descriptor d;
  netpoll_set_deadline(d.get(), PollMode::read, kSoonNs);
  Thread waiter([&] {
    check(d.wait(PollMode::read) == PollResult::timeout, "a deadline ends a wait");
    check(ModelKernel::now_ns() == kSoonNs, "when it is due");
  });
  waiter.join();
}

// One that is set, or moved to earlier, or has passed already, while the thread is on its way into poll(2), or in it.
void deadline_set(int64_t first, int64_t then) {
  Descriptor d;
  netpoll_set_deadline(d.get(), PollMode::read, first);
  Thread waiter([&] {
    check(d.wait(PollMode::read) == PollResult::timeout, "a deadline holds for a wait under way");
    check(ModelKernel::now_ns() <= then + kForeignLookNs, "and is not late by more than a look");
  });
  netpoll_set_deadline(d.get(), PollMode::read, then);
  waiter.join();
}
void deadline_set_under_way() {
  deadline_set(kNever, kSoonNs);
}
void deadline_moves_earlier() {
  deadline_set(kLaterNs, kSoonNs);
}
void deadline_passed() {
  deadline_set(kNever, 1);
}

// One that moves to later: the thread sleeps on.
void deadline_moves_later() {
  Descriptor d;
  netpoll_set_deadline(d.get(), PollMode::read, kSoonNs);
  bool moved = false;
  Thread waiter([&] {
    check(d.wait(PollMode::read) == PollResult::timeout, "a deadline ends a wait");
    check(ModelKernel::now_ns() == (moved ? kLaterNs : kSoonNs), "when it is due");
  });
  netpoll_set_deadline(d.get(), PollMode::read, kLaterNs);
  moved = true;
  waiter.join();
}

const model::Options kAll{.preemptions = 3};

TEST(PollModel, Closed) {
  expect_right(kAll, closed);
}
TEST(PollModel, ClosedBoth) {
  expect_right({.preemptions = 2}, closed_both);
}
TEST(PollModel, ClosedBehindData) {
  expect_right(kAll, closed_behind_data);
}
TEST(PollModel, Deadline) {
  expect_right(kAll, deadline);
}
TEST(PollModel, DeadlineSetUnderWay) {
  expect_right(kAll, deadline_set_under_way);
}
TEST(PollModel, DeadlineMovesEarlier) {
  expect_right(kAll, deadline_moves_earlier);
}
TEST(PollModel, DeadlinePassed) {
  expect_right(kAll, deadline_passed);
}
TEST(PollModel, DeadlineMovesLater) {
  expect_right(kAll, deadline_moves_later);
}

TEST(PollModel, Mutants) {
  std::vector<model::Program> programs;
  for (const auto& p : {closed, closed_behind_data, deadline, deadline_set_under_way,
                        deadline_moves_earlier, deadline_passed, deadline_moves_later}) {
    programs.push_back({kAll, p});
  }
  expect_mutants_die({"netpoll.cpp"}, programs);
}

}  // namespace
}  // namespace gort
