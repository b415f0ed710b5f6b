// Compiled without ThreadSanitizer (CMakeLists.txt), and with nothing of the standard library but Atomic, whose methods
// are always inlined: AT4.
#include "signal/all_threads.hpp"

#include <cerrno>
#include <climits>
#include <csignal>
#include <new>

#include "base/check.hpp"
#include "os/os.hpp"
#include "signal/all_threads_internal.hpp"

namespace gort {
namespace {

constexpr int kSignal = 33;  // SIGSETXID of glibc
// While threads are stopped no other handler of the program's runs; but that of a call which a sandbox catches (SECCOMP_RET_TRAP): where
// SIGSYS is blocked that ends the process.
constexpr uint64_t kStoppedMask = ~os::signal_bit(SIGSYS);
constexpr int kSignalMin = 35;  // 32 to 34 are glibc's and musl's
constexpr int kSignalMax = 64;
constexpr int64_t kPauseNsMin = 50'000;
constexpr int64_t kPauseNsMax = 2'000'000;
constexpr int kErrorMax = 4095;  // results of -4095 to -1 are errors

}  // namespace

constinit AllThreads all_threads;

namespace {

constinit perThreadSyscallArgs perThreadSyscall;
// What our handler has taken the place of. Written while it is not there.
os::SignalAction before;
void (*handler_before)(int sig, void* info, void* context) = nullptr;  // if that is a function

long runPerThreadSyscall() noexcept {
  long args[6];
  for (int i = 0; i < 6; ++i) args[i] = perThreadSyscall.args[i];
  return os::system_call(perThreadSyscall.nr, args);
}

// ---- The threads' side --------------------------------------------------------------------------------

void step_done() noexcept {
  // release: the caller, who acquires the last one's, finds all that was done. The word outlives the call.
  if (all_threads.missing.fetch_sub(1, std::memory_order_release) == 1) {
    os::futexwakeup(&all_threads.missing, 1);
  }
}

uint32_t wait_past(uint32_t phase) noexcept {
  for (;;) {
    // acquire: pairs with set_phase(); learns the call, and at the end that it is over.
    const uint32_t now = all_threads.phase.load(std::memory_order_acquire);
    if (now != phase) return now;
    os::futexsleep(&all_threads.phase, phase, os::kForever);
  }
}

}  // namespace

void take_part(TaskRecord* record) noexcept {
  uint32_t state = TaskRecord::kSent;
  // AT3. relaxed: the handler of a signal sees what its sender saw, the phase and `missing` too.
  if (!record->state.compare_exchange_strong(state, TaskRecord::kArrived, std::memory_order_relaxed,
                                             std::memory_order_relaxed)) {
    return;
  }
  step_done();
  if (wait_past(AllThreads::kStop) == AllThreads::kRun) {
    record->result = runPerThreadSyscall();
    step_done();
    wait_past(AllThreads::kRun);  // AT2
  }
  step_done();  // and nothing of the call's after it
}

void perThreadSyscallSignal(int sig, void* info, void* context) noexcept {
  const auto* what = static_cast<const siginfo_t*>(info);
  const auto at = reinterpret_cast<uintptr_t>(what->si_ptr);
  // relaxed, both: the kernel has ordered them before the signal. To a signal of an earlier call, which has given up
  // its thread, its record is not among these, and no handler below takes it for its own.
  if (what->si_code == SI_QUEUE &&
      at >= all_threads.records_begin.load(std::memory_order_relaxed) &&
      at < all_threads.records_end.load(std::memory_order_relaxed)) {
    take_part(static_cast<TaskRecord*>(what->si_ptr));
    return;
  }
  if (handler_before != nullptr) handler_before(sig, info, context);  // AT5
}

namespace {

// ---- The caller's turn, and its signal ----------------------------------------------------------------

// The numbers of a queue, in one word, so that it has one owner: `next` is for who comes next, `now` has the turn.
struct Queue {
  static constexpr int kPidBits = 22;  // the kernel's limit
  static constexpr int kNumberBits = 21;
  static constexpr uint64_t kNumberMask = (uint64_t{1} << kNumberBits) - 1;

