// Models of visitors (U1 in sched.hpp): foreign threads that come while a runtime ends. The runtime
// of these programs is a Sched with one P, in memory that may not be touched once the door is
// closed and nobody is in.
#include <gtest/gtest.h>

#include <optional>

#include "checker/atomic.hpp"
#include "sched/sched.hpp"
#include "sched/timer.hpp"
#include "support.hpp"

namespace gort {
namespace {

using model::check;
using model::Thread;
using model::var;

// What run() does around it: the door is opened last, and closed before anything is released.
class Runtime {
 public:
  Runtime() {
    sched_.emplace();
    sched_->procs = new P[1];
    sched_->procs_limit.store(1, std::memory_order_relaxed);
    live_sched.store(&*sched_, std::memory_order_release);
    what_it_is_made_of_ = 1;
    open_for_visitors.store(true, std::memory_order_seq_cst);
  }
  ~Runtime() {
    Visitor::close_the_door();
    what_it_is_made_of_ = 0;
    delete[] sched_->procs;
    live_sched.store(nullptr, std::memory_order_release);
    sched_.reset();
  }
  [[nodiscard]] bool touch() const { return what_it_is_made_of_ == 1; }

 private:
  std::optional<Sched> sched_;
  var<int> what_it_is_made_of_ = 0;
};

// A visitor who finds the door open may use what the runtime is made of, as long as he is in.
void visit_and_end() {
  std::optional<Runtime> runtime(std::in_place);
  Thread visitor([&] {
    const Visitor visit;
    if (runtime_alive()) check(runtime->touch(), "the runtime is whole");
  });
  Thread another([&] {
    const Visitor visit;
    if (runtime_alive()) check(runtime->touch(), "the runtime is whole");
  });
  runtime.reset();
  visitor.join();
  another.join();
}

// A thread that learns of the runtime from the open door alone.
void come_early() {
  std::optional<Runtime> runtime;
  Thread visitor([&] {
    const Visitor visit;
    if (!runtime_alive()) return;
    check(runtime->touch(), "the runtime is whole");
    check(sched().procs_limit.load(std::memory_order_relaxed) == 1, "and found");
  });
  runtime.emplace();
  runtime.reset();
  visitor.join();
}

// A descriptor that is closed while the runtime ends that has armed its deadline (netpoll_close()).
// Its record may be used again afterwards, in the next runtime.
void close_with_a_deadline() {
  Timer t;
  t.when_ns = 5;
  t.fire = [](Timer*) noexcept -> G* { return nullptr; };
  std::optional<Runtime> runtime(std::in_place);
  (void)sched().procs[0].timers.add(&t);
  Thread closer([&] {
    const Visitor visit;
    timer_stop(visit, &t);
  });
  runtime.reset();
  closer.join();
  runtime.emplace();
  check(sched().procs[0].timers.add(&t), "the timer is nobody's");
  runtime.reset();
}

TEST(VisitorModel, VisitAndEnd) {
  expect_right({}, visit_and_end);
}
TEST(VisitorModel, ComeEarly) {
  expect_right({}, come_early);
}
TEST(VisitorModel, CloseWithADeadline) {
  expect_right({}, close_with_a_deadline);
}
TEST(VisitorModel, Mutants) {
  expect_mutants_die({"sched.cpp", "sched.hpp", "timer.cpp"},
                     {{{}, visit_and_end}, {{}, come_early}, {{}, close_with_a_deadline}});
}

}  // namespace
}  // namespace gort
