// Foreign threads that wait: any thread of a program, with a stand-in G as in current.cpp.
#include <array>
#include <new>

#include "checker/checker.hpp"
#include "sched/current.hpp"

namespace gort {
namespace {

// Never freed, and the same in each run. A thread that ends gives its stand-in back under a lock, under which the next
// takes it (current.cpp), so that to a late waker they are one thread that waits twice (JoinModel.ForeignJoinsTwice).
struct StandIn {
  alignas(G) std::byte memory[sizeof(G)];
  G* g = nullptr;
  uint64_t run = 0;
};
std::array<StandIn, model::kMaxThreads> stand_ins;

}  // namespace

const void* this_thread_mark() noexcept {
  return foreign_g();
}

G* foreign_g() noexcept {
  StandIn& s = stand_ins[model::this_thread()];
  if (s.run != model::run_number()) {
    s.run = model::run_number();
    s.g = new (s.memory) G;
    s.g->kind = GKind::thread;
    s.g->state.store(GState::running, std::memory_order_relaxed);
  }
  return s.g;
}

G* current_g() noexcept {
  const M* m = current_m();
  return m != nullptr ? m->cur : foreign_g();
}

}  // namespace gort
