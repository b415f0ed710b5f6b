#include "sched/sched.hpp"

#include "base/mem.hpp"

namespace gort {

constinit Atomic<Sched*> live_sched{nullptr};
constinit Atomic<int> foreign_parked{0};
constinit Atomic<bool> open_for_visitors{false};
constinit Atomic<int> Visitor::count{0};

void Visitor::wait_for_none() noexcept {
  // seq_cst: U1. Visits are a few instructions and one system call long.
  while (count.load(std::memory_order_seq_cst) != 0) os::osyield();
}

}  // namespace gort
