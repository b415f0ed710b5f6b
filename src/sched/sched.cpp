#include "sched/sched.hpp"

#include "base/mem.hpp"
#include "sched/chaos.hpp"

namespace gort {

constinit Atomic<Sched*> live_sched{nullptr};
constinit ForeignParked foreign_parked;
constinit HouseThreads house_threads;
constinit Atomic<int> outside_wakers{0};
constinit Atomic<bool> open_for_visitors{false};
constinit Atomic<int> Visitor::count{0};

void Visitor::close_the_door() noexcept {
  open_for_visitors.store(false, std::memory_order_seq_cst);  // seq_cst: U1
  chaos_point(ChaosPoint::door_closed);
  // seq_cst: U1, and we learn what they have done. Visits are a few instructions and one system
  // call long.
  while (Mem::recheck(count.load(std::memory_order_seq_cst) != 0)) os::osyield();
}

}  // namespace gort
