// The composition root: puts a runtime together and takes it apart. The only file that may include
// everything.
//
// Start: settings and options are checked before anything is made; then the poller, the Ps, sysmon
// (an ordinary thread, which the clone back end wants to see first, src/os/linux/thread.cpp), and
// for run() the calling thread as the first M. Everything else is made on demand.
//
// End: the main fiber's end, or the destructor, asks every fiber to stop; the last fiber's end sets
// the phase to exiting and wakes every idle M; Ms leave their loops and are joined; then visitors
// (sched.hpp) are waited for, and everything is released.
#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>

#include "base/mem.hpp"
#include "base/thread_safety.hpp"
#include "gort/fiber_local.hpp"
#include "gort/run.hpp"
#include "gort/stats.hpp"
#include "os/os.hpp"
#include "os/settings.hpp"
#include "sched/census.hpp"
#include "sched/chaos.hpp"
#include "sched/deadlock.hpp"
#include "sched/exit.hpp"
#include "sched/idle.hpp"
#include "sched/loop.hpp"
#include "sched/netpoll_internal.hpp"
#include "sched/park.hpp"
#include "sched/pools.hpp"
#include "sched/procs.hpp"
#include "sched/region.hpp"
#include "sched/report.hpp"
#include "sched/sched.hpp"
#include "sched/spares.hpp"
#include "sched/spawn.hpp"
#include "sched/stop.hpp"
#include "sched/sysmon.hpp"
#include "sched/timer.hpp"
#include "signal/libpreinit.hpp"
#include "signal/signal.hpp"

