// Models of timers (T1 to T3 in timerheap.hpp): armed, stopped, fired and armed again by several
// threads, on the shipped timerheap.cpp. What a Timer and a heap hold is Plain, so the end of a
// Timer's frame races with whoever still touches it.
#include "sched/timerheap.hpp"

#include <gtest/gtest.h>

#include <array>

#include "checker/atomic.hpp"
#include "sched/wait.hpp"
#include "support.hpp"

namespace gort {
namespace {

using model::check;
using model::Thread;
using model::var;

// A timer that counts, and wakes nobody. Under the heap's lock, which therefore protects the count.
struct Counting : Timer {
  explicit Counting(int64_t when) {
    when_ns = when;
    arg = this;
    fire = count;
  }
  static G* count(Timer* t) noexcept {
    auto* self = static_cast<Counting*>(t->arg);
    self->fired = self->fired + 1;
    return nullptr;
  }
  var<int> fired = 0;
};

uint32_t run(TimerHeap& heap, int64_t now_ns) {
  return heap.run(now_ns, [](G*) { check(false, "nobody is to be woken"); });
}

// T2: the timer stands in a frame that ends once stop() has returned, whoever was faster.
void stop_and_fire() {
  TimerHeap heap;
  uint32_t fired = 0;
  bool stopped = false;
  Thread owner([&] {
    Counting t(5);
    check(heap.add(&t), "the only one is the earliest");
    stopped = TimerHeap::stop(&t);
    check(stopped == (t.fired == 0), "stop() says whether it has fired");
  });
  fired = run(heap, 5);
  owner.join();
  fired += run(heap, 5);
  check(fired == (stopped ? 0u : 1u), "it fires once, or has been stopped");
  check(heap.size() == 0 && heap.next_when() == kNever, "the heap is empty");
}

// T2, where a timer that fires arms itself again: stop() finds it armed or waits until it is.
struct Again : Counting {
  explicit Again(int64_t when) : Counting(when) { fire = count_and_arm; }
  static G* count_and_arm(Timer* t) noexcept {
    count(t);
    t->when_ns = t->when_ns + 5;
    t->again = true;
    return nullptr;
  }
};
void stop_and_fire_again() {
  TimerHeap heap;
  Thread owner([&] {
    Again t(5);
    (void)heap.add(&t);
    check(TimerHeap::stop(&t), "one that arms itself again is always armed");
    check(!TimerHeap::stop(&t), "but once only");
  });
  (void)run(heap, 5);
  owner.join();
  check(run(heap, 100) == 0 && heap.next_when() == kNever, "the heap is empty");
}

// Two Ms run one heap, the owner and a thief. Each timer fires once, those that are due alone.
void two_run() {
  TimerHeap heap;
  Counting a(1), b(2), c(9);
  (void)heap.add(&c);
  (void)heap.add(&b);
  (void)heap.add(&a);
  uint32_t thief = 0;
  Thread other([&] { thief = run(heap, 5); });
  const uint32_t owner = run(heap, 5);
  other.join();
  check(owner + thief == 2, "what is due fires");
  check(a.fired == 1 && b.fired == 1 && c.fired == 0, "once");
  check(heap.next_when() == 9 && heap.size() == 1, "T3");
  check(TimerHeap::stop(&c), "what is not due stays armed");
}

// A timer that wakes the fiber in whose frame it stands: that fiber runs from wake() on, on another
// M, and then the timer is gone.
struct Waking : Timer {
  explicit Waking(int64_t when, G* g) {
    when_ns = when;
    arg = g;
    fire = [](Timer* t) noexcept { return static_cast<G*>(t->arg); };
  }
};
void wake_its_owner() {
  TimerHeap heap;
  alignas(G*) static std::array<std::byte, 64> stands_for_a_g;
  G* const g = reinterpret_cast<G*>(stands_for_a_g.data());
  model::Event woken;
  int wakes = 0;
  Thread sleeper([&] {
    Waking t(5, g);
    (void)heap.add(&t);
    woken.wait();
  });
  const auto wake = [&](G* who) {
    check(who == g, "its own fiber");
    ++wakes;
    woken.set();
  };
  Thread thief([&] {
    while (wakes == 0) {
      (void)heap.run(5, wake);
      model::pause();
    }
  });
  (void)heap.run(5, wake);
  sleeper.join();
  thief.join();
  check(wakes == 1, "one wake-up");
}

// A deadline that is moved later by a word of its own while the timer stays armed (P4, P5 in
// netpoll.cpp): the mover relies on a fire() to come, or arms anew. Whatever comes first, the
// deadline has a timer.
struct Moving : Timer {
  explicit Moving(int64_t when) : deadline(when) {
    when_ns = when;
    arg = this;
    fire = look;
  }
  static G* look(Timer* t) noexcept {
    auto* self = static_cast<Moving*>(t->arg);
    const int64_t when = self->deadline.load(std::memory_order_relaxed);
    if (when > t->when_ns) {
      t->when_ns = when;
      t->again = true;
    } else {
      self->passed = self->passed + 1;
    }
    return nullptr;
  }
  Atomic<int64_t> deadline;
  var<int> passed = 0;
};
void move_a_deadline() {
  TimerHeap heap;
  Moving t(5);
  (void)heap.add(&t);
  Thread mover([&] {
    t.deadline.store(8, std::memory_order_relaxed);
    if (!TimerHeap::fires_by(&t, 8)) {
      check(!TimerHeap::stop(&t), "it has fired, and was not armed again");
      check(t.passed == 1, "what it did is seen");
      t.when_ns = 8;
      (void)heap.add(&t);
    }
  });
  (void)run(heap, 5);
  mover.join();
  const int before = t.passed;
  (void)run(heap, 8);
  check(t.passed == before + 1, "a timer is there for the deadline");
  check(heap.next_when() == kNever, "and fires once");
}

// A timer that one thread arms while others arm theirs: who comes as the earliest is told so
// (timer_add() breaks the poll for it), and T3 holds.
void add_two() {
  TimerHeap heap;
  Counting a(5), b(3);
  bool b_first = false;
  Thread other([&] { b_first = heap.add(&b); });
  (void)heap.add(&a);
  check(heap.next_when() <= 5, "T3");
  other.join();
  check(b_first, "the earliest of all is told so");
  check(heap.next_when() == 3 && heap.size() == 2, "T3");
  check(run(heap, 10) == 2, "both fire");
}

// T3 for a sleeper: who promises to sleep and then looks finds the timer, or who adds it finds the
// sleeper. The fences are those of timer_add() and idle.cpp (I6).
void look_and_add() {
  TimerHeap heap;
  Counting t(5);
  Atomic<bool> sleeps{false};
  bool told = false;
  Thread adder([&] {
    (void)heap.add(&t);
    Mem::fence(std::memory_order_seq_cst);
    told = sleeps.load(std::memory_order_relaxed);
  });
  sleeps.store(true, std::memory_order_relaxed);
  Mem::fence(std::memory_order_seq_cst);
  const int64_t when = heap.next_when();
  adder.join();
  check(told || when == 5, "no timer is overslept");
  check(TimerHeap::stop(&t), "armed");
}

TEST(TimerHeapModel, StopAndFire) {
  expect_right({.preemptions = 3}, stop_and_fire);
}
TEST(TimerHeapModel, StopAndFireAgain) {
  expect_right({.preemptions = 3}, stop_and_fire_again);
}
TEST(TimerHeapModel, TwoRun) {
  expect_right({}, two_run);
}
TEST(TimerHeapModel, WakeItsOwner) {
  expect_right({.preemptions = 2}, wake_its_owner);
}
TEST(TimerHeapModel, MoveADeadline) {
  expect_right({}, move_a_deadline);
}
TEST(TimerHeapModel, AddTwo) {
  expect_right({}, add_two);
}
TEST(TimerHeapModel, LookAndAdd) {
  expect_right({}, look_and_add);
}
TEST(TimerHeapModel, Mutants) {
  expect_mutants_die({"timerheap.cpp", "timerheap.hpp"}, {{{.preemptions = 2}, stop_and_fire},
                                                          {{.preemptions = 2}, stop_and_fire_again},
                                                          {{.preemptions = 2}, wake_its_owner},
                                                          {{.preemptions = 2}, move_a_deadline},
                                                          {{.preemptions = 2}, add_two},
                                                          {{}, look_and_add}});
}

}  // namespace
}  // namespace gort
