// Models of a program's timers (AL1 to AL5 in alarm.cpp): stopped, set again and let go of while they fire, on the shipped alarm.cpp,
// chan.cpp and timerheap.cpp; functions on fibers of the shipped spawn.cpp. Who fires is a thread that runs the heap, as an M
// without a P does. The clock stands at 0; who runs the heap says what time it is.
#include "sync/alarm.hpp"

#include <gtest/gtest.h>

#include <utility>

#include "port/machine.hpp"
#include "port/port.hpp"
#include "sched/park.hpp"
#include "sched/sched.hpp"
#include "sched/timer.hpp"
#include "support.hpp"

namespace gort {
namespace {

using detail::alarm;
using model::check;
using model::Event;
using model::Thread;
using model::var;

constexpr int64_t kSoon = 5;
constexpr int64_t kLater = 100;

void run_heap(int64_t now_ns) {
  const Visitor visit;
  if (!runtime_alive()) return;
  (void)sched().procs[0].timers.run(now_ns, [](G* g) { ready(g); });
}

// A timer that sends, and its channel.
struct Ticks {
  explicit Ticks(int64_t when, int64_t period = 0) : made(detail::tick_alarm_make(when, period)) {}
  ~Ticks() { drop(); }
  void drop() {
    if (made.channel != nullptr) detail::chan_release(std::exchange(made.channel, nullptr));
  }
  [[nodiscard]] bool stop() const { return detail::alarm_stop(made.a); }
  [[nodiscard]] bool reset(int64_t when, int64_t period = 0) const {
    return detail::alarm_reset(made.a, when, period);
  }
  [[nodiscard]] int take() const {
    detail::slot<std::chrono::steady_clock::time_point> tick;
    return detail::chan_recv(made.channel, &tick, detail::chan_now) == op_status::ok ? 1 : 0;
  }
  detail::tick_alarm made;
};

// AL1: nothing comes behind a stop, whoever is under way; and it says whether anything came.
void stop_and_fire() {
  ModelRuntime runtime(1);
  const Ticks t(kSoon);
  Thread m([] { run_heap(kSoon); });
  const bool stopped = t.stop();
  const int before = t.take();
  check(before == 0, "AL1: stop() leaves nothing behind");
  m.join();
  run_heap(kLater);
  check(t.take() == 0, "AL1: and nothing comes later");
  check(stopped, "what nobody has taken was to be taken");
}

// AL1: the same beside one who takes it.
void stop_and_take() {
  ModelRuntime runtime(1);
  const Ticks t(kSoon);
  int taken = 0;
  Thread m([&] {
    run_heap(kSoon);
    taken = t.take();
  });
  const bool stopped = t.stop();
  m.join();
  check(taken + (stopped ? 1 : 0) == 1, "AL1: a tick, or a true");
}

// AL1: the tick of the first time does not come for the second; and the second one's comes.
void reset_and_fire() {
  ModelRuntime runtime(1);
  const Ticks t(kSoon);
  Thread m([] { run_heap(kSoon); });
  const bool pending = t.reset(kLater);
  check(pending, "nobody has taken the first");
  check(t.take() == 0, "AL1: nothing of before");
  m.join();
  check(t.take() == 0, "AL1: nor later");
  run_heap(kLater);
  check(t.take() == 1 && t.take() == 0, "the second fires once");
}

// AL1: two Ms, one of which is late with the first time while the other fires the second.
void two_fire() {
  ModelRuntime runtime(1);
  const Ticks t(kSoon);
  int taken = 0;
  Thread m([] { run_heap(kSoon); });
  const bool pending = t.reset(kSoon);
  run_heap(kSoon);
  m.join();
  taken = t.take() + t.take();
  check(pending && taken == 1, "AL1: what was set twice and taken back once comes once");
}

// AL1: of a ticker, too, which is armed and due at the same time.
void stop_a_ticker() {
  ModelRuntime runtime(1);
  const Ticks t(kSoon, kSoon);
  Thread m([] { run_heap(kSoon); });
  check(t.stop(), "a ticker that runs");
  m.join();
  run_heap(kLater);
  check(t.take() == 0, "AL1: no ticks any more");
}

// AL5: set again to a beat that is due, while the one of before fires.
void reset_a_ticker_that_is_due() {
  ModelRuntime runtime(1);
  const Ticks t(0, kSoon);
  check(t.take() == 1, "the first beat is due");
  Thread m([] { run_heap(kSoon); });
  (void)t.reset(0, kSoon);
  m.join();
  check(t.take() == 1 && t.take() == 0, "what is due has come, and nothing heaps up");
  run_heap(kLater);
  check(t.take() == 1, "AL5: it goes on");
  check(t.stop(), "a ticker that runs");
  run_heap(2 * kLater);
  check(t.take() == 0, "AL1: no ticks any more");
}

// AL1: nothing of the old beat behind a reset; the new one goes on.
void reset_a_ticker() {
  ModelRuntime runtime(1);
  const Ticks t(kSoon, kSoon);
  Thread m([] { run_heap(kSoon); });
  check(t.reset(kLater, kLater), "a ticker that runs");
  check(t.take() == 0, "AL1: nothing of before");
  m.join();
  run_heap(2 * kSoon);
  check(t.take() == 0, "AL1: nor later");
  for (int beat = 1; beat <= 2; ++beat) {
    run_heap(beat * kLater);
    check(t.take() == 1 && t.take() == 0, "each new beat comes once");
  }
}

// AL2, AL3: the last handle goes while the timer fires.
void drop_and_fire() {
  ModelRuntime runtime(1);
  Ticks t(kSoon, kSoon);
  Thread m([] { run_heap(kSoon); });
  Thread n([] { run_heap(2 * kSoon); });
  t.drop();
  m.join();
  n.join();
  check(sched().procs[0].timers.size() == 0, "AL3: it does not stay");
}

// T5: finish() takes a lock that the thread holds when it arms a timer. A waiting thread gets it, and so may be the last one who knows the channel.
void wait_and_drop() {
  ModelRuntime runtime(1);
  Ticks t(kSoon);
  Thread m([] { run_heap(kSoon); });
  detail::slot<std::chrono::steady_clock::time_point> tick;
  check(detail::chan_recv(t.made.channel, &tick, detail::chan_forever) == op_status::ok,
        "it fires");
  t.drop();
  m.join();
}

// A function that counts, and its own ends.
struct Calls {
  struct Function {
    Calls* of;
  };
  explicit Calls(int64_t when) {
    const detail::func_alarm made = detail::func_alarm_make(
        sizeof(Function), alignof(Function),
        [](void* room) {
          Calls* of = static_cast<Function*>(room)->of;
          ++of->runs;
          of->ran.set();
        },
        [](void* room) { ++static_cast<Function*>(room)->of->ends; });
    a = made.a;
    new (made.room) Function{this};
    (void)detail::alarm_reset(a, when, 0);
  }
  void drop() { detail::func_alarm_release(a); }
  alarm* a;
  int runs = 0;
  int ends = 0;
  Event ran;
};

// AL1, AL3: a function runs, or was stopped; and is destroyed once.
void stop_a_call() {
  int runs = 0;
  bool stopped = false;
  {
    ModelRuntime runtime(1);
    Calls c(kSoon);
    Thread m([] { run_heap(kSoon); });
    stopped = detail::alarm_stop(c.a);
    c.drop();
    m.join();
    if (!stopped) c.ran.wait();
    runtime.close();
    runs = c.runs;
    check(c.ends == 1, "AL3: destroyed once");
  }
  check(runs + (stopped ? 1 : 0) == 1, "AL1: a call, or a true");
}

// AL3: nobody holds on to it; set again while it fires.
void reset_a_call() {
  ModelRuntime runtime(1);
  Calls c(kSoon);
  Thread m([] { run_heap(kSoon); });
  const bool pending = detail::alarm_reset(c.a, kLater, 0);
  c.drop();
  m.join();
  run_heap(kLater);
  c.ran.wait();
  if (!pending) c.ran.wait();
  runtime.close();
  check(c.runs == (pending ? 1 : 2), "AL1: once for each time that it was set and not taken back");
  check(c.ends == 1, "AL3: destroyed once");
}

// AL3, AL4: the runtime ends, and a thread lets go of what is armed there, or is too late to arm it.
void end_and_drop() {
  Calls* c;
  {
    ModelRuntime runtime(1);
    c = new Calls(kSoon);
    auto* t = new Ticks(kSoon);
    Thread owner([t, c] {
      delete t;
      c->drop();
    });
    runtime.close();
    Thread late([] { run_heap(kSoon / 2); });
    runtime.end();
    owner.join();
    late.join();
  }
  check(c->ends == 1 && c->runs == 0, "AL3: destroyed once, and never called");
  delete c;
}
void end_and_reset() {
  ModelRuntime runtime(1);
  const Ticks t(kSoon);
  Thread owner([&t] {
    try {
      (void)t.reset(kLater);
      (void)t.reset(kSoon);
    } catch (const std::logic_error&) {
    }
    (void)t.stop();
  });
  runtime.end();
  owner.join();
  check(!t.stop(), "nothing is armed without a runtime");
}

TEST(AlarmModel, StopAndFire) {
  expect_right({.preemptions = 2, .stale = 2}, stop_and_fire);
}
TEST(AlarmModel, StopAndTake) {
  expect_right({.preemptions = 2, .stale = 2}, stop_and_take);
}
TEST(AlarmModel, ResetAndFire) {
  expect_right({.preemptions = 2, .stale = 2}, reset_and_fire);
}
TEST(AlarmModel, TwoFire) {
  expect_right({.preemptions = 2, .stale = 2}, two_fire);
}
TEST(AlarmModel, StopATicker) {
  expect_right({.preemptions = 2, .stale = 2}, stop_a_ticker);
}
TEST(AlarmModel, ResetATickerThatIsDue) {
  expect_right({.preemptions = 2, .stale = 2}, reset_a_ticker_that_is_due);
}
TEST(AlarmModel, ResetATicker) {
  expect_right({.preemptions = 2, .stale = 2}, reset_a_ticker);
}
TEST(AlarmModel, DropAndFire) {
  expect_right_so_far(drop_and_fire, 20'000);
}
TEST(AlarmModel, WaitAndDrop) {
  expect_right_so_far(wait_and_drop, 20'000);
}
TEST(AlarmModel, StopACall) {
  expect_right_so_far(stop_a_call, 20'000);
}
TEST(AlarmModel, ResetACall) {
  expect_right_so_far(reset_a_call, 20'000);
}
TEST(AlarmModel, EndAndDrop) {
  expect_right_so_far(end_and_drop, 20'000);
}
TEST(AlarmModel, EndAndReset) {
  expect_right_so_far(end_and_reset, 20'000);
}
TEST(AlarmModel, Mutants) {
  std::vector<model::Program> programs;
  for (const auto& p : {stop_and_fire, stop_and_take, reset_and_fire, two_fire, stop_a_ticker,
                        reset_a_ticker, reset_a_ticker_that_is_due}) {
    programs.push_back({{.preemptions = 1, .stale = 1}, p});
  }
  for (const auto& p :
       {stop_a_call, reset_a_call, drop_and_fire, wait_and_drop, end_and_drop, end_and_reset}) {
    programs.push_back({{.random_runs = 3'000}, p});
  }
  expect_mutants_die({"alarm.cpp", "timer.cpp"}, programs);
}

}  // namespace
}  // namespace gort
