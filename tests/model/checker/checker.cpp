#include "checker/checker.hpp"

#include <cxxabi.h>
#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <iostream>
#include <memory>
#include <ostream>
#include <random>
#include <set>
#include <sstream>

#include "sched/context.hpp"
#include "sched/sanitizer.hpp"

namespace model {

namespace {

constexpr size_t kStackBytes = 256 * 1024;

enum class State : uint8_t { absent, ready, paused, asleep, joining, awaiting, ended };

// The C++ runtime's exception state, which the fibers of one thread must not share.
struct EhGlobals {
  void* caught = nullptr;
  unsigned uncaught = 0;
};

struct Fiber {
  gort::Context context;
  gort::SanitizerState sanitizer;
  std::byte* stack = nullptr;
  std::function<void()> body;

  State state = State::absent;
  Step next;                  // what it does when it goes on
  uint64_t seen_changes = 0;  // paused: goes on when there are more
  bool newest_only = false;   // went on from a pause because nobody else could
  bool stuck = false;         // paused again after that, with nothing changed
  LocationId asleep_on = 0;
  bool has_limit = false;
  bool woken = false;
  ThreadId joins = 0;
  const Event* awaits = nullptr;
  EhGlobals eh;
};

// A point where a run could go on in several ways.
struct Choice {
  uint32_t taken = 0;
  uint32_t count = 0;
  std::vector<ThreadId> threads;  // of a scheduling point: what the numbers mean
};

struct Record {
  ThreadId thread;
  Step step;
  uint64_t value;
  std::memory_order order;
  bool stale;
};

class Checker {
 public:
  Checker(const Options& options, const std::function<void()>& program)
      : options_(options), program_(program) {}

  Result explore_all();

  // Within a run.
  ThreadId current() const { return current_; }
  Memory& memory() { return memory_; }
  ThreadId start(std::function<void()> body);
  void join(ThreadId t);
  void await(const Event& e);
  void before(const Step& step);
  void after(const Step& step, uint64_t value, std::memory_order order);
  uint32_t choose(uint32_t n);
  void pause();
  void futex_sleep(LocationId x, uint32_t value, bool has_limit);
  void futex_wake(LocationId x, uint32_t n);
  void heavy_fence(bool real);
  std::memory_order order_at(const std::source_location& where, Op op, std::memory_order written);
  [[noreturn]] void fail(const std::string& what);
  void fiber_main();
  std::string trace() const;

 private:
  void run_once();
  bool backtrack();
  void leave_to(ThreadId t);
  void switch_fibers(gort::Context& from, gort::SanitizerState& from_s, gort::Context& to,
                     gort::SanitizerState& to_s, gort::SwitchKind kind);
  ThreadId pick_next();
  static EhGlobals& eh() { return *reinterpret_cast<EhGlobals*>(abi::__cxa_get_globals()); }
  bool can_go_on(ThreadId t) const;
  void begin_waiting(Fiber& f);
  uint32_t take(uint32_t n, const std::vector<ThreadId>* threads);
  std::string replay() const;
  std::string name_of(LocationId x) const;

  const Options& options_;
  const std::function<void()>& program_;
  Memory memory_;
  std::array<Fiber, kMaxThreads> fibers_;
  ThreadId fiber_count_ = 0;
  ThreadId current_ = 0;
  gort::Context outside_;
  gort::SanitizerState outside_s_;

