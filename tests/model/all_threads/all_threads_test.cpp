// Models of a system call on all threads (AT1 to AT3, AT5, AT6), and their mutants: threads that come at any moment, end,
// begin, or do not come; short lists; callers that stop each other.
#include "signal/all_threads.hpp"

#include <gtest/gtest.h>

#include <cerrno>

#include "all_threads/kernel.hpp"
#include "support.hpp"

namespace gort {
namespace {

using model::check;
using model::Options;
using model::Thread;

using Process = ModelProcess;

AllThreadsResult call(long nr, int64_t patience_ns) {
  const AllThreadsResult r = doAllThreadsSyscall(nr, {5, 0, 0, 0, 0, 0}, patience_ns);
  return r;
}
constexpr int64_t kForever = INT64_MAX;

void resident(int callers = 1) {
  Process::wait_for_end(callers);
}

// Born before anything begins: the first thread waits for it.
class There {
 public:
  void born() {
    Process::is_born();
    event_.set();
  }
  void wait() { event_.wait(); }

 private:
  model::Event event_;
};

// AT1, AT2: two others.
template <int kOthers>
void everybody_calls() {
  Process::begin();
  There there;
  const auto other = [&] {
    there.born();
    resident();
  };
  Thread a(other);
  there.wait();
  const auto go = [] {
    const AllThreadsResult r = call(Process::kWorks, kForever);
    check(r.error == 0 && r.result == 7, "it goes well");
    check(Process::calls() == 1 + kOthers, "all have made it");
    Process::caller_is_done();
  };
  if constexpr (kOthers == 2) {
    Thread b(other);
    there.wait();
    go();
  } else {
    go();
  }
}

// AT1: the caller is refused; the others go on without. Then it goes, from a clean start.
void refused_and_again() {
  Process::begin();
  There there;
  Thread a([&] {
    there.born();
    resident();
  });
  there.wait();
  check(call(Process::kRefuses, kForever).result == -EPERM, "the caller is refused");
  check(Process::calls() == 0, "nobody else makes it");
  check(call(Process::kWorks, kForever).result == 7, "it goes well");
  check(Process::calls() == 2, "both have made it");
  Process::caller_is_done();
}

// AT1: one ends, with a signal or without.
void one_ends() {
  Process::begin();
  There there;
  Thread a([&] {
    there.born();
    Process::may_take_signal();
    Process::ends();
  });
  there.wait();
  check(call(Process::kWorks, kForever).result == 7, "it goes well");
  Process::caller_is_done();
}

// AT1: one makes another, at any moment before it is stopped, or after.
void one_makes_another() {
  Process::begin();
  There there;
  Thread a([&] {
    there.born();
    Process::may_take_signal();
    Process::makes(2);
    resident();
  });
  Thread b([] {
    Process::wait_until_made();
    resident();
  });
  there.wait();
  check(call(Process::kWorks, kForever).result == 7, "it goes well");
  Process::caller_is_done();
}

// AT1: a list that lacks the second, which would not be stopped.
void a_short_list() {
  Process::begin();
  There there;
  const auto other = [&] {
    there.born();
    resident();
  };
  Thread a(other);
  there.wait();
  Thread b(other);
  there.wait();
  Process::cut_list_before(2);
  check(call(Process::kWorks, kForever).result == 7, "it goes well");
  check(Process::calls() == 3, "all have made it");
  Process::caller_is_done();
}

// AT3, AT5: one is late, any time; if it is given up, nothing has happened, and the next call goes.
void a_late_one() {
  Process::begin();
  There there;
  Thread a([&] {
    there.born();
    resident();
  });
  there.wait();
  const AllThreadsResult r = call(Process::kWorks, 0);
  if (r.error != 0) {
    check(r.error == -EBUSY && (r.tid == Process::kTidOfFirst + 1 || r.tid == 0),
          "it says who, but for one who comes just then");
    check(Process::calls() == 0, "nobody has made it");
    check(call(Process::kWorks, kForever).error == 0, "it goes well");
  }
  check(Process::calls() == 2, "both have made it");
  Process::caller_is_done();
}

// AT6: two callers stop each other.
void two_callers() {
  Process::begin();
  There there;
  Thread a([&] {
    there.born();
    Process::may_take_signal();
    check(call(Process::kRefuses, kForever).error == 0, "it goes well");
    Process::may_take_signal();
    Process::ends();
  });
  there.wait();
  check(call(Process::kWorks, kForever).error == 0, "it goes well");
  Process::may_take_signal();
  Process::ends();
}

// AT6: three wait for the turn, and find what the last one has left.
void turns() {
  Process::begin();
  Process::each_is_alone();
  const auto caller = [] { check(call(Process::kWorks, kForever).result == 7, "it goes well"); };
  Thread a(caller);
  Thread b(caller);
  caller();
}

TEST(AllThreadsModel, EverybodyCalls) {
  expect_right({.preemptions = 2, .stale = 1}, everybody_calls<1>);
  expect_right_so_far(everybody_calls<2>, 20'000);
}
TEST(AllThreadsModel, TheCallerIsRefused) {
  expect_right_so_far(refused_and_again, 50'000);
}
TEST(AllThreadsModel, ThreadsComeAndGo) {
  expect_right_so_far(one_ends, 50'000);
  expect_right_so_far(one_makes_another, 50'000);
  expect_right_so_far(a_short_list, 50'000);
}
TEST(AllThreadsModel, OneComesLate) {
  expect_right_so_far(a_late_one, 50'000);
  const model::Result r =
      model::explore({.random_runs = 20'000, .seed = 1, .spurious = 4}, a_late_one);
  EXPECT_FALSE(r.failed) << r;
}
TEST(AllThreadsModel, CallersStopEachOther) {
  expect_right_so_far(two_callers, 50'000);
  expect_right_so_far(turns, 50'000);
}
TEST(AllThreadsModel, Mutants) {
  const Options some{.preemptions = 1, .stale = 1, .max_runs = 5'000, .spurious = 2};
  const Options random{.random_runs = 5'000, .seed = 1, .spurious = 4};
  expect_mutants_die({"all_threads.cpp"}, {{some, everybody_calls<1>},
                                           {some, refused_and_again},
                                           {random, refused_and_again},
                                           {random, a_late_one},
                                           {random, two_callers},
                                           {some, turns}});
}

}  // namespace
}  // namespace gort
