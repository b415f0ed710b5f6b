// Models of shared_mutex.cpp (SH1 to SH5), with foreign threads and with fibers.
#include "gort/shared_mutex.hpp"

#include <gtest/gtest.h>

#include <chrono>

#include "port/fiber.hpp"
#include "port/port.hpp"
#include "sched/stop.hpp"
#include "sync_support.hpp"

namespace gort {
namespace {

using model::check;
using model::Thread;
using model::var;

constexpr int64_t kMoreThanPatienceNs = 1'500'000;
constexpr int64_t kHalfOfPatienceNs = 600'000;

std::chrono::steady_clock::time_point at_ns(int64_t ns) {
  return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(ns));
}

struct Guarded {
  shared_timed_mutex m;
  var<int> n;
  var<int> twice;

  void write() {
    m.lock();
    written();
  }
  void read() {
    m.lock_shared();
    seen();
  }
  int write_until(int64_t ns) {
    if (!m.try_lock_until(at_ns(ns))) return 0;
    written();
    return 1;
  }
  int read_until(int64_t ns) {
    if (!m.try_lock_shared_until(at_ns(ns))) return 0;
    seen();
    return 1;
  }
  int try_write() {
    if (!m.try_lock()) return 0;
    written();
    return 1;
  }
  void try_read() {
    if (m.try_lock_shared()) seen();
  }

  void expect_over(int writes) {
    check(n == writes && twice == 2 * writes, "every turn counts");
    check(m.try_lock(), "nobody has it any more");
    m.unlock();
    check(m.try_lock_shared(), "nobody has it any more");
    m.unlock_shared();
    check_all_over(this);
  }

