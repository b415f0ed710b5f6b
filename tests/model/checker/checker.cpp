#include "checker/checker.hpp"

#include <signal.h>

#include <algorithm>
#include <iostream>
#include <memory>

#include "checker/run.hpp"

namespace model {

Checker* checker = nullptr;
void (*on_switch)(ThreadId to) = nullptr;
uint64_t runs_ever = 0;  // numbers runs across explorations: atomic<T> sees by it that a run is new

namespace {

// A program that crashes shows its run before it goes. (What it uses is not async-signal-safe, and the process is
// lost anyway.) A mutant that crashes has only failed: the run is left as any that fails.
void show_crash(int signal) {
  if (checker != nullptr && checker->is_mutant()) checker->fail("the program crashes");
  ::signal(signal, SIG_DFL);
  if (checker != nullptr) std::cerr << "the program crashes in this run:\n" << checker->trace();
  raise(signal);
}

void catch_crashes() {
  static std::byte stack[64 * 1024];
  static const bool done = [] {
    stack_t alternate{};
    alternate.ss_sp = stack;
    alternate.ss_size = sizeof(stack);
    sigaltstack(&alternate, nullptr);
    struct sigaction action {};
    action.sa_handler = show_crash;
    action.sa_flags = SA_ONSTACK | SA_NODEFER;  // a run may be left from within
    for (const int s : {SIGSEGV, SIGBUS, SIGILL}) sigaction(s, &action, nullptr);
    return true;
  }();
  (void)done;
}

}  // namespace

Result explore(const Options& options, const std::function<void()>& program) {
  catch_crashes();
  const auto c = std::make_unique<Checker>(options, program);
  checker = c.get();
  Result r = c->explore_all();
  checker = nullptr;
  return r;
}

std::ostream& operator<<(std::ostream& out, const Result& r) {
  out << r.runs << " runs" << (r.complete ? ", all there are" : "");
  if (r.failed) out << "; " << r.what << '\n' << r.trace << "replay: " << r.replay << '\n';
  return out;
}

Thread::Thread(std::function<void()> body) : id_(checker->start(std::move(body))) {}
void Thread::join() {
  if (joined_) return;
  joined_ = true;
  checker->join(id_);
}

void Event::set() {
  Step step;
  step.op = Op::set;
  step.global = true;
  before(step);
  memory().give(this_thread(), known_);
  ++count_;
  after(step, 0, std::memory_order_release);
}

void Event::wait() {
  checker->await([this] { return count_ != 0; });
  --count_;
  memory().receive(this_thread(), known_);
  Step step;
  step.op = Op::wait;
  after(step, 0, std::memory_order_acquire);
}

void await(std::function<bool()> holds) {
  checker->await(std::move(holds));
}
void check(bool holds, const char* what) {
  if (!holds) fail(what);
}
void fail(const std::string& what) {
  checker->fail(what);
}
ThreadId this_thread() {
  return checker->current();
}
void set_on_switch(void (*hook)(ThreadId to)) {
  on_switch = hook;
}

bool running() {
  return checker != nullptr;
}
uint64_t run_number() {
  return runs_ever;
}
Memory& memory() {
  return checker->memory();
}
void before(const Step& step) {
  const auto use = [&step] {
    if (step.has_location && step.op != Op::wake && !memory().at(step.location).alive) {
      fail("an atomic is used after its end");
    }
  };
  use();
  checker->before(step);
  use();
}
void after(const Step& step, uint64_t value, std::memory_order order) {
  checker->after(step, value, order);
}
LocationId make_location(uint64_t initial) {
  return memory().make(initial, "atomic " + std::to_string(memory().locations()));
}
void end_location(LocationId x) {
  memory().at(x).alive = false;
}
std::memory_order order_at(Where where, Op op, std::memory_order written) {
  return checker->order_at(where, op, written);
}
bool recheck_dropped(Where where) {
  using enum std::memory_order;
  return running() && checker->order_at(where, Op::recheck, seq_cst) != seq_cst;
}
void heavy_fence(Where where) {
  checker->heavy_fence(order_at(where, Op::heavy_fence, std::memory_order_seq_cst) ==
                       std::memory_order_seq_cst);
}
void pause() {
  checker->pause();
}
SleepEnd futex_sleep(LocationId x, uint32_t value, bool has_limit) {
  return checker->futex_sleep(x, value, has_limit);
}
void futex_wake(LocationId x, uint32_t n) {
  checker->futex_wake(x, n);
}

}  // namespace model