  explicit Queue(uint64_t word) noexcept
      : pid(word >> 2 * kNumberBits),
        next(word >> kNumberBits & kNumberMask),
        now(word & kNumberMask) {}
  [[nodiscard]] uint64_t word() const noexcept {
    return pid << 2 * kNumberBits | (next & kNumberMask) << kNumberBits | (now & kNumberMask);
  }
  uint64_t pid, next, now;
};
static_assert(Queue::kPidBits + 2 * Queue::kNumberBits == 64);

// Draws a number.
uint64_t join_queue(uint64_t pid) noexcept {
  // relaxed: what the queue stands for is learned in take_turn().
  uint64_t word = all_threads.queue.load(std::memory_order_relaxed);
  for (;;) {
    Queue q(word);
    if (q.pid != pid) {  // AT6: none yet, or a fork has copied it
      q.pid = pid;
      q.now = q.next = 0;
    }
    const uint64_t mine = q.next++;
    // relaxed, both: as above.
    if (all_threads.queue.compare_exchange_weak(word, q.word(), std::memory_order_relaxed,
                                                std::memory_order_relaxed)) {
      return mine;
    }
  }
}

void take_turn(uint64_t pid) noexcept {
  const uint64_t mine = join_queue(pid);
  for (;;) {
    // acquire: pairs with give_turn(), so that who sleeps for this has looked at what it has left.
    const uint32_t given = all_threads.turns.load(std::memory_order_acquire);
    // acquire: pairs with give_turn(); learns what the last caller has left.
    if (Queue(all_threads.queue.load(std::memory_order_acquire)).now == mine) return;
    os::futexsleep(&all_threads.turns, given, os::kForever);
  }
}

void give_turn() noexcept {
  // relaxed: a look; the exchange tells.
  uint64_t word = all_threads.queue.load(std::memory_order_relaxed);
  for (;;) {
    Queue q(word);
    ++q.now;
    // release: pairs with take_turn().
    if (all_threads.queue.compare_exchange_weak(word, q.word(), std::memory_order_release,
                                                std::memory_order_relaxed)) {
      break;
    }
  }
  // release: whoever sees it sees the queue as it is now, and sleeps no more for the last turn.
  all_threads.turns.fetch_add(1, std::memory_order_release);
  os::futexwakeup(&all_threads.turns, INT_MAX);
}

bool is_ours(const os::SignalAction& action) noexcept {
  return action.handler == perThreadSyscallSignal;
}

// Our handler for `sig`, if the kernel lets us; kept if it is still there.
bool install(int sig) noexcept {
  os::SignalAction now;
  if (os::rt_sigaction(sig, nullptr, &now) != 0) return false;
  if (is_ours(now)) return true;
  if (sig != kSignal && os::has_handler(now)) return false;
  // AT5: first, since a signal for it may come with the next instruction.
  before = now;
  handler_before = os::has_handler(now) ? now.handler : nullptr;
  os::SignalAction ours;
  ours.handler = perThreadSyscallSignal;
  ours.flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  ours.mask = kStoppedMask;
  return os::rt_sigaction(sig, &ours, nullptr) == 0;
}

// 0 or -errno. Emulators refuse signals that are their own libc's.
int choose_signal() noexcept {
  all_threads.sig = kSignal;
  if (install(kSignal)) return 0;
  for (all_threads.sig = kSignalMax; all_threads.sig >= kSignalMin; --all_threads.sig) {
    if (install(all_threads.sig)) return 0;
  }
  return -ENOTSUP;
}

// ---- Records ------------------------------------------------------------------------------------------

bool make_table(uint32_t threads) noexcept {
  constexpr uint32_t kPlacesMin = Mem::capacity(256);
  constexpr uint32_t kThreadsMax = 1U << 24;  // the kernel has at most 2^22
  if (threads > kThreadsMax) return false;
  uint32_t places = kPlacesMin;
  while (places < 2 * threads) places *= 2;
  const auto bytes = static_cast<uint32_t>(sizeof(TaskTable) + places * sizeof(TaskRecord));
  void* const memory = os::mem_map(bytes);
  if (memory == nullptr) return false;
  auto* const table = static_cast<TaskTable*>(memory);
  table->older = all_threads.table;
  table->bytes = bytes;
  table->places = places;
  table->used = 0;
  for (uint32_t i = 0; i < places; ++i) new (table->records() + i) TaskRecord;
  all_threads.table = table;
  const auto begin = reinterpret_cast<uintptr_t>(table->records());
  // relaxed: as in the handler.
  all_threads.records_end.store(begin + places * sizeof(TaskRecord), std::memory_order_relaxed);
  all_threads.records_begin.store(begin, std::memory_order_relaxed);  // relaxed: the same
  return true;
}

// No signal of ours is on its way, and no handler of one at work.
void drop_tables() noexcept {
  // relaxed, both: as in the handler.
  all_threads.records_begin.store(0, std::memory_order_relaxed);
  all_threads.records_end.store(0, std::memory_order_relaxed);
  while (all_threads.table != nullptr) {
    TaskTable* const table = all_threads.table;
    all_threads.table = table->older;
    for (uint32_t i = 0; i < table->places; ++i) table->records()[i].~TaskRecord();
    os::mem_unmap(table, table->bytes);
  }
}

// The record of a thread, a new one if it has none; nullptr: the table is full.
TaskRecord* record_of(int tid) noexcept {
  TaskTable& t = *all_threads.table;
  for (auto i = static_cast<uint32_t>(tid);; ++i) {
    TaskRecord& record = t.records()[i & (t.places - 1)];
    if (record.tid == tid) return &record;
    if (record.tid != 0) continue;
    if (t.used >= t.places / 4 * 3) return nullptr;
    ++t.used;
    record.tid = tid;
    return &record;
  }
}

template <class F>
void for_each_in(uint32_t state, F&& f) noexcept {
  for (uint32_t i = 0; i < all_threads.table->places; ++i) {
    TaskRecord& record = all_threads.table->records()[i];
    // relaxed: a look; who has come meanwhile is told by the exchange in forget(), or by `missing`.
    if (record.state.load(std::memory_order_relaxed) == state) f(record);
  }
}

// AT3: the thread has ended, or is given up. False: it has come.
bool forget(TaskRecord& record) noexcept {
  uint32_t state = TaskRecord::kSent;
  // relaxed: whoever comes too late learns nothing.
  if (!record.state.compare_exchange_strong(state, TaskRecord::kNone, std::memory_order_relaxed,
                                            std::memory_order_relaxed)) {
    return false;
  }
  --all_threads.comers;
  all_threads.missing.fetch_sub(1, std::memory_order_relaxed);  // relaxed: the caller's own
  return true;
}

// ---- Stopping -----------------------------------------------------------------------------------------

constexpr int kTableFull = 1;

// 0, -EAGAIN (the kernel queues no more signals now), or another -errno.
int send(TaskRecord& record) noexcept {
  ++all_threads.comers;
  // relaxed, both: before the signal, which brings them.
  all_threads.missing.fetch_add(1, std::memory_order_relaxed);
  record.state.store(TaskRecord::kSent, std::memory_order_relaxed);
  const int error = os::queue_signal(record.tid, all_threads.sig, &record);
  if (error == 0) return 0;
  forget(record);
  return error == -ESRCH ? 0 : error;
}

// Signals everybody on the list who has not been. The number of them, or -errno. What ended it before the end of the
// list: *cut is kTableFull or -EAGAIN, else 0.
int signal_new(int* cut) noexcept {
  *cut = 0;
  int news = 0;
  if (const int error = os::tasks_rewind(all_threads.tasks); error < 0) return error;
  for (;;) {
    const int tid = os::tasks_next(all_threads.tasks);
    if (tid <= 0) return tid < 0 ? tid : news;
    if (tid == all_threads.tid || (tid == all_threads.pid && all_threads.leader_ended)) continue;
    TaskRecord* const record = record_of(tid);
    if (record == nullptr) {
      *cut = kTableFull;
      return news;
    }
    // relaxed: what the caller has written, or that the thread has come.
    if (record->state.load(std::memory_order_relaxed) != TaskRecord::kNone) continue;
    const int error = send(*record);
    if (error == -EAGAIN) {  // those who come make room
      *cut = error;
      return news;
    }
    if (error < 0) return error;
    ++news;
  }
}

// Until nobody is missing, or nobody has come for so long. True: nobody is missing, and all they did is known.
bool wait_for_missing(int64_t pause_ns) noexcept {
  for (;;) {
    // acquire: pairs with the releases in step_done().
    const uint32_t left = all_threads.missing.load(std::memory_order_acquire);
    if (left == 0) return true;
    os::futexsleep(&all_threads.missing, left, pause_ns);
    // relaxed: whether to look again.
    if (pause_ns >= 0 && all_threads.missing.load(std::memory_order_relaxed) == left) return false;
  }
}

// A thread that has ended while its signal was on its way comes no more; its id may be another's by and by.
void forget_ended() noexcept {
  for_each_in(TaskRecord::kSent, [](TaskRecord& record) noexcept {
    const bool is_ended_leader = record.tid == all_threads.pid && all_threads.leader_ended;
    if (is_ended_leader || os::queue_signal(record.tid, 0, nullptr) == -ESRCH) forget(record);
  });
}

// AT1: 0 when all others are stopped, kTableFull, or -errno.
int stop_all(int64_t patience_ns) noexcept {
  uint32_t last_comers = 0;
  uint32_t last_missing = 0;
  int64_t quiet_ns = 0;
  int64_t pause_ns = kPauseNsMin;
  for (;;) {
    int cut = 0;
    const int news = signal_new(&cut);
    if (news < 0) return news;
    if (cut == kTableFull) return cut;
    const bool all_came = wait_for_missing(pause_ns);
    os::TaskCount now;
    if (const int error = os::tasks_count(all_threads.tasks, &now); error != 0) return error;
    all_threads.leader_ended = now.leader_ended;
    if (!all_came) forget_ended();
    const auto others = static_cast<uint32_t>(now.threads - (now.leader_ended ? 2 : 1));
    if (all_came && all_threads.comers == others) return 0;
    // relaxed: a measure of progress.
    const uint32_t missing = all_threads.missing.load(std::memory_order_relaxed);
    if (news != 0 || all_threads.comers != last_comers || missing != last_missing) {
      last_comers = all_threads.comers;
      last_missing = missing;
      quiet_ns = 0;
      pause_ns = kPauseNsMin;
      continue;
    }
    if (quiet_ns >= patience_ns) return cut != 0 ? cut : -EBUSY;
    if (all_came) os::futexsleep(&all_threads.missing, 0, pause_ns);  // somebody begins, or ends
    quiet_ns += pause_ns;
    pause_ns = pause_ns * 2 < kPauseNsMax ? pause_ns * 2 : kPauseNsMax;
  }
}

// Everybody who has come is in the next phase, and has done what there is to do, when it returns.
void set_phase(uint32_t phase) noexcept {
  all_threads.missing.store(all_threads.comers,
                            std::memory_order_relaxed);       // relaxed: the release follows
  all_threads.phase.store(phase, std::memory_order_release);  // release: pairs with wait_past()
  if (all_threads.comers == 0) return;
  os::futexwakeup(&all_threads.phase, INT_MAX);
  wait_for_missing(os::kForever);
}

// Those who have not come are given up, the others have come. The first one of those who have not, or 0.
int give_up() noexcept {
  int tid = 0;
  for_each_in(TaskRecord::kSent, [&tid](TaskRecord& record) noexcept {
    if (forget(record) && tid == 0) tid = record.tid;
  });
  wait_for_missing(os::kForever);
  return tid;
}

// ---- The call -----------------------------------------------------------------------------------------

long run_everywhere() noexcept {
  const long result = runPerThreadSyscall();
  if (result < 0 && result >= -kErrorMax) return result;
  set_phase(AllThreads::kRun);
  for_each_in(TaskRecord::kArrived, [result](TaskRecord& record) noexcept {
    if (record.result == result) return;
    fatal_value("AT2: a system call on all threads had another result on thread", record.tid,
                __FILE__, __LINE__);
  });
  return result;
}

// One attempt. kTableFull as an error: with a larger table it may go.
AllThreadsResult attempt(uint32_t threads, int64_t patience_ns) noexcept {
  AllThreadsResult r;
  all_threads.comers = 0;
  all_threads.leader_ended = false;
  // relaxed, both: before the signals, which bring them.
  all_threads.missing.store(0, std::memory_order_relaxed);
  all_threads.phase.store(AllThreads::kStop, std::memory_order_relaxed);
  if (!make_table(threads)) {
    r.error = -ENOMEM;
    return r;
  }
  r.error = stop_all(patience_ns);
  if (r.error == 0) {
    r.result = run_everywhere();
  } else {
    r.tid = give_up();
  }
  const bool clean = r.error == 0;
  set_phase(AllThreads::kLeave);
  if (clean) {
    os::rt_sigaction(all_threads.sig, &before, nullptr);  // AT5
    drop_tables();
  }
  return r;
}

AllThreadsResult with_turn(int64_t patience_ns) noexcept {
  AllThreadsResult r;
  r.error = os::tasks_open(all_threads.tasks);
  if (r.error != 0) return r;
  os::TaskCount count;
  r.error = os::tasks_count(all_threads.tasks, &count);
  if (r.error == 0) r.error = choose_signal();
  if (r.error == 0) {
    auto threads = static_cast<uint32_t>(count.threads);
    do {
      r = attempt(threads, patience_ns);
      threads *= 2;
    } while (r.error == kTableFull);
  }
  os::tasks_close(all_threads.tasks);
  return r;
}

}  // namespace

AllThreadsResult doAllThreadsSyscall(long nr, const long (&args)[6], int64_t patience_ns) noexcept {
  const int pid = os::getpid();
  take_turn(static_cast<uint64_t>(pid));
  // Nothing of the program's runs on this thread meanwhile: its handlers may wait for who is stopped. Signal 33 stays
  // open: glibc may wait for it.
  const uint64_t mask = os::sigprocmask(kStoppedMask & ~os::signal_bit(kSignal));
  all_threads.pid = pid;
  all_threads.tid = os::gettid();
  perThreadSyscall.nr = nr;
  for (int i = 0; i < 6; ++i) perThreadSyscall.args[i] = args[i];
  const AllThreadsResult r = with_turn(patience_ns);
  os::sigprocmask(mask);
  give_turn();
  return r;
}

}  // namespace gort
