// Models of the poller: the words of a descriptor's directions (P1 to P3), deadlines (P4, P5), and I6 where a
// thread that is no M arms the timer.
#include "sched/netpoll.hpp"

#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <utility>

#include "ms/world.hpp"
#include "sched/park.hpp"
#include "sched/stop.hpp"
#include "support.hpp"

namespace gort {
namespace {

using model::check;

constexpr int kFd = 1;

PollDesc* open_descriptor() {
  int error = 0;
  PollDesc* pd = netpoll_open(kFd, &error);
  check(pd != nullptr, "there is memory");
  return pd;
}

// P1: an edge that comes at any time of a wait ends it.
void edge() {
  MsWorld world(1);
  PollDesc* pd = open_descriptor();
  MsFiber a([&] {
    check(netpoll_wait(pd, PollMode::read) == PollResult::ready, "P1: the edge is not lost");
  });
  world.put(0, a);
  world.start();
  ModelKernel::event(kFd, EPOLLIN);
  a.join();
  world.finish();
  netpoll_close(pd);
}

// P1: of two edges the second ends the second wait, unless the first wait ended behind both.
void edges() {
  MsWorld world(1);
  PollDesc* pd = open_descriptor();
  int bytes = 0;
  MsFiber a([&] {
    while (bytes < 2) {
      check(netpoll_wait(pd, PollMode::read) == PollResult::ready, "nothing else ends it");
    }
  });
  world.put(0, a);
  world.start();
  for (int i = 0; i < 2; ++i) {
    ++bytes;
    ModelKernel::event(kFd, EPOLLIN);
  }
  a.join();
  world.finish();
  netpoll_close(pd);
}

// A hang-up that comes with an edge is seen by whoever consumes the edge.
void hangup() {
  MsWorld world(1);
  PollDesc* pd = open_descriptor();
  MsFiber a([&] {
    check(netpoll_wait(pd, PollMode::read) == PollResult::ready, "P1: the edge is not lost");
    check(netpoll_hangup_seen(pd), "the flag comes before the word");
  });
  world.put(0, a);
  world.start();
  ModelKernel::event(kFd, EPOLLIN | EPOLLRDHUP);
  a.join();
  world.finish();
  netpoll_close(pd);
}

// A hang-up finds an edge that nobody has consumed yet: who consumes it sees the flag, since nothing else will
// wake it.
void hangup_meets_reader() {
  MsWorld world(1);
  PollDesc* pd = open_descriptor();
  MsFiber a([&] {
    do {
      check(netpoll_wait(pd, PollMode::read) == PollResult::ready, "nothing else ends it");
    } while (!netpoll_hangup_seen(pd));
  });
  world.put(0, a);
  world.start();
  ModelKernel::event(kFd, EPOLLIN);
  MsWorld::poll();
  ModelKernel::event(kFd, EPOLLRDHUP);
  MsWorld::poll();
  a.join();
  world.finish();
  netpoll_close(pd);
}

// P2: a close meets a wait.
void evicted() {
  MsWorld world(1);
  PollDesc* pd = open_descriptor();
  MsFiber a([&] {
    check(netpoll_wait(pd, PollMode::read) == PollResult::closing, "P2: the close is not lost");
  });
  world.put(0, a);
  world.start();
  netpoll_evict(pd);
  a.join();
  world.finish();
  netpoll_close(pd);
}

// P5, I6: a deadline that another thread sets at any time of a wait ends it when it is due.
void deadline() {
  MsWorld world(1);
  PollDesc* pd = open_descriptor();
  MsFiber a([&] {
    check(netpoll_wait(pd, PollMode::read) == PollResult::timeout, "P5: a deadline ends a wait");
    check(ModelKernel::now_ns() == 5, "I6: the poller sleeps until the earliest timer");
  });
  world.put(0, a);
  world.start();
  netpoll_set_deadline(pd, PollMode::read, 5);
  a.join();
  world.finish();
  netpoll_close(pd);
}

// P5: an M that looks for work fires the timer while the fiber is on its way to sleep on another.
void deadline_fires_elsewhere() {
  MsWorld world(2);
  PollDesc* pd = open_descriptor();
  MsFiber a([&] {
    check(netpoll_wait(pd, PollMode::read) == PollResult::timeout, "P5: a deadline ends a wait");
  });
  world.put(0, a);
  netpoll_set_deadline(pd, PollMode::read, 5);
  world.start();
  ModelKernel::pass_until(5);
  a.join();
  world.finish();
  netpoll_close(pd);
}

// P4: a deadline that moves while one is armed, to earlier or later.
void deadline_moves(int64_t first, int64_t then) {
  MsWorld world(1);
  PollDesc* pd = open_descriptor();
  MsFiber a([&] {
    check(netpoll_wait(pd, PollMode::read) == PollResult::timeout, "P5: a deadline ends a wait");
    const int64_t now = ModelKernel::now_ns();
    check(now == then || now == first, "P4: it ends when one of them is due");
  });
  world.put(0, a);
  world.start();
  netpoll_set_deadline(pd, PollMode::read, first);
  netpoll_set_deadline(pd, PollMode::read, then);
  a.join();
  world.finish();
  netpoll_close(pd);
}
void deadline_moves_later() {
  deadline_moves(5, 9);
}
void deadline_moves_earlier() {
  deadline_moves(9, 5);
}

// P2: one that has passed already.
void deadline_passed() {
  MsWorld world(1);
  PollDesc* pd = open_descriptor();
  MsFiber a([&] {
    check(netpoll_wait(pd, PollMode::read) == PollResult::timeout, "P2: it is not lost");
  });
  world.put(0, a);
  world.start();
  netpoll_set_deadline(pd, PollMode::read, 1);
  a.join();
  world.finish();
  netpoll_close(pd);
}

// S2 with a wait by commit; data that comes at the same time ends this operation or the next. An edge may
// be lost with the wait that was stopped, since the next operation reads first.
void stopped_or_edge() {
  MsWorld world(1);
  PollDesc* pd = open_descriptor();
  bool data = false;
  const auto read = [&] {
    for (;;) {
      if (std::exchange(data, false)) return PollResult::ready;
      const PollResult r = netpoll_wait(pd, PollMode::read);
      if (r != PollResult::ready) return r;
    }
  };
  MsFiber a([&] {
    const PollResult first = read();
    const PollResult second = read();
    check(first != second, "each comes once");
    check(first == PollResult::stopped || second == PollResult::stopped, "S1: it is not lost");
    check(first == PollResult::ready || second == PollResult::ready, "P1: it is not lost");
  });
  world.put(0, a);
  world.start();
  data = true;
  ModelKernel::event(kFd, EPOLLIN);
  request_stop(a.g());
  a.join();
  world.finish();
  netpoll_close(pd);
}

// P1, P3: two waits at once, one for each direction, on two Ms.
void both_directions() {
  MsWorld world(2);
  PollDesc* pd = open_descriptor();
  MsFiber a([&] {
    check(netpoll_wait(pd, PollMode::read) == PollResult::ready, "P1: the edge is not lost");
  });
  MsFiber b([&] {
    check(netpoll_wait(pd, PollMode::write) == PollResult::ready, "P1: the edge is not lost");
  });
  world.put(0, a);
  world.put(1, b);
  world.start();
  ModelKernel::event(kFd, EPOLLIN | EPOLLOUT);
  a.join();
  b.join();
  world.finish();
  netpoll_close(pd);
}

TEST(NetpollModel, Edge) {
  expect_right_so_far(edge, 10'000);
}
TEST(NetpollModel, Edges) {
  expect_right_so_far(edges, 10'000);
}
TEST(NetpollModel, Hangup) {
  expect_right_so_far(hangup, 10'000);
}
TEST(NetpollModel, HangupMeetsReader) {
  expect_right_so_far(hangup_meets_reader, 10'000);
}
TEST(NetpollModel, Evicted) {
  expect_right_so_far(evicted, 10'000);
}
TEST(NetpollModel, Deadline) {
  expect_right_so_far(deadline, 10'000);
}
TEST(NetpollModel, DeadlineFiresElsewhere) {
  expect_right_so_far(deadline_fires_elsewhere, 10'000);
}
TEST(NetpollModel, DeadlineMovesLater) {
  expect_right_so_far(deadline_moves_later, 10'000);
}
TEST(NetpollModel, DeadlineMovesEarlier) {
  expect_right_so_far(deadline_moves_earlier, 10'000);
}
TEST(NetpollModel, DeadlinePassed) {
  expect_right_so_far(deadline_passed, 10'000);
}
TEST(NetpollModel, StoppedOrEdge) {
  expect_right_so_far(stopped_or_edge, 10'000);
}
TEST(NetpollModel, BothDirections) {
  expect_right_so_far(both_directions, 10'000);
}
TEST(NetpollModel, Mutants) {
  std::vector<model::Program> programs;
  for (const auto& p : {hangup, hangup_meets_reader, evicted, deadline, deadline_passed}) {
    programs.push_back({{.preemptions = 1, .stale = 1, .max_runs = 5'000}, p});
  }
  for (const auto& p :
       {edge, edges, hangup, evicted, deadline, deadline_passed, deadline_moves_later,
        deadline_moves_earlier, stopped_or_edge, both_directions}) {
    programs.push_back({{.random_runs = 500}, p});
  }
  programs.push_back({{.random_runs = 3'000}, deadline_fires_elsewhere});
  programs.push_back({{.random_runs = 40'000}, hangup_meets_reader});
  expect_mutants_die({"netpoll.cpp", "timer.cpp"}, programs);
}

}  // namespace
}  // namespace gort
