// Models of task_group (TG1 to TG3 in task_group.cpp), on the shipped mutex.cpp, condition_variable.cpp, stop.cpp and spawn.cpp. The
// group stands on the stack of who joins, so that whoever touches it behind the last count would touch a frame that is gone.
#include "gort/task_group.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

#include "gort/fiber.hpp"
#include "gort/fiber_local.hpp"
#include "passing_time.hpp"
#include "port/machine.hpp"
#include "port/port.hpp"
#include "sched/stop.hpp"
#include "sync_support.hpp"

namespace gort {
namespace {

using model::check;
using model::Event;
using model::Thread;
using model::var;

constexpr attrs kOn0{.name = "0"};
constexpr attrs kOn1{.name = "1"};
constexpr attrs kOn2{.name = "2"};

// A wait that a stop request alone ends.
void wait_to_be_stopped() {
  detail::sleep_until_ns(kNever - 1);
}

// What nobody may touch once the group is gone.
class Frame {
 public:
  Frame() { start_without_waiters(&group_); }
  ~Frame() { check(waiters_of(&group_) == 0, "nobody is queued any more"); }
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;
  task_group* operator->() { return &group_; }

 private:
  task_group group_;
};

// On a fiber of machine 2, to its end.
void on_a_fiber(const std::function<void()>& body) {
  Event over;
  go(kOn2, [&] {
    body();
    over.set();
  });
  over.wait();
}

// TG1: what the tasks have done happens before the join, and the group may go at once.
void both_end() {
  ModelRuntime runtime(3);
  on_a_fiber([] {
    var<int> one;
    var<int> two;
    Frame g;
    g->spawn(kOn0, [&] { one = 1; });
    g->spawn(kOn1, [&] { two = 2; });
    g->join();
    check(one + two == 3, "both have run");
  });
}

// The same, joined by a thread that is no fiber.
void thread_joins() {
  ModelRuntime runtime(2);
  var<int> one;
  Frame g;
  g->spawn(kOn0, [&] {
    g->spawn(kOn1, [&] { one = 1; });  // into its own group
  });
  g->join();
  check(one == 1, "all have run, those that came later, too");
}

// TG1: behind the destructors of the function and of fiber_locals.
void ends_are_before() {
  struct Last {
    explicit Last(var<int>* of) : at(of) {}
    Last(Last&& o) noexcept : at(std::exchange(o.at, nullptr)) {}
    ~Last() {
      if (at != nullptr) *at = *at + 1;
    }
    var<int>* at;
  };
  ModelRuntime runtime(3);
  on_a_fiber([] {
    fiber_local<std::optional<Last>> mine;
    var<int> ends;
    Frame g;
    g->spawn(kOn0, [&, last = Last(&ends)] { mine.get().emplace(&ends); });
    g->join();
    check(ends == 2, "TG1: all that the task was is gone");
  });
}

// TG2: the one that fails asks the other, which may not have begun.
void one_fails() {
  ModelRuntime runtime(3);
  on_a_fiber([] {
    Frame g;
    bool caught = false;
    bool asked = false;
    g->spawn(kOn0, [] { throw std::runtime_error("failed"); });
    g->spawn(kOn1, [&] {
      try {
        wait_to_be_stopped();
      } catch (const stopped&) {
        asked = true;
        throw;
      }
    });
    try {
      g->join();
    } catch (const std::runtime_error&) {
      caught = true;
    }
    check(asked, "TG2: the other was asked");
    check(caught, "the failure is thrown where they are joined");
  });
}

// Two fail at once: one of the two failures is kept.
void both_fail() {
  ModelRuntime runtime(3);
  on_a_fiber([] {
    Frame g;
    int caught = 0;
    g->spawn(kOn0, [] { throw 1; });
    g->spawn(kOn1, [] { throw 2; });
    try {
      g->join();
    } catch (int n) {
      caught = n;
    }
    check(caught == 1 || caught == 2, "the first failure");
    g->join();  // of which nothing is left
  });
}

// TG2: somebody asks while tasks begin and end.
void asked_from_outside() {
  ModelRuntime runtime(2);
  int asked = 0;
  Frame g;
  Thread other([&] { g->request_stop(); });
  for (const attrs& on : {kOn0, kOn1}) {
    g->spawn(on, [&] {
      try {
        wait_to_be_stopped();
      } catch (const stopped&) {
        ++asked;
      }
    });
  }
  g->join();
  check(asked == 2, "TG2: each hears of it");
  other.join();
}

// TG3: the joiner is asked. It hands it on, waits for all, and throws if it had to wait and was told by nothing else.
void joiner_is_asked() {
  ModelRuntime runtime(3);
  Event over;
  bool task_stopped = false;
  bool thrown = false;
  task<void> joiner = spawn(kOn2, [&] {
    {
      Frame g;
      g->spawn(kOn0, [&] {
        try {
          wait_to_be_stopped();
        } catch (const stopped&) {
          task_stopped = true;
        }
      });
      try {
        g->join();
      } catch (const stopped&) {
        thrown = true;
      }
    }
    over.set();
  });
  joiner.request_stop();
  joiner.detach();
  over.wait();
  check(task_stopped, "TG3: handed on");
  check(thrown, "TG3: and told to the joiner behind it");
}

// TG3 in the destructor: nothing is thrown, and the request stays for the next wait.
void destructor_is_asked() {
  ModelRuntime runtime(3);
  Event over;
  bool thrown = false;
  task<void> joiner = spawn(kOn2, [&] {
    try {
      {
        Frame g;
        g->spawn(kOn0, [&] {
          try {
            wait_to_be_stopped();
          } catch (const stopped&) {
          }
        });
      }
      wait_to_be_stopped();
    } catch (const stopped&) {
      thrown = true;
    }
    over.set();
  });
  joiner.request_stop();
  joiner.detach();
  over.wait();
  check(thrown, "TG3: the next ordinary wait");
}

// TG3: the end of the joiner's callback waits for that of the program's, which looks at the group.
void a_callback_looks_at_the_group() {
  ModelRuntime runtime(3);
  Event over;
  Event there;
  task<void> joiner = spawn(kOn2, [&] {
    {
      struct {
        Frame group;
        Event called;
      } f;
      const detail::stop_call look{[](void* of) noexcept {
                                     auto* const frame = static_cast<decltype(f)*>(of);
                                     frame->called.set();
                                     const std::chrono::steady_clock::time_point past;
                                     (void)frame->group->join_until(past);
                                   },
                                   &f};
      const detail::stop_hook looks(f.group->stop_token(), look);
      f.group->spawn(kOn0, [&] {
        there.set();
        f.called.wait();
      });
      try {
        f.group->join();
      } catch (const stopped&) {
      }
    }
    over.set();
  });
  there.wait();
  joiner.request_stop();
  joiner.detach();
  over.wait();
}

// ---- Joins with a limit, of a fiber on machine 2 ----

constexpr std::chrono::steady_clock::time_point kLimit{std::chrono::nanoseconds(5)};
constexpr int64_t kLongAfter = 1000;

// The limit against the end: what the join says is so, and behind it the group may be joined, and go.
void limit_and_end() {
  ModelRuntime runtime(3);
  Event over;
  var<int> one;
  go(kOn2, [&] {
    {
      Frame g;
      g->spawn(kOn0, [&] { one = 1; });
      if (g->join_until(kLimit)) {
        check(one == 1, "all have run");
      } else {
        g->join();
        check(one == 1, "they go on behind the limit");
      }
    }
    over.set();
  });
  const PassingTime time(2, kLongAfter);
  over.wait();
}

// TG3 with a limit: the request is thrown, by the task's end or by the limit; or it comes so late that the next wait throws it.
void limit_end_and_stop() {
  ModelRuntime runtime(3);
  Event over;
  bool task_stopped = false;
  int thrown = 0;
  task<void> joiner = spawn(kOn2, [&] {
    {
      Frame g;
      g->spawn(kOn0, [&] {
        try {
          wait_to_be_stopped();
        } catch (const stopped&) {
          task_stopped = true;
        }
      });
      try {
        if (!g->join_until(kLimit)) wait_to_be_stopped();
      } catch (const stopped&) {
        ++thrown;
      }
      g->request_stop();
    }
    over.set();
  });
  Thread asks([&] {
    joiner.request_stop();
    joiner.detach();
  });
  {
    const PassingTime time(2, kLongAfter);
    over.wait();
  }
  asks.join();
  check(task_stopped, "TG3: the task has been told");
  check(thrown == 1, "TG3: and the joiner, once");
}

constexpr uint64_t kRuns = 5'000;

TEST(TaskGroupModel, Ends) {
  expect_right_at_random(kRuns, both_end);
  expect_right_at_random(kRuns, thread_joins);
  expect_right_at_random(kRuns, ends_are_before);
}
TEST(TaskGroupModel, Failures) {
  expect_right_at_random(kRuns, one_fails);
  expect_right_at_random(kRuns, both_fail);
}
TEST(TaskGroupModel, Requests) {
  expect_right_at_random(kRuns, asked_from_outside);
  expect_right_at_random(kRuns, joiner_is_asked);
  expect_right_at_random(kRuns, destructor_is_asked);
  expect_right_at_random(kRuns, a_callback_looks_at_the_group);
}
TEST(TaskGroupModel, Limits) {
  expect_right_at_random(kRuns, limit_and_end);
  expect_right_at_random(kRuns, limit_end_and_stop);
}

}  // namespace
}  // namespace gort
