#include "sched/sched.hpp"

#include "base/check.hpp"
#include "base/mem.hpp"
#include "sched/chaos.hpp"

namespace gort {

constinit Atomic<Sched*> live_sched{nullptr};
constinit Atomic<bool> runtime_taken{false};
constinit bool after_fork = false;
constinit bool forked = false;
constinit ForeignParked foreign_parked;
constinit HouseThreads house_threads;
constinit Atomic<int> outside_wakers{0};
constinit Atomic<bool> open_for_visitors{false};
constinit Atomic<int> Visitor::count{0};

void fatal_after_fork() noexcept {
  fatal(
      "the child of a fork waits for fibers or threads of its parent, which are not there; it may "
      "call exec, or _exit",
      __FILE__, __LINE__);
}

void Visitor::forget_all() noexcept {
  count.store(0, std::memory_order_relaxed);  // relaxed: there is one thread
}

void Visitor::close_the_door() noexcept {
  open_for_visitors.store(false, std::memory_order_seq_cst);  // seq_cst: U1
  chaos_point(ChaosPoint::door_closed);
  // seq_cst: U1, and we learn what they have done. Visits are a few instructions and one system
  // call long.
  while (Mem::recheck(count.load(std::memory_order_seq_cst) != 0)) os::osyield();
}

}  // namespace gort
