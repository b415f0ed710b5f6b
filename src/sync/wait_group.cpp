// wait_group: what it says to those who miscount, and its end. The rest is countdown.cpp.
#include "gort/wait_group.hpp"

#include <stdexcept>

#include "base/in_exit.hpp"
#include "sched/fork.hpp"
#include "sched/sched.hpp"

namespace gort {

// Rejected: to end the process with a message, as a joinable std::thread does. What has thrown is most often gort::stopped, in a
// program that is being shut down in the ordinary way.
void wait_group::wait_at_the_end() noexcept {
  if (after_fork) return;  // FK1: those that are counted are the parent's
  if (in_exit()) return;   // of a static one: nobody asks the fibers to end
  {
    const Visitor visit;
    if (!runtime_alive()) return;
  }
  (void)count_.take_and_wait(0, role::group);
}

void wait_group::throw_no_such_count(std::ptrdiff_t added) {
  if (added < 0) throw std::logic_error("gort::wait_group: the count would fall below zero");
  throw std::logic_error("gort::wait_group: the count is too large");
}

}  // namespace gort
