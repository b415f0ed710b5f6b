#include "port/fiber.hpp"

#include "base/check.hpp"
#include "port/machine.hpp"
#include "port/port.hpp"
#include "sched/find.hpp"
#include "sched/idle.hpp"
#include "sched/park.hpp"
#include "sched/pools.hpp"
#include "sched/sched.hpp"
#include "sched/spawn.hpp"
#include "sched/syscall.hpp"
#include "sched/timer.hpp"

namespace gort {

ModelWorld::ModelWorld() {
  live_sched.store(&sched_, std::memory_order_relaxed);
}

ModelFiber::ModelFiber(std::function<void()> body) : body_(std::move(body)) {
  g_.state.store(GState::running, std::memory_order_relaxed);
  g_.payload = this;
  m_.cur = &g_;
  m_.p = &p_;
  m_.eh = &eh_;
  far_m_.g0.kind = GKind::g0;
  far_m_.cur = &far_m_.g0;
  far_m_.p = &far_p_;
  far_.emplace([this] { far_side(); });
  own_.emplace([this] {
    this_thread_is(&m_);
    body_();
    this_thread_is(nullptr);
    over_ = true;
    left_.set();
  });
}

void ModelFiber::join() {
  own_->join();
  far_->join();
}

void ModelFiber::reach_limits() {
  (void)far_p_.timers.run(kNever - 1, [](G* g) { ready(g); });
}

void ModelFiber::leave_to_far_side(void (*after)(M*, G*, void*), void* arg) noexcept {
  after_ = after;
  after_arg_ = arg;
  left_.set();
  resumed_.wait();
}

void ModelFiber::far_side() {
  for (;;) {
    left_.wait();
    if (over_) return;
    this_thread_is(&far_m_);
    after_(&far_m_, &g_, after_arg_);
    this_thread_is(nullptr);
  }
}

// Fibers that spawn.cpp has made have machines to run on.
void go_on(G* g) noexcept {
  if (is_born(g)) return ModelMachine::run_next(g);
  ModelFiber::of(g).resume();
}

// ---- What park.cpp and stop.cpp need of the scheduler -------------------------------------------------

// A fiber that is made ready goes on at once, on an M that has taken it from there.
void wake_if_idle_lonely(P* p) noexcept {
  G* g = p->next.exchange(nullptr, std::memory_order_acq_rel);
  if (g != nullptr) go_on(g);
}
void push_queue(P*, G* g) noexcept {
  go_on(g);
}
void wake_if_idle() noexcept {
  Sched& s = sched();
  for (;;) {
    G* g;
    {
      const LockGuard guard(s.lock);
      g = s.globq.pop();
    }
    if (g == nullptr) return;
    go_on(g);
  }
}

bool enter_blocking() noexcept {
  return false;
}
void leave_blocking() noexcept {}
M* reenter_from_blocking() noexcept {
  fatal("no model has blocking()", __FILE__, __LINE__);
}
void netpoll_break() noexcept {}

void ModelWorld::let_time_pass(std::initializer_list<ModelFiber*> fibers) {
  M m;
  P p;
  m.p = &p;
  m.cur = &m.g0;
  m.g0.kind = GKind::g0;
  this_thread_is(&m);
  for (ModelFiber* f : fibers) f->reach_limits();
  this_thread_is(nullptr);
}

}  // namespace gort