 private:
  void written() {
    n = n + 1;
    twice = twice + 2;
    m.unlock();
  }
  void seen() {
    check(twice == 2 * n, "nobody writes while one reads");
    m.unlock_shared();
  }
};

template <int64_t kNsPerLook>
void writer_and_writer() {
  let_looks_take(kNsPerLook);
  Ended<Guarded> o;
  Thread t([&] { o->write(); });
  o->write();
  t.join();
  o->expect_over(2);
}

template <int64_t kNsPerLook>
void writer_and_reader() {
  let_looks_take(kNsPerLook);
  Ended<Guarded> o;
  Thread t([&] { o->read(); });
  o->write();
  t.join();
  o->expect_over(1);
}

// SH3: nobody is left asleep, whatever time is taken.
template <int64_t kNsPerLook>
void writers_and_reader() {
  let_looks_take(kNsPerLook);
  Ended<Guarded> o;
  Thread t([&] { o->write(); });
  Thread u([&] { o->read(); });
  o->write();
  t.join();
  u.join();
  o->expect_over(2);
}

template <int64_t kNsPerLook>
void writer_and_readers() {
  let_looks_take(kNsPerLook);
  Ended<Guarded> o;
  Thread t([&] { o->read(); });
  Thread u([&] { o->write(); });
  o->read();
  o->read();
  t.join();
  u.join();
  o->expect_over(1);
}

// One comes twice, and overtakes; a third one is behind him.
template <int64_t kNsPerLook>
void again() {
  let_looks_take(kNsPerLook);
  Ended<Guarded> o;
  Thread t([&] {
    o->write();
    o->read();
  });
  Thread u([&] {
    o->read();
    o->write();
  });
  o->write();
  o->read();
  o->write();
  t.join();
  u.join();
  o->expect_over(4);
}

void tried() {
  Ended<Guarded> o;
  int writes = 0;
  Thread t([&] { writes = o->try_write(); });
  Thread u([&] { o->try_read(); });
  o->write();
  o->read();
  t.join();
  u.join();
  o->expect_over(1 + writes);
}

// SH5: the last one ends it right after his own unlock.
template <int64_t kNsPerLook>
void last_one_ends_it() {
  struct Object {
    shared_mutex m;
    model::atomic<int> users{2};
  };
  let_looks_take(kNsPerLook);
  Ended<Object> o;
  const auto is_last = [&] { return o->users.fetch_sub(1, std::memory_order_acq_rel) == 1; };
  Thread t([&] {
    o->m.lock_shared();
    const bool last = is_last();
    o->m.unlock_shared();
    if (last) o.end();
  });
  o->m.lock();
  const bool last = is_last();
  o->m.unlock();
  if (last) o.end();
  t.join();
}

// SH4: at an unlock after the patience of the first writer in line, the mutex is his.
void handed_over() {
  let_looks_take(kMoreThanPatienceNs);
  Ended<Guarded> o;
  model::atomic<bool> had_it{false};
  o->m.lock_shared();
  Thread t([&] {
    o->m.lock();
    had_it.store(true, std::memory_order_relaxed);
    o->m.unlock();
  });
  wait_for_waiters(1, o.get());
  check(!o->m.try_lock_shared(), "SH2: a reader does not pass a writer in line");
  o->m.unlock_shared();
  if (o->m.try_lock()) {
    check(had_it.load(std::memory_order_relaxed), "nobody overtakes an overdue writer");
    o->m.unlock();
  }
  t.join();
  o->expect_over(0);
}

// SH4: a writer's unlock lets in all readers who stand first in line, at once: they meet inside.
void readers_together() {
  Ended<Guarded> o;
  model::atomic<int> inside{0};
  o->m.lock();
  const auto read = [&] {
    o->m.lock_shared();
    inside.fetch_add(1, std::memory_order_relaxed);
    while (inside.load(std::memory_order_relaxed) != 2) model::pause();
    o->m.unlock_shared();
  };
  Thread t(read);
  Thread u(read);
  wait_for_waiters(2, o.get());
  o->n = 1;
  o->twice = 2;
  o->m.unlock();
  t.join();
  u.join();
  o->expect_over(1);
}

// SH3: a writer between readers gives up; those behind him come in, though the others do not leave.
void writer_gives_up() {
  let_looks_take(10);
  Ended<Guarded> o;
  model::atomic<bool> other_is_in{false};
  o->write();
  o->m.lock_shared();
  Thread t([&] { (void)o->write_until(25); });
  Thread u([&] {
    o->m.lock_shared();
    check(o->n == 1, "what the last writer did is known");
    other_is_in.store(true, std::memory_order_relaxed);
    o->m.unlock_shared();
  });
  while (!other_is_in.load(std::memory_order_relaxed)) model::pause();
  o->m.unlock_shared();
  t.join();
  u.join();
}

// The same, behind a writer who has overtaken the one that gives up: who is let in knows what he did.
void overtaken_one_gives_up() {
  let_looks_take(10);
  Ended<Guarded> o;
  model::atomic<int> step{0};
  model::atomic<bool> reader_was_in{false};
  const auto reached = [&](int n) {
    while (step.load(std::memory_order_relaxed) < n) model::pause();
  };
  o->m.lock();
  bool gave_up = false;  // too early for us
  const auto queued = [&](int n) {
    model::await([&] { return waiters_of(o.get()) == n || gave_up; });
  };
  Thread t([&] {
    (void)o->write_until(45);
    gave_up = true;
  });
  queued(1);
  Thread u([&] {
    o->m.lock_shared();
    check(o->twice == 2 * o->n, "what the last writer did is known");
    reader_was_in.store(true, std::memory_order_relaxed);
    o->m.unlock_shared();
  });
  queued(2);
  Thread overtakes([&] {
    reached(1);
    (void)o->try_write();
    step.store(2, std::memory_order_relaxed);
  });
  o->m.unlock();
  step.store(1, std::memory_order_relaxed);
  reached(2);
  if (o->m.try_lock_shared()) {
    while (!reader_was_in.load(std::memory_order_relaxed)) model::pause();
    o->m.unlock_shared();
  }
  t.join();
  u.join();
  overtakes.join();
  check_all_over(o.get());
}

// Two readers inside, and a writer in line: the last one tells him what the other did.
void readers_leave() {
  Ended<Guarded> o;
  model::atomic<int> step{0};
  const auto reached = [&](int n) {
    while (step.load(std::memory_order_relaxed) < n) model::pause();
  };
  Thread t([&] {
    o->m.lock_shared();
    step.store(1, std::memory_order_relaxed);
    reached(2);
    check(o->n == 0, "nobody writes while one reads");
    o->m.unlock_shared();
    step.store(3, std::memory_order_relaxed);
  });
  o->m.lock_shared();
  reached(1);
  Thread u([&] { o->write(); });
  wait_for_waiters(1, o.get());
  step.store(2, std::memory_order_relaxed);
  reached(3);
  o->m.unlock_shared();
  t.join();
  u.join();
  o->expect_over(1);
}

// Everybody has a limit but one.
template <int64_t kNsPerLook>
void limits() {
  let_looks_take(kNsPerLook);
  Ended<Guarded> o;
  int writes = 0;
  Thread t([&] { writes = o->write_until(3 * kNsPerLook); });
  Thread u([&] {
    (void)o->read_until(4 * kNsPerLook);
    o->read();
  });
  o->read();
  o->write();
  t.join();
  u.join();
  o->expect_over(1 + writes);
}

void fibers() {
  ModelWorld world;
  Ended<Guarded> o;
  ModelFiber a([&] {
    o->read();
    o->write();
  });
  ModelFiber b([&] { o->read(); });
  o->write();
  a.join();
  b.join();
  o->expect_over(2);
}

// A stop request does not end a lock() or lock_shared().
void not_cancelled() {
  ModelWorld world;
  Ended<Guarded> o;
  ModelFiber a([&] {
    o->read();
    o->write();
  });
  o->m.lock();
  request_stop(a.g());
  o->m.unlock();
  o->write();
  a.join();
  o->expect_over(2);
}

TEST(SharedMutexModel, Two) {
  expect_right({.preemptions = 3}, writer_and_writer<0>);
  expect_right({.preemptions = 2}, writer_and_writer<kMoreThanPatienceNs>);
  expect_right({.preemptions = 3}, writer_and_reader<0>);
  expect_right({.preemptions = 2}, writer_and_reader<kMoreThanPatienceNs>);
}
TEST(SharedMutexModel, Three) {
  expect_right({.preemptions = 0}, writers_and_reader<0>);
  expect_right({.preemptions = 0}, writer_and_readers<0>);
  expect_right_at_random(20'000, writers_and_reader<0>);
  expect_right_at_random(20'000, writer_and_readers<0>);
  expect_right_at_random(20'000, writers_and_reader<kHalfOfPatienceNs>);
  expect_right_at_random(20'000, writer_and_readers<kHalfOfPatienceNs>);
}
TEST(SharedMutexModel, Again) {
  expect_right_at_random(20'000, again<0>);
  expect_right_at_random(20'000, again<kHalfOfPatienceNs>);
}
TEST(SharedMutexModel, Tried) {
  expect_right_at_random(20'000, tried);
}
TEST(SharedMutexModel, TheLastOneMayEndIt) {
  expect_right({.preemptions = 3}, last_one_ends_it<0>);
  expect_right({.preemptions = 2}, last_one_ends_it<kMoreThanPatienceNs>);
}
TEST(SharedMutexModel, HandOver) {
  expect_right({.preemptions = 2}, handed_over);
}
TEST(SharedMutexModel, ReadersTogether) {
  expect_right_at_random(5'000, readers_together);
}
TEST(SharedMutexModel, AWriterGivesUp) {
  expect_right_at_random(10'000, writer_gives_up);
  expect_right_at_random(10'000, overtaken_one_gives_up);
}
TEST(SharedMutexModel, ReadersLeave) {
  expect_right_at_random(5'000, readers_leave);
}
TEST(SharedMutexModel, Limits) {
  expect_right_at_random(20'000, limits<1>);
  expect_right_at_random(20'000, limits<kHalfOfPatienceNs>);
}
TEST(SharedMutexModel, Fibers) {
  expect_right_at_random(10'000, fibers);
}
TEST(SharedMutexModel, NotCancelled) {
  expect_right({.preemptions = 1}, not_cancelled);
  expect_right_at_random(5'000, not_cancelled);
}
TEST(SharedMutexModel, Mutants) {
  expect_mutants_die({"shared_mutex.cpp", "shared_mutex.hpp"},
                     {{{.preemptions = 2}, writer_and_writer<0>},
                      {{.preemptions = 2}, writer_and_reader<kMoreThanPatienceNs>},
                      {{.preemptions = 2}, last_one_ends_it<0>},
                      {{.random_runs = 5'000}, writers_and_reader<kHalfOfPatienceNs>},
                      {{.random_runs = 5'000}, writer_and_readers<0>},
                      {{.random_runs = 5'000}, writer_and_readers<kHalfOfPatienceNs>},
                      {{.random_runs = 5'000}, tried},
                      {{.random_runs = 5'000}, writer_gives_up},
                      {{.random_runs = 10'000}, overtaken_one_gives_up},
                      {{.random_runs = 5'000}, readers_leave},
                      {{.random_runs = 5'000}, limits<1>},
                      {{.random_runs = 5'000}, again<0>}});
}

}  // namespace
}  // namespace gort