namespace gort {
namespace {

constexpr int kThreadsDefault = 10'000;                                      // as in Go
constexpr std::chrono::microseconds kSlice = std::chrono::milliseconds(10);  // the same
constexpr std::chrono::microseconds kSliceMin{100};
constexpr std::chrono::microseconds kSliceMax = std::chrono::days(1);
constexpr int kTicksPerSlice = 2;  // the first finds a fiber that has just begun

// Chaos takes the shortcuts for one P away in every second run.
constexpr unsigned kNotAloneOneIn = 2;

void check_options(const options& o) {
  if (o.procs < 0 || o.procs > kMaxProcs) {
    throw std::invalid_argument("gort: options.procs must be from 0 (automatic) to 1024");
  }
  if (o.stack_size > kStackBytesMax) {
    throw std::invalid_argument("gort: options.stack_size must be at most 1 GiB");
  }
  if (o.slice.count() != 0 && (o.slice < kSliceMin || o.slice > kSliceMax)) {
    throw std::invalid_argument(
        "gort: options.slice must be from 100 us to a day, or 0 (automatic)");
  }
  if (o.max_threads < 0) {
    throw std::invalid_argument("gort: options.max_threads must not be negative");
  }
}

// The user's limit counts processes, too, and is no promise; but it is better to stop there with a word than to ask for threads that are
// refused one by one. Not below what the Ps need.
int threads_by_default(int procs) {
  constexpr size_t kBesidePs = 8;
  const size_t limit = os::system_info().thread_limit;
  if (limit == 0) return kThreadsDefault;
  return static_cast<int>(
      std::clamp<size_t>(limit, static_cast<size_t>(procs) + kBesidePs, kThreadsDefault));
}

options complete(options o, const os::Settings& env) {
  if (o.procs == 0) o.procs = env.procs != 0 ? env.procs : std::min(os::getproccount(), kMaxProcs);
  if (o.stack_size == 0) o.stack_size = env.stack_size;
  if (o.stack_size == 0) o.stack_size = StackPool::kDefaultStackBytes;
  o.stack_size = StackPool::stack_bytes_for(o.stack_size);
  if (o.max_threads == 0) o.max_threads = env.max_threads;
  if (o.max_threads == 0) o.max_threads = threads_by_default(o.procs);
  if (o.slice.count() == 0) {
    const auto it = env.debug.find("slice");
    o.slice = it != env.debug.end() ? std::chrono::microseconds(std::stoll(it->second)) : kSlice;
  }
  return o;
}

os::TickSource wished_ticks(const std::map<std::string, std::string>& debug) {
  const auto it = debug.find("ticks");
  if (it == debug.end()) return os::TickSource::none;
  return it->second == "timer"   ? os::TickSource::timer
         : it->second == "event" ? os::TickSource::event
                                 : os::TickSource::watchman;
}

void apply_debug(Sched& s) {
  const auto& debug = os::settings().debug;
  if (const auto it = debug.find("asyncpreempt"); it != debug.end()) {
    if (it->second == "0") s.tick_ns = 0;
  }
  if (s.tick_ns != 0) s.tick_source = os::choose_tick_source(s.tick_ns, wished_ticks(debug));
  if (const auto it = debug.find("schedtrace"); it != debug.end()) {
    s.schedtrace_ns = std::stoll(it->second) * 1'000'000;
  }
  if (const auto it = debug.find("deadlock"); it != debug.end()) {
    s.deadlock = it->second == "strict" ? DeadlockMode::strict
                 : it->second == "off"  ? DeadlockMode::off
                                        : DeadlockMode::on;
  }
}

uint64_t random_seed() {
  uint64_t seed;
  os::getRandomData(std::as_writable_bytes(std::span(&seed, 1)));
  return seed;
}

// One seed for all runs of a process, told at the first. Unused where there is no chaos.
[[maybe_unused]] uint64_t chaos_seed(const std::string& value) {
  static const uint64_t seed = [&value] {
    const uint64_t n = value == "random" ? random_seed() : std::stoull(value);
    report_chaos(n);
    return n;
  }();
  return seed;
}

void start_chaos() {
  if constexpr (kChecked) {
    const auto& debug = os::settings().debug;
    const auto it = debug.find("chaos");
    if (it == debug.end()) return;
    static uint32_t runs = 0;  // protected by `runtime_taken`
    chaos_begin(chaos_seed(it->second), ++runs);
  }
}

void stop_chaos() noexcept {
  if constexpr (kChecked) chaos_end();
}

enum class Number : uint8_t { given, automatic };

// RP6: whether nobody has said how many Ps there are to be.
Number number_of_procs(const options& wish) {
  const os::Settings& env = os::settings();
  const auto it = env.debug.find("updateprocs");
  const bool off = it != env.debug.end() && it->second == "0";
  return wish.procs == 0 && env.procs == 0 && !off ? Number::automatic : Number::given;
}

// Not checked: nobody else knows the Sched yet.
void make_procs(Sched& s, int n, Number number) GORT_NO_THREAD_SAFETY_ANALYSIS {
  s.procs_follow = number == Number::automatic;
  s.may_be_alone = !chaos_one_in(kNotAloneOneIn);
  if (!init_procs(s, n, chaos() ? chaos_number() : random_seed())) {
    throw std::system_error(std::make_error_code(std::errc::not_enough_memory),
                            "gort: no address space for the scheduler");
  }
}

void choose_threads() {
  std::string error;
  if (!os::choose_thread_backend(os::settings().threads, &error)) {
    throw std::system_error(std::make_error_code(std::errc::not_supported), "gort: " + error);
  }
}

uint64_t next_gid = 1;  // of the runtime to come; protected by `runtime_taken`

// The last of a runtime: no thread of it is left.
void release(Sched& s) noexcept {
  next_gid = s.next_gid.load(std::memory_order_relaxed);  // relaxed: as it says above
  destroy_pools(s);
  netpoll_fini(s);
  fini_procs(s);
  // release, where relaxed would do: who has read it has left, as an M that was joined or by U1.
  live_sched.store(nullptr, std::memory_order_release);
  delete &s;
  stop_chaos();
  // release: pairs with the exchange in start_sched(); the next runtime begins behind all this.
  runtime_taken.store(false, std::memory_order_release);
}

// sysmon, and with preemption the thread that makes spares. Both, or none and -errno.
int start_watchmen(Sched& s) noexcept {
  os::learn_places();  // PC3: before the program's code runs
  int error = start_sysmon();
  if (error != 0 || s.tick_ns == 0) return error;
  error = start_spares();
  if (error == 0) return 0;
  s.phase.store(Phase::exiting, std::memory_order_relaxed);  // relaxed: sysmon's note follows
  stop_sysmon();
  return error;
}

void refuse_after_fork() {
  if (after_fork) {
    throw std::logic_error(
        "gort: no runtime in the child of a fork whose parent had one: call exec");
  }
}

void start_sched(const options& wish) {
  check_options(wish);
  if (runtime_taken.exchange(true,
                             std::memory_order_acq_rel)) {  // acq_rel: with the release at the end
    throw std::logic_error("gort: a runtime is alive already");
  }
  try {
    os::osinit();
    const options o = complete(wish, os::settings());
    choose_threads();
    auto s = std::make_unique<Sched>();
    s->next_gid.store(next_gid, std::memory_order_relaxed);  // relaxed: nobody knows it yet
    s->max_threads = o.max_threads;
    s->stack_bytes = o.stack_size;
    s->tick_ns = std::chrono::nanoseconds(o.slice).count() / kTicksPerSlice;
    apply_debug(*s);
    start_chaos();
    s->check_signals = signal_check;
    make_procs(*s, o.procs, number_of_procs(wish));
    const int error = netpoll_init(*s);
    if (error < 0) {
      fini_procs(*s);
      throw std::system_error(-error, std::system_category(), "gort: the poller");
    }
    // release: publishes the runtime to foreign threads.
    live_sched.store(s.release(), std::memory_order_release);
  } catch (...) {
    stop_chaos();
    runtime_taken.store(false, std::memory_order_release);  // release: as in release()
    throw;
  }
  Sched& s = sched();
  s.stacks = pool_for(s.stack_bytes);
  libpreinit(s.tick_ns != 0 ? Ticks::some : Ticks::none);
  if (const int error = start_watchmen(s); error != 0) {
    finisig();
    const std::string threads = std::to_string(os::count_threads());
    release(s);
    throw std::system_error(-error, std::system_category(),
                            "gort: no thread for the watchman with " + threads +
                                " in the process (see ulimit -u and the cgroup's pids.max)");
  }
}

// From here on other threads may start fibers, and with them Ms, which take the Ps that nobody holds.
void open_door() noexcept {
  open_for_visitors.store(true, std::memory_order_seq_cst);  // seq_cst: U1
}

void end_sched() noexcept {
  Sched& s = sched();
  if (s.tick_ns != 0) stop_spares();  // SP3
  stop_sysmon();                      // it looks at Ms
  join_ms(s);
  finisig();
  chaos_point(ChaosPoint::run_ending);
  Visitor::close_the_door();
  orphan_timers(s);
  for (P& p : s.all_procs()) drain_free(&p);
  free_stop_records();
  if (stacks_out() != 0) {
    fatal("a gort::task outlives its runtime: end or detach it before the main fiber returns",
          __FILE__, __LINE__);
  }
  release(s);
}

// The calling thread becomes this M, with a P.
void enter_main_m(Sched& s, M* m) noexcept {
  m->os.tick_ns = s.tick_ns;
  m->os.tick_source = s.tick_source;
  // No signal stack: no ticks, no word about an overflow.
  if (os::mpreinit(m->os) != 0) m->os.tick_ns = 0;
  m_enter(m);
  os::minit(m->os);
  {
    LockGuard guard(s.lock);
    m->id = s.m_count++;
    m->all_link = s.all_m;
    s.all_m = m;
    s.main_m = m;
  }
  if (try_take_idle_p(m) == nullptr) fatal("I5: no idle P at the start", __FILE__, __LINE__);
}

struct MainCall {
  void (*fn)(void*);
  void* arg;
  static void entry(void* p) noexcept {
    auto* self = *static_cast<MainCall**>(p);
    self->fn(self->arg);
    if (after_fork) fatal_after_fork();  // FK1
    detail::end_locals();  // what they wait for in their ends is not asked to stop yet
    stop_all();
  }
};

}  // namespace

options options::from_env() {
  return complete(options{}, os::read_settings());
}

namespace detail {

void run_runtime(const options& o, void (*main_fn)(void*), void* arg) {
  refuse_after_fork();
  if (current_m() != nullptr) throw std::logic_error("gort: run() inside a fiber");
  auto main_m = std::make_unique<M>();  // before there is what a failure would leave behind
  start_sched(o);
  Sched& s = sched();
  s.main_runs.store(1, std::memory_order_relaxed);  // relaxed: nobody looks before the first fiber
  M* m = main_m.release();
  enter_main_m(s, m);
  MainCall call{main_fn, arg};
  const attrs named{.name = "main"};
  const new_fiber f = [&] {
    try {
      return fiber_create(&named, sizeof(void*), alignof(void*));
    } catch (...) {
      // relaxed: as in exit_if_last().
      s.phase.store(Phase::exiting, std::memory_order_relaxed);
      m_leave();
      os::unminit(m->os);
      end_sched();
      throw;
    }
  }();
  *static_cast<MainCall**>(f.payload) = &call;
  open_door();  // this M has its P, and nothing can fail any more
  fiber_start(f.g, MainCall::entry);
  schedule_loop(m);
  m_leave();
  os::unminit(m->os);
  end_sched();
}

}  // namespace detail

runtime::runtime(const options& o) {
  refuse_after_fork();
  if (current_m() != nullptr) throw std::logic_error("gort: a runtime inside a fiber");
  start_sched(o);
  open_door();
}

runtime::~runtime() {
  if (after_fork) return;  // FK1: perhaps at exit()
  if (current_m() != nullptr) fatal("a runtime is destroyed by a fiber", __FILE__, __LINE__);
  stop_all();
  begin_await_end();
  sched().exit_note.sleep();
  foreign_parked.is_woken();
  end_sched();
}

runtime::main_guard::main_guard() {
  // relaxed: D4 in deadlock.cpp; the fiber that follows is queued under Sched::lock.
  sched().main_runs.fetch_add(1, std::memory_order_relaxed);
}
runtime::main_guard::~main_guard() {
  sched().main_runs.fetch_sub(1, std::memory_order_relaxed);  // relaxed: D4, its fiber has ended
}

uint64_t num_fibers() noexcept {
  const Visitor visit;
  return runtime_alive() ? count_fibers() : 0;
}
int procs() noexcept {
  const Visitor visit;
  // relaxed: a number.
  return runtime_alive() ? sched().procs_limit.load(std::memory_order_relaxed) : 0;
}
int set_procs(int n) {
  if (n < 1 || n > kMaxProcs) {
    throw std::invalid_argument("gort: set_procs() takes a number from 1 to 1024");
  }
  const Visitor visit;
  if (!runtime_alive()) throw std::logic_error("gort: set_procs() without a runtime");
  const Region in;
  return set_procs_by_hand(n);
}
int num_cpus() noexcept {
  return os::getproccount();
}
const char* version() noexcept {
  return GORT_VERSION_STRING;
}

runtime_stats stats() {
  runtime_stats r;
  const Visitor visit;
  if (!runtime_alive()) return r;
  Sched& s = sched();
  r.fibers = count_fibers();
  // relaxed: a number.
  const int limit = s.procs_limit.load(std::memory_order_relaxed);
  for (const P& p : s.all_procs()) {
    r.spawned += p.counters.spawned.get();
    r.switches += p.counters.switches.get();
    r.steals += p.counters.steals.get();
    r.parks += p.counters.parks.get();
    r.wakes += p.counters.wakes.get();
    r.preemptions += p.counters.preempts.get();
    if (p.id < limit) r.procs.push_back({p.runq.size()});
  }
  {
    const Region in;
    LockGuard guard(s.lock);
    r.spawned += s.foreign_spawned.get();
    r.handoffs = s.handoffs.get();
    r.threads = s.m_count - s.m_gone - s.m_starting;
    for (const M* m = s.idle_m; m != nullptr; m = m->idle_next) ++r.idle_threads;
    if (s.poller_m != nullptr) ++r.idle_threads;
  }
  Region in;
  const StackTotals stacks = stack_totals();
  in.leave();
  r.stack_bytes_reserved = stacks.reserved_bytes;
  r.stack_bytes_resident = stacks.resident_bytes;
  r.guard = stacks.guard;
  r.slice = std::chrono::nanoseconds(kTicksPerSlice * s.tick_ns);
  switch (s.tick_source) {
    case os::TickSource::none:
      break;
    case os::TickSource::timer:
      r.ticks = "timer";
      break;
    case os::TickSource::event:
      r.ticks = "event";
      break;
    case os::TickSource::watchman:
      r.ticks = "watchman";
      break;
  }
  switch (os::thread_backend()) {
    case os::ThreadBackend::none:
      break;
    case os::ThreadBackend::clone:
      r.thread_backend = "clone";
      break;
    case os::ThreadBackend::pthread:
      r.thread_backend = "pthread";
      break;
  }
  r.thread_backend_reason = os::thread_backend_reason();
  return r;
}

}  // namespace gort
