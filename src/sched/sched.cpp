#include "sched/sched.hpp"

namespace gort {

constinit std::atomic<Sched*> live_sched{nullptr};
constinit std::atomic<int> foreign_parked{0};
constinit std::atomic<bool> open_for_visitors{false};
constinit std::atomic<int> Visitor::count{0};

void Visitor::wait_for_none() noexcept {
  // seq_cst: U1. Visits are a few instructions and one system call long.
  while (count.load(std::memory_order_seq_cst) != 0) os::osyield();
}

}  // namespace gort