  std::vector<Choice> choices_;
  size_t depth_ = 0;
  std::vector<uint32_t> replay_;
  std::mt19937_64 random_;
  uint32_t sleeping_ = 0;  // sleep set, one bit per thread
  int preemptions_left_ = 0;
  uint32_t spurious_left_ = 0;
  uint32_t steps_ = 0;
  bool pruned_ = false;  // the run has become one that was seen; it only goes to its end
  std::vector<Record> records_;
  Result result_;
  std::set<Site> sites_;
};

Checker* checker = nullptr;
void (*on_switch)(ThreadId to) = nullptr;
uint64_t runs_ever = 0;  // numbers runs across explorations: atomic<T> sees by it that a run is new
std::vector<std::pair<const void*, std::string>> names;

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

bool dependent(const Step& a, const Step& b) {
  if (a.global || b.global) return true;
  if (a.seq_cst && b.seq_cst) return true;
  return a.has_location && b.has_location && a.location == b.location && (a.writes || b.writes);
}

}  // namespace

// ---- Exploration ----------------------------------------------------------------------------------

Result Checker::explore_all() {
  std::istringstream in(options_.replay);
  for (uint32_t n; in >> n;) replay_.push_back(n);
  for (;;) {
    if (options_.random_runs != 0) random_.seed(options_.seed + result_.runs);
    run_once();
    ++result_.runs;
    if (result_.failed || !replay_.empty()) break;
    if (options_.random_runs != 0) {
      if (result_.runs == options_.random_runs) break;
      continue;
    }
    if (!backtrack()) {
      result_.complete = true;
      break;
    }
    if (result_.runs == options_.max_runs) break;
  }
  result_.sites.assign(sites_.begin(), sites_.end());
  return result_;
}

bool Checker::backtrack() {
  while (!choices_.empty()) {
    Choice& last = choices_.back();
    if (++last.taken < last.count) return true;
    choices_.pop_back();
  }
  return false;
}

// Which of n ways: as in the last run as far as that goes, then the first.
uint32_t Checker::take(uint32_t n, const std::vector<ThreadId>* threads) {
  if (pruned_) return 0;
  if (depth_ == choices_.size()) {
    Choice c;
    c.count = n;
    if (threads != nullptr) c.threads = *threads;
    if (depth_ < replay_.size()) {
      c.taken = replay_[depth_];
    } else if (options_.random_runs != 0) {
      // Mostly as usual, so that a run gets far.
      c.taken = random_() % 3 == 0 ? static_cast<uint32_t>(random_() % n) : 0;
    }
    choices_.push_back(std::move(c));
  }
  return choices_[depth_++].taken;
}

uint32_t Checker::choose(uint32_t n) {
  return n == 1 ? 0 : take(n, nullptr);
}

void Checker::run_once() {
  if (options_.random_runs != 0) choices_.clear();
  ++runs_ever;
  depth_ = 0;
  steps_ = 0;
  sleeping_ = 0;
  pruned_ = false;
  preemptions_left_ = options_.preemptions;
  spurious_left_ = options_.spurious;
  records_.clear();
  names.clear();
  for (Fiber& f : fibers_) f.state = State::absent;
  fiber_count_ = 0;
  memory_.begin([this](uint32_t n) { return choose(n); });
  start(program_);
  current_ = 0;
  if (on_switch != nullptr) on_switch(0);
  gort::sanitizer_thread_init(outside_s_);
  switch_fibers(outside_, outside_s_, fibers_[0].context, fibers_[0].sanitizer,
                gort::SwitchKind::returns);
  eh() = EhGlobals();  // a run that has failed may have left in the middle of an unwinding
  for (ThreadId t = 0; t < fiber_count_; ++t) gort::sanitizer_fiber_retire(fibers_[t].sanitizer);
}

void Checker::switch_fibers(gort::Context& from, gort::SanitizerState& from_s, gort::Context& to,
                            gort::SanitizerState& to_s, gort::SwitchKind kind) {
  gort::sanitizer_before_switch(from_s, to_s, kind);
  gort::switch_context(from, to, this);
  gort::sanitizer_after_switch(from_s, outside_s_);
}

// ---- Threads --------------------------------------------------------------------------------------

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

void Checker::await(const Event& e) {
  Fiber& f = fibers_[current_];
  Step step;
  step.op = Op::wait;
  step.global = true;
  f.awaits = &e;
  f.state = State::awaiting;
  before(step);
  f.state = State::ready;
}

bool Checker::can_go_on(ThreadId t) const {
  const Fiber& f = fibers_[t];
  switch (f.state) {
    case State::ready:
      return true;
    case State::paused:
      return memory_.changes() != f.seen_changes;
    case State::asleep:
      return f.woken || spurious_left_ != 0;
    case State::joining:
      return fibers_[f.joins].state == State::ended;
    case State::awaiting:
      return f.awaits->is_set();
    case State::absent:
    case State::ended:
      return false;
  }
  return false;
}

ThreadId Checker::pick_next() {
  if (++steps_ > options_.max_steps) fail("the run does not end");
  std::vector<ThreadId> possible;
  const bool current_can = can_go_on(current_);
  if (current_can) possible.push_back(current_);
  // Leaving a thread that waits for something is no preemption.
  const bool preempts = current_can && fibers_[current_].state == State::ready;
  const bool keep = preempts && options_.preemptions >= 0 && preemptions_left_ == 0 && !pruned_;
  for (ThreadId t = 0; t < fiber_count_ && !keep; ++t) {
    if (t != current_ && can_go_on(t)) possible.push_back(t);
  }
  // A sleep that could end early does not keep a run alive.
  const bool only_spurious = std::all_of(possible.begin(), possible.end(), [this](ThreadId t) {
    const Fiber& f = fibers_[t];
    return f.state == State::asleep && !f.woken;
  });
  if (only_spurious) {
    // Time passes: limits are reached, and whoever goes on sees the newest of everything.
    const auto waits_for_time = [](const Fiber& f) {
      return f.state == State::paused || (f.state == State::asleep && f.has_limit);
    };
    for (ThreadId t = 0; t < fiber_count_; ++t) {
      const bool there = std::find(possible.begin(), possible.end(), t) != possible.end();
      if (waits_for_time(fibers_[t]) && !fibers_[t].stuck && !there) possible.push_back(t);
    }
    const bool anybody = std::any_of(fibers_.begin(), fibers_.begin() + fiber_count_,
                                     [&](const Fiber& f) { return waits_for_time(f) && !f.stuck; });
    if (!anybody) {
      const bool paused =
          std::any_of(fibers_.begin(), fibers_.begin() + fiber_count_, waits_for_time);
      fail(paused ? "threads wait for a change that nobody makes" : "all threads wait");
    }
  }
  if (options_.preemptions < 0 && options_.random_runs == 0) {
    std::vector<ThreadId> awake;
    for (const ThreadId t : possible) {
      if ((sleeping_ >> t & 1) == 0) awake.push_back(t);
    }
    if (awake.empty()) {
      pruned_ = true;
    } else {
      possible = std::move(awake);
    }
  }
  const uint32_t i =
      possible.size() == 1 ? 0 : take(static_cast<uint32_t>(possible.size()), &possible);
  if (i >= possible.size())
    fail("the run cannot be replayed: the program has changed, or is not deterministic");
  const ThreadId next = possible[i];
  if (preempts && next != current_) --preemptions_left_;
  if (only_spurious) fibers_[next].newest_only = true;
  // Sleep sets: who was tried here before sleeps until something that it depends on happens.
  uint32_t asleep = sleeping_;
  for (uint32_t k = 0; k < i; ++k) asleep |= 1U << possible[k];
  for (ThreadId t = 0; t < fiber_count_; ++t) {
    if (t == next || dependent(fibers_[t].next, fibers_[next].next)) asleep &= ~(1U << t);
  }
  sleeping_ = asleep;
  return next;
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

void Checker::futex_sleep(LocationId x, uint32_t value, bool has_limit) {
  const ThreadId self = current_;
  Fiber& f = fibers_[self];
  Step step;
  step.op = Op::sleep;
  step.location = x;
  step.has_location = true;
  step.writes = true;
  step.seq_cst = true;
  before(step);
  memory_.fence(self, std::memory_order_seq_cst);  // the kernel's
  const uint64_t seen = memory_.load_newest(self, x);
  after(step, seen, std::memory_order_relaxed);
  if (seen != value) return;
  begin_waiting(f);
  f.state = State::asleep;
  f.asleep_on = x;
  f.woken = false;
  f.has_limit = has_limit;
  step.op = Op::woken;
  step.writes = false;
  step.seq_cst = false;
  before(step);
  if (!f.woken && !f.newest_only) --spurious_left_;
  f.state = State::ready;
  memory_.read_newest(self, f.newest_only);
  after(step, f.woken ? 1 : 0, std::memory_order_relaxed);
}

void Checker::futex_wake(LocationId x, uint32_t n) {
  Step step;
  step.op = Op::wake;
  step.location = x;
  step.has_location = true;
  step.writes = true;
  step.seq_cst = true;
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

// ---- Mutants --------------------------------------------------------------------------------------

std::memory_order Checker::order_at(const std::source_location& where, Op op,
                                    std::memory_order written) {
  const std::string_view path = where.file_name();
  Site site;
  site.file = path.substr(path.rfind('/') + 1);
  site.path = path;
  site.line = where.line();
  site.column = where.column();
  site.op = op;
  site.order = written;
  if (options_.mutant != nullptr && options_.mutant->site == site) return options_.mutant->weaker;
  sites_.insert(std::move(site));
  return written;
}

namespace {

std::vector<std::memory_order> one_step_weaker(const Site& site) {
  using enum std::memory_order;
  const bool reads_and_writes = site.op == Op::modify || site.op == Op::fence;
  switch (site.order) {
    case seq_cst:
      if (site.op == Op::heavy_fence) return {acq_rel};
      if (reads_and_writes) return {acq_rel};
      return {site.op == Op::load ? acquire : release};
    case acq_rel:
      return {acquire, release};
    case acquire:
    case release:
    case consume:
      return {relaxed};
    case relaxed:
      break;
  }
  return {};
}

constexpr const char* kOps[] = {"starts",     "reads",     "writes",        "changes",   "fence",
                                "membarrier", "sleeps on", "is awake from", "wakes",     "pauses",
                                "joins",      "ends",      "hands over",    "takes over"};
constexpr const char* kOrders[] = {"relaxed", "consume", "acquire",
                                   "release", "acq_rel", "seq_cst"};

}  // namespace

std::string text_of(const Site& site) {
  return site.file + ":" + std::to_string(site.line) + " " + kOps[static_cast<size_t>(site.op)] +
         " " + kOrders[static_cast<size_t>(site.order)];
}

std::vector<Survivor> surviving_mutants(const std::vector<std::string>& files,
                                        const std::vector<Program>& programs) {
  std::set<Site> sites;
  for (const Program& program : programs) {
    const Result plain = explore(program.options, program.run);
    if (plain.failed) return {{Site(), "fails as it is: " + plain.what + "\n" + plain.trace}};
    sites.insert(plain.sites.begin(), plain.sites.end());
  }
  std::vector<Survivor> survivors;
  for (const Site& site : sites) {
    if (std::find(files.begin(), files.end(), site.file) == files.end()) continue;
    for (const std::memory_order weaker : one_step_weaker(site)) {
      const Mutant mutant{site, weaker};
      const bool killed =
          std::any_of(programs.begin(), programs.end(), [&](const Program& program) {
            Options mutated = program.options;
            mutated.mutant = &mutant;
            return explore(mutated, program.run).failed;
          });
      if (!killed) {
        survivors.push_back(
            {site, text_of(site) + " -> " + kOrders[static_cast<size_t>(weaker)] + " survives"});
      }
    }
  }
  return survivors;
}

// ---- Failures -------------------------------------------------------------------------------------

void Checker::fail(const std::string& what) {
  if (!pruned_ && !result_.failed) {
    result_.failed = true;
    result_.what = what;
    result_.trace = trace();
    result_.replay = replay();
  }
  const ThreadId self = current_;
  // The fibers' frames are left as they are.
  switch_fibers(fibers_[self].context, fibers_[self].sanitizer, outside_, outside_s_,
                gort::SwitchKind::returns);
  std::abort();
}

std::string Checker::replay() const {
  std::string s;
  for (size_t i = 0; i < depth_; ++i) s += std::to_string(choices_[i].taken) + " ";
  return s;
}

std::string Checker::name_of(LocationId x) const {
  return const_cast<Memory&>(memory_).at(x).name;
}

std::string Checker::trace() const {
  std::ostringstream out;
  // Addresses differ from run to run: they are numbered.
  std::vector<uint64_t> addresses;
  const auto value_of = [&addresses](uint64_t v) {
    if (v >> 32 == 0 || v >> 48 != 0) return std::to_string(static_cast<int64_t>(v));
    const auto known = std::find(addresses.begin(), addresses.end(), v);
    const auto number = known - addresses.begin();
    if (known == addresses.end()) addresses.push_back(v);
    return "address " + std::to_string(number);
  };
  for (const Record& r : records_) {
    out << "  T" << r.thread << std::string(2 + size_t{4} * r.thread, ' ')
        << kOps[static_cast<size_t>(r.step.op)];
    if (r.step.has_location) out << ' ' << name_of(r.step.location) << " = " << value_of(r.value);
    out << " (" << kOrders[static_cast<size_t>(r.order)] << ')';
    if (r.stale) out << " not the newest";
    out << '\n';
  }
  return out.str();
}

// ---- The interface --------------------------------------------------------------------------------

namespace {

// A program that crashes shows its run before it goes. (What it uses is not async-signal-safe, and the process is
// lost anyway.)
void show_crash(int signal) {
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
    action.sa_flags = SA_ONSTACK;
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
  checker->await(*this);
  --count_;
  memory().receive(this_thread(), known_);
  Step step;
  step.op = Op::wait;
  after(step, 0, std::memory_order_acquire);
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
void name(const void* atomic, std::string text) {
  names.emplace_back(atomic, std::move(text));
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
uint32_t choose(uint32_t n) {
  return checker->choose(n);
}
LocationId make_location(uint64_t initial, const void* address) {
  const auto named = std::find_if(names.begin(), names.end(),
                                  [address](const auto& n) { return n.first == address; });
  return memory().make(initial, named != names.end()
                                    ? named->second
                                    : "atomic " + std::to_string(memory().locations()));
}
void end_location(LocationId x) {
  memory().at(x).alive = false;
}
std::memory_order order_at(const std::source_location& where, Op op, std::memory_order written) {
  return checker->order_at(where, op, written);
}
void heavy_fence(const std::source_location& where) {
  checker->heavy_fence(order_at(where, Op::heavy_fence, std::memory_order_seq_cst) ==
                       std::memory_order_seq_cst);
}
void pause() {
  checker->pause();
}
void futex_sleep(LocationId x, uint32_t value, bool has_limit) {
  checker->futex_sleep(x, value, has_limit);
}
void futex_wake(LocationId x, uint32_t n) {
  checker->futex_wake(x, n);
}

}  // namespace model
