#include "ms/world.hpp"

#include <utility>

#include "base/check.hpp"
#include "ms/mem/sched/loop.hpp"
#include "sched/census.hpp"
#include "sched/idle_list.hpp"
#include "sched/netpoll_internal.hpp"
#include "sched/park.hpp"
#include "sched/pools.hpp"
#include "sched/preempt.hpp"
#include "sched/region.hpp"
#include "sched/report.hpp"
#include "sched/schedtrace.hpp"
#include "sched/syscall.hpp"
#include "sched/sysmon.hpp"

namespace gort {

MsFiber::MsFiber(std::function<void()> body) : body_(std::move(body)) {
  g_.state.store(GState::dead, std::memory_order_relaxed);
  g_.payload = this;
  own_.emplace([this] {
    resumed_.wait();
    this_thread_is(m_);
    body_();
    this_thread_is(nullptr);
    over_ = true;
    m_->after = nullptr;
    m_->cur = &m_->g0;
    left_.set();
  });
}

MsFiber::MsFiber(Short, std::function<void()> body) : body_(std::move(body)) {
  g_.state.store(GState::dead, std::memory_order_relaxed);
  g_.payload = this;
}

void MsFiber::join() {
  ended_.wait();
  own_.reset();
}

void MsFiber::run_on(M* m) {
  m_ = m;
  set_state(&g_, GState::running);
  if (own_) {
    resumed_.set();
    left_.wait();
  } else {
    m->cur = &g_;
    body_();
    m->cur = &m->g0;
    m->after = nullptr;
    over_ = true;
  }
  if (over_) {
    set_state(&g_, GState::dead);
    if (g_.bound_to != nullptr) end_lock(m, &g_);
    if (counted_) count_end(m->p);
    ended_.set();
  }
}

M* MsFiber::leave(M* m) {
  this_thread_is(nullptr);
  (void)m;
  left_.set();
  resumed_.wait();
  this_thread_is(m_);
  m_->cur = &g_;
  return m_;
}

namespace {
MsWorld* the_world = nullptr;
}  // namespace

MsWorld::MsWorld(int procs) : nprocs_(procs) {
  the_world = this;
  live_sched.store(&sched_, std::memory_order_relaxed);
  open_for_visitors.store(true, std::memory_order_relaxed);
  sched_.procs = procs_;
  sched_.procs_made.store(procs, std::memory_order_relaxed);
  sched_.procs_in_use.store(procs, std::memory_order_relaxed);
  sched_.procs_limit.store(procs, std::memory_order_relaxed);
  sched_.max_threads = 8;
  sched_.deadlock = DeadlockMode::off;
  threads_.reserve(model::kMaxThreads);  // one may be made while another is waited for
  for (int i = 0; i < procs; ++i) {
    procs_[i].id = i;
    procs_[i].alone = procs == 1;
    procs_[i].use = PUse::held;
    procs_[i].random.seed(static_cast<uint64_t>(i));
  }
  ModelKernel::begin();
  GORT_CHECK(netpoll_init(sched_) == 0, "the model's kernel has no epoll");
}

MsWorld::~MsWorld() {
  netpoll_fini(sched_);
}

void MsWorld::put(int proc, MsFiber& fiber) {
  set_state(fiber.g(), GState::runnable);
  push_queue(&procs_[proc], fiber.g());
}

void MsWorld::put_next(int proc, MsFiber& fiber) {
  set_state(fiber.g(), GState::runnable);
  procs_[proc].next.store(fiber.g(), std::memory_order_relaxed);
}

void MsWorld::start() {
  for (int i = 0; i < nprocs_; ++i) start_m(&ms_[i], &procs_[i]);
}

void MsWorld::begin_idle() {
  const LockGuard guard(sched_.lock);
  for (int i = 0; i < nprocs_; ++i) list_idle_p(sched_, &procs_[i]);
}

void MsWorld::add_spare() {
  start_m(&ms_[sched_.m_count], nullptr);
}

void MsWorld::start_as_first() {
  M* m = &ms_[0];
  m_enter(m);
  m->p = &procs_[0];
  m->p->m.store(m, std::memory_order_relaxed);
  for (int i = 1; i < nprocs_; ++i) start_m(&ms_[i], &procs_[i]);
}

void begin_blocking() {
  GORT_CHECK(enter_blocking(), "a fiber may block");
  leave_region();
}

void end_blocking() {
  enter_region();
  leave_blocking();
}

void MsWorld::start_sysmon() {
  wake_sysmon_to_exit();  // a first look at once
  GORT_CHECK(gort::start_sysmon() == 0, "the model's kernel makes every thread of this kind");
  with_sysmon_ = true;
}

void MsWorld::born(MsFiber& fiber) {
  procs_[0].counters.spawned.add();
  fiber.set_counted();
}

void MsWorld::look_for_deadlocks(std::function<void()> report) {
  report_ = std::move(report);
  sched_.deadlock = DeadlockMode::on;
  sched_.main_runs.store(1, std::memory_order_relaxed);
}

void MsWorld::dead() {
  the_world->report_();
}

ForeignThread::ForeignThread(std::function<void()> body)
    : thread_((ModelKernel::thread_begins(), [body = std::move(body)] {
        body();
        ModelKernel::thread_ends();
      })) {}

void MsWorld::start_m(M* m, P* p) {
  ModelKernel::thread_begins();
  m->next_p = p;
  m->id = sched_.m_count++;
  m->os.tid.store(1, std::memory_order_relaxed);  // any number
  m->os.mapping_bytes = threads_.size();          // for mdestroy()
  m->all_link = sched_.all_m;
  sched_.all_m = m;
  ended_.push_back(false);
  threads_.emplace_back([this, which = threads_.size(), m] {
    m_enter(m);
    m->p = m->next_p;
    if (m->p != nullptr) m->p->m.store(m, std::memory_order_relaxed);
    m->next_p = nullptr;
    schedule_loop(m);
    m_leave();
    ended_[which] = true;
  });
}

void MsWorld::poll() {
  GList woken;
  netpoll(0, 0, woken);
  ready_list(woken);
}

size_t MsWorld::start_thread(void (*start)(void*), void* arg) {
  const size_t which = the_world->threads_.size();
  the_world->ended_.push_back(false);
  the_world->threads_.emplace_back([world = the_world, which, start, arg] {
    start(arg);
    world->ended_[which] = true;
  });
  return which;
}

bool MsWorld::has_ended(size_t which) {
  return the_world->ended_[which];
}

void MsWorld::join_thread(size_t which) {
  the_world->threads_[which].join();
}

void MsWorld::finish() {
  m_leave();
  end_run();
  finish_ended();
}

void MsWorld::finish_ended() {
  if (with_sysmon_) stop_sysmon();
  for (model::Thread& t : threads_) t.join();
}

void MsWorld::end_run() {
  Sched& s = sched();
  {
    const LockGuard guard(s.lock);
    s.phase.store(Phase::exiting, std::memory_order_relaxed);
  }
  wake_all_idle();
  s.exit_note.wake();
}

// ---- The loop -----------------------------------------------------------------------------------------

void schedule_loop(M* m) noexcept {
  for (;;) {
    G* g;
    if (m->bond != Bond::no) {
      if (m->bond == Bond::over) return leave_with_thread(m);
      g = next_of_locked(m);
    } else {
      g = std::exchange(m->found, nullptr);
      if (g == nullptr) g = find_runnable(m);
      if (g == nullptr) return;
      if (g->bound_to != nullptr) {
        dispatch_bound(m, g);  // PR1
        continue;
      }
      m->p->counters.switches.add();
    }
    do {
      m->cur = g;
      MsFiber::of(g).run_on(m);
      // The far side, R1 in park.hpp.
      if (After after = std::exchange(m->after, nullptr)) after(m, g, m->after_arg);
      g = m->cur;
    } while (g != &m->g0);
  }
}

void m_enter(M* m) noexcept {
  static EhGlobals none[model::kMaxThreads];
  m->g0.kind = GKind::g0;
  m->cur = &m->g0;
  m->eh = &none[model::this_thread()];
  this_thread_is(m);
}

void m_leave() noexcept {
  this_thread_is(nullptr);
}

// ---- What has no part in these models -----------------------------------------------------------------

void for_each_slot_raw(void (*)(void*, std::byte*), void*) noexcept {
  fatal("no model has slots", __FILE__, __LINE__);
}
void report_no_thread(int, int) noexcept {}
void report_max_threads(int) noexcept {}
void print_schedtrace() noexcept {}
size_t scavenge_stacks(size_t) noexcept {
  return 0;
}
size_t warm_stacks() noexcept {
  return 0;
}

void report_deadlock() noexcept {
  MsWorld::dead();
}

}  // namespace gort
