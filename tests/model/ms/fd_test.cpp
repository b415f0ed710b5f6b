// Models of a socket's descriptor (FD1 to FD4, E1): turns, references, closes, and the end of its memory.
#include "net/fd.hpp"

#include <gtest/gtest.h>

#include "gort/errors.hpp"
#include "ms/sockets.hpp"
#include "ms/world.hpp"
#include "os/os.hpp"
#include "sched/stop.hpp"
#include "support.hpp"

namespace gort {
namespace {

using model::check;
using model::Thread;
using net::detail::Fd;

constexpr int kFd = 1;

Fd* open_socket() {
  int error = 0;
  Fd* fd = Fd::adopt(kFd, &error);
  check(fd != nullptr, "there is memory");
  return fd;
}

void check_closed() {
  check(!ModelSocket::is_open(kFd), "FD1: whoever comes back from close() finds it closed");
}

// FD3: three readers, one byte each; turns pass from one to the next.
void turns() {
  MsWorld world(2);
  Fd* fd = open_socket();
  const auto read_one = [fd] {
    std::byte b;
    check(fd->read_some(&b, 1) == 1, "FD3: each gets a byte");
  };
  MsFiber a(read_one);
  MsFiber b(read_one);
  MsFiber c(read_one);
  world.put(0, a);
  world.put(0, b);
  world.put(1, c);
  world.start();
  ModelSocket::arrive(kFd, 1);
  ModelSocket::arrive(kFd, 2);
  for (MsFiber* f : {&a, &b, &c}) f->join();
  world.finish();
  fd->destroy();
  check_closed();
}

// E1: a read that got less than it asked for is followed by one that waits, by whoever has the next turn.
void short_reads() {
  MsWorld world(1);
  Fd* fd = open_socket();
  int got = 0;
  const auto read = [&] {
    while (got < 2) {
      std::byte room[4];
      const long n = fd->read_some(room, sizeof room);
      if (n == -ECANCELED) return;
      check(n > 0, "E1: no byte is lost");
      got += static_cast<int>(n);
    }
    fd->close();
    check_closed();
  };
  MsFiber a(read);
  MsFiber b(read);
  world.put(0, a);
  world.put(0, b);
  world.start();
  ModelSocket::arrive(kFd, 1);
  ModelSocket::arrive(kFd, 1);
  a.join();
  b.join();
  world.finish();
  fd->destroy();
}

// FD1, FD2: a close meets a read, and one that waits for its turn.
void close_meets_reads() {
  MsWorld world(2);
  Fd* fd = open_socket();
  const auto read = [fd] {
    std::byte b;
    check(fd->read_some(&b, 1) == -ECANCELED, "FD2: the close is not lost");
  };
  MsFiber a(read);
  MsFiber b(read);
  world.put(0, a);
  world.put(1, b);
  world.start();
  fd->close();
  check_closed();
  a.join();
  b.join();
  world.finish();
  fd->destroy();
}

// FD1: the last one out is a reader or a writer, or both at once.
void close_meets_both() {
  MsWorld world(2);
  Fd* fd = open_socket();
  MsFiber a([fd] {
    std::byte b;
    check(fd->read_some(&b, 1) == -ECANCELED, "FD2: the close is not lost");
  });
  MsFiber b([fd] {
    const std::byte b{};
    const long n = fd->write_some(&b, 1);
    check(n == 1 || n == -ECANCELED, "written before, or not at all");
  });
  world.put(0, a);
  world.put(1, b);
  world.start();
  fd->close();
  check_closed();
  a.join();
  b.join();
  world.finish();
  fd->destroy();
}

// FD4: a fiber that close() has woken destroys the handle while close() is still returning.
void woken_destroys() {
  MsWorld world(1);
  Fd* fd = open_socket();
  MsFiber a([fd] {
    std::byte b;
    check(fd->read_some(&b, 1) == -ECANCELED, "FD2: the close is not lost");
    fd->destroy();
    check_closed();
  });
  world.put(0, a);
  world.start();
  fd->close();
  check_closed();
  a.join();
  world.finish();
}

// FD2, FD4: two close at the same time, and a third has to wait.
void two_close() {
  MsWorld world(2);
  Fd* fd = open_socket();
  MsFiber a([fd] {
    fd->close();
    check_closed();
  });
  MsFiber b([fd] {
    std::byte b;
    check(fd->read_some(&b, 1) == -ECANCELED, "FD2: the close is not lost");
    fd->close();
    check_closed();
  });
  world.put(0, a);
  world.put(1, b);
  world.start();
  fd->close();
  check_closed();
  a.join();
  b.join();
  world.finish();
  fd->destroy();
}

// FD3, S1: a stop request meets a waiter for a turn that is just being passed.
void stop_meets_turn() {
  MsWorld world(2);
  Fd* fd = open_socket();
  bool stopped_once = false;
  bool read_once = false;
  MsFiber a([fd] {
    std::byte b;
    check(fd->read_some(&b, 1) == 1, "nobody stops it");
  });
  MsFiber b([&] {
    try {
      std::byte b;
      check(fd->read_some(&b, 1) == 1, "FD3: a turn is not lost");
      read_once = true;
    } catch (const stopped&) {
      stopped_once = true;
    }
  });
  world.put(0, a);
  world.put(1, b);
  world.start();
  ModelSocket::arrive(kFd, 2);
  request_stop(b.g());
  a.join();
  b.join();
  check(stopped_once != read_once, "W1: one of them");
  world.finish();
  fd->destroy();
  check_closed();
}

// FD1, FD3: the only waiter for a turn is stopped while the turn is being passed, another takes it, and all is closed.
void turn_without_waiter() {
  MsWorld world(2);
  Fd* fd = open_socket();
  const auto read = [fd] {
    try {
      std::byte b;
      const long n = fd->read_some(&b, 1);
      check(n == 1 || n == -ECANCELED, "read before, or not at all");
    } catch (const stopped&) {
    }
  };
  MsFiber a(read);
  MsFiber b(read);
  MsFiber c(read);
  Thread writer([fd] {
    const std::byte b{};
    (void)fd->write_some(&b, 1);
  });
  world.put(0, a);
  world.put(1, b);
  world.put(1, c);
  world.start();
  ModelSocket::arrive(kFd, 3);
  request_stop(b.g());
  fd->close();
  writer.join();
  check_closed();
  for (MsFiber* f : {&a, &b, &c}) f->join();
  world.finish();
  fd->destroy();
}

// FD1: a deadline that is set, or a question that is asked, while others close.
void reference_meets_close() {
  MsWorld world(1);
  Fd* fd = open_socket();
  Thread other([fd] {
    (void)fd->with([](int number) {
      check(os::sock_send(number, nullptr, 1) == 1, "FD1: a reference holds it open");
      return 0;
    });
  });
  MsFiber a([fd] { fd->close(); });
  world.put(0, a);
  world.start();
  other.join();
  a.join();
  world.finish();
  fd->destroy();
  check_closed();
}

// FD5: a release meets a close, and a read.
void release_meets_close() {
  MsWorld world(2);
  Fd* fd = open_socket();
  bool released = false;
  MsFiber a([&] {
    released = fd->release();
    check(!released || ModelSocket::is_open(kFd), "FD5: it is left to who has released it");
  });
  MsFiber b([fd] {
    std::byte b;
    check(fd->read_some(&b, 1) == -ECANCELED, "FD2: the end is not lost");
    fd->close();
  });
  world.put(0, a);
  world.put(1, b);
  world.start();
  fd->close();
  a.join();
  b.join();
  check(released == ModelSocket::is_open(kFd), "FD5: one of them");
  world.finish();
  fd->destroy();
  check(released == ModelSocket::is_open(kFd), "FD5: nor does the handle's end close it");
}

TEST(FdModel, Turns) {
  expect_right_so_far(turns, 10'000);
}
TEST(FdModel, ShortReads) {
  expect_right_so_far(short_reads, 10'000);
}
TEST(FdModel, CloseMeetsReads) {
  expect_right_so_far(close_meets_reads, 10'000);
}
TEST(FdModel, CloseMeetsBoth) {
  expect_right_so_far(close_meets_both, 10'000);
}
TEST(FdModel, WokenDestroys) {
  expect_right_so_far(woken_destroys, 10'000);
}
TEST(FdModel, TwoClose) {
  expect_right_so_far(two_close, 10'000);
}
TEST(FdModel, StopMeetsTurn) {
  expect_right_so_far(stop_meets_turn, 10'000);
}
TEST(FdModel, TurnWithoutWaiter) {
  expect_right_so_far(turn_without_waiter, 10'000);
}
TEST(FdModel, ReferenceMeetsClose) {
  expect_right_so_far(reference_meets_close, 10'000);
}
TEST(FdModel, ReleaseMeetsClose) {
  expect_right_so_far(release_meets_close, 10'000);
}

TEST(FdModel, Mutants) {
  std::vector<model::Program> programs;
  for (const auto& p : {turns, short_reads, close_meets_reads, close_meets_both, woken_destroys,
                        two_close, stop_meets_turn, reference_meets_close, release_meets_close}) {
    programs.push_back({{.random_runs = 1'000}, p});
  }
  programs.push_back({{.random_runs = 150'000}, turn_without_waiter});
  expect_mutants_die({"fd.cpp"}, programs);
}

}  // namespace
}  // namespace gort
