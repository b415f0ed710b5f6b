// The threads of a program, which are fibers, and what they do besides using atomics.
#include <sys/mman.h>

#include <new>

#include "checker/run.hpp"

namespace model {

namespace {

std::byte* stack_of(ThreadId t) {
  static std::array<std::byte*, kMaxThreads> stacks{};
  if (stacks[t] == nullptr) {
    void* memory = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    stacks[t] = static_cast<std::byte*>(memory);
  }
  return stacks[t];
}

void fiber_entry(void* data) {
  static_cast<Checker*>(data)->fiber_main();
}

}  // namespace

void Checker::switch_fibers(gort::Context& from, gort::SanitizerState& from_s, gort::Context& to,
                            gort::SanitizerState& to_s, gort::SwitchKind kind) {
  gort::sanitizer_before_switch(from_s, to_s, kind);
  gort::switch_context(from, to, this);
  gort::sanitizer_after_switch(from_s, outside_s_);
}

ThreadId Checker::start(std::function<void()> body) {
  if (fiber_count_ == kMaxThreads) fail("the program has too many threads");
  const ThreadId t = fiber_count_++;
  Fiber& f = fibers_[t];
  f = Fiber();
  f.stack = stack_of(t);
  f.body = std::move(body);
  f.state = State::ready;
  f.next = Step();
  gort::sanitizer_fiber_init(f.sanitizer, f.stack, kStackBytes);
  gort::prepare_context<fiber_entry>(f.context, f.stack + kStackBytes, kStackBytes);
  if (t != 0) {
    memory_.thread_begins(t, current_);
    memory_.step(current_);
  }
  memory_.step(t);
  return t;
}

void Checker::fiber_main() {
  gort::sanitizer_after_switch(fibers_[current_].sanitizer, outside_s_);
  const ThreadId self = current_;
  fibers_[self].body();
  fibers_[self].body = nullptr;
  if (self != 0) {
    Step end;
    end.op = Op::end;
    before(end);
    fibers_[self].state = State::ended;
    leave_to(pick_next());
    std::abort();
  }
  for (ThreadId t = 1; t < fiber_count_; ++t) {
    if (fibers_[t].state != State::ended) fail("the program ends before its threads");
  }
  switch_fibers(fibers_[0].context, fibers_[0].sanitizer, outside_, outside_s_,
                gort::SwitchKind::final);
  std::abort();
}

void Checker::join(ThreadId t) {
  Fiber& f = fibers_[current_];
  const ThreadId self = current_;
  Step step;
  step.op = Op::join;
  f.joins = t;
  f.state = State::joining;
  before(step);
  f.state = State::ready;
  memory_.thread_joined(t, self);
  memory_.step(self);
}

void Checker::await(std::function<bool()> holds) {
  Fiber& f = fibers_[current_];
  Step step;
  step.op = Op::wait;
  step.global = true;
  f.awaits = std::move(holds);
  f.state = State::awaiting;
  before(step);
  f.state = State::ready;
}

void Checker::leave_to(ThreadId t) {
  const ThreadId from = current_;
  current_ = t;
  if (on_switch != nullptr) on_switch(t);
  Fiber& f = fibers_[from];
  f.eh = eh();
  eh() = fibers_[t].eh;
  switch_fibers(f.context, f.sanitizer, fibers_[t].context, fibers_[t].sanitizer,
                f.state == State::ended ? gort::SwitchKind::final : gort::SwitchKind::returns);
}

void Checker::before(const Step& step) {
  fibers_[current_].next = step;
  const ThreadId next = pick_next();
  if (next != current_) leave_to(next);
}

void Checker::after(const Step& step, uint64_t value, std::memory_order order) {
  memory_.step(current_);
  records_.push_back({current_, step, value, order, memory_.last_was_stale()});
}

// Whoever went on only because time passed, and waits again with nothing changed, waits for others.
void Checker::begin_waiting(Fiber& f) {
  f.stuck = f.newest_only && f.seen_changes == memory_.changes();
  f.newest_only = false;
  f.seen_changes = memory_.changes();
}

void Checker::pause() {
  Fiber& f = fibers_[current_];
  const ThreadId self = current_;
  Step step;
  step.op = Op::pause;
  step.global = true;
  begin_waiting(f);
  f.state = State::paused;
  before(step);
  f.state = State::ready;
  memory_.read_newest(self, f.newest_only);
  after(step, 0, std::memory_order_relaxed);
}

namespace {

// The kernel looks at the word, and at who sleeps, under a lock of its own.
Step futex_step(Op op, LocationId x) {
  Step step;
  step.op = op;
  step.location = x;
  step.has_location = true;
  step.writes = true;
  step.seq_cst = true;
  return step;
}

}  // namespace

SleepEnd Checker::futex_sleep(LocationId x, uint32_t value, bool has_limit) {
  const ThreadId self = current_;
  Fiber& f = fibers_[self];
  Step step = futex_step(Op::sleep, x);
  before(step);
  memory_.fence(self, std::memory_order_seq_cst);  // the kernel's
  const uint64_t seen = memory_.load_newest(self, x);
  after(step, seen, std::memory_order_relaxed);
  if (seen != value) return SleepEnd::other_value;
  begin_waiting(f);
  f.state = State::asleep;
  f.asleep_on = x;
  f.woken = false;
  f.has_limit = has_limit;
  step.op = Op::woken;
  step.writes = false;
  step.seq_cst = false;
  before(step);
  // Who went on although time has brought it nothing more ended early, as who has no limit.
  const bool limit_passed = f.newest_only && f.has_limit && !f.stuck;
  const SleepEnd end = f.woken ? SleepEnd::woken : limit_passed ? SleepEnd::time : SleepEnd::early;
  if (end == SleepEnd::early) --spurious_left_;
  f.state = State::ready;
  memory_.read_newest(self, f.newest_only);
  after(step, f.woken ? 1 : 0, std::memory_order_relaxed);
  return end;
}

void Checker::futex_wake(LocationId x, uint32_t n) {
  const Step step = futex_step(Op::wake, x);
  before(step);
  memory_.fence(current_, std::memory_order_seq_cst);
  uint32_t woken = 0;
  for (ThreadId t = 0; t < fiber_count_ && woken < n; ++t) {
    Fiber& f = fibers_[t];
    if (f.state != State::asleep || f.woken || f.asleep_on != x) continue;
    f.woken = true;
    ++woken;
  }
  after(step, woken, std::memory_order_relaxed);
}

// MM5: the others' barriers come one by one, at any time before the call returns.
void Checker::heavy_fence(bool real) {
  const ThreadId self = current_;
  Step step;
  step.op = Op::heavy_fence;
  step.global = true;
  before(step);
  memory_.fence(self, std::memory_order_seq_cst);
  for (ThreadId t = 0; t < fiber_count_ && real; ++t) {
    if (t == self) continue;
    if (fibers_[t].state != State::ended) before(step);
    memory_.fence(t, std::memory_order_seq_cst);
  }
  memory_.fence(self, std::memory_order_seq_cst);
  after(step, 0, std::memory_order_seq_cst);
}

}  // namespace model
