#include "all_threads/kernel.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <new>

#include "base/mem.hpp"
#include "os/os.hpp"
#include "signal/all_threads.hpp"
#include "signal/all_threads_internal.hpp"

namespace gort {
namespace {

constexpr int kPid = 100;

struct Task {
  bool alive = false;
  bool in_handler = false;
  bool has_called = false;
  std::array<void*, 3> signals{};  // values of those that are pending, oldest first
  int pending = 0;
  bool asleep = false;  // in a futex, with signals open
  model::LocationId sleeps_on = 0;
};

std::array<Task, model::kMaxThreads> tasks;
os::SignalAction action;
int calls_made = 0;
int callers_done = 0;
int callers_all = INT_MAX;
int cut_before = -1;
long refused_first = 0;
bool all_alone = false;

// Whatever is asked of the kernel is one step, after which others may go first.
Atomic<uint32_t> kernel_step{0};
void step() {
  kernel_step.fetch_add(1, std::memory_order_relaxed);
}
// Only a signal brings its handler what its sender knew: both take the lock of the receiver's signals.
std::array<Atomic<uint32_t>, model::kMaxThreads> signal_locks;

Task& self() {
  return tasks[model::this_thread()];
}
model::ThreadId thread_of(int tid) {
  return static_cast<model::ThreadId>(tid - ModelProcess::kTidOfFirst);
}

constexpr size_t kMaps = 8;  // of one run
alignas(64) std::array<std::array<std::byte, 4096>, kMaps> maps;
size_t maps_used = 0;

}  // namespace

void ModelProcess::begin() {
  tasks = {};
  action = {};
  calls_made = callers_done = 0;
  callers_all = INT_MAX;
  cut_before = -1;
  refused_first = 0;
  maps_used = 0;
  all_alone = false;
  new (&all_threads) AllThreads;
  is_born();
}

void ModelProcess::is_born() {
  step();
  self().alive = true;
}

void ModelProcess::makes(model::ThreadId t) {
  step();
  tasks[t].alive = true;
}

void ModelProcess::wait_until_made() {
  const Task& t = self();
  model::await([&t] { return t.alive; });
}

void ModelProcess::ends() {
  step();
  self().alive = false;
}

void ModelProcess::each_is_alone() {
  all_alone = true;
}

void ModelProcess::cut_list_before(model::ThreadId t) {
  cut_before = static_cast<int>(t);
}

void ModelProcess::may_take_signal() {
  step();
  Task& me = self();
  if (me.pending == 0) return;
  signal_locks[model::this_thread()].fetch_add(1, std::memory_order_acquire);
  siginfo_t info{};
  info.si_code = SI_QUEUE;
  info.si_ptr = me.signals[0];
  --me.pending;
  std::move(me.signals.begin() + 1, me.signals.end(), me.signals.begin());
  me.in_handler = true;
  action.handler(33, &info, nullptr);
  me.in_handler = false;
  if (!me.has_called) return;
  for (const Task& t : tasks) {
    model::check(!t.alive || t.has_called, "AT2: nobody goes on before all have made the call");
  }
}

void ModelProcess::wait_for_signal() {
  Task& t = self();
  model::await([&t] { return t.pending != 0 || callers_done >= callers_all; });
  may_take_signal();
}

void ModelProcess::wait_for_end(int callers) {
  callers_all = callers;
  while (callers_done < callers) wait_for_signal();
}

void ModelProcess::caller_is_done() {
  ++callers_done;
}

int ModelProcess::calls() {
  return calls_made;
}

int ModelProcess::alive() {
  int n = 0;
  for (const Task& t : tasks) n += t.alive ? 1 : 0;
  return n;
}

namespace os {

int getpid() noexcept {
  return kPid;
}
int gettid() noexcept {
  return ModelProcess::kTidOfFirst + static_cast<int>(model::this_thread());
}
uint64_t sigprocmask(uint64_t) noexcept {
  return 0;
}
bool has_handler(const SignalAction& a) noexcept {
  return a.handler != nullptr;
}
int rt_sigaction(int, const SignalAction* now, SignalAction* old) noexcept {
  step();
  if (old != nullptr) *old = action;
  if (now == nullptr) return 0;
  action = *now;
  if (now->handler == nullptr) {
    for (const Task& t : tasks) {
      model::check(!t.alive || t.pending == 0, "AT5: a signal of ours meets the old action");
    }
  }
  return 0;
}

void* mem_map(size_t bytes) noexcept {
  if (maps_used == kMaps || bytes > sizeof maps[0]) return nullptr;
  return &maps[maps_used++];
}
void mem_unmap(void*, size_t) noexcept {}

int tasks_open(TaskList&) noexcept {
  return 0;
}
void tasks_close(TaskList&) noexcept {}
int tasks_rewind(TaskList& list) noexcept {
  list.at = 0;
  return 0;
}
int tasks_next(TaskList& list) noexcept {
  step();
  if (all_alone) return 0;
  for (; list.at < tasks.size(); ++list.at) {
    if (static_cast<int>(list.at) == cut_before) {
      cut_before = -1;
      return 0;
    }
    if (tasks[list.at].alive) return ModelProcess::kTidOfFirst + static_cast<int>(list.at++);
  }
  return 0;
}
int tasks_count(const TaskList&, TaskCount* count) noexcept {
  step();
  count->threads = all_alone ? 1 : ModelProcess::alive();
  count->leader_ended = false;
  return 0;
}

int queue_signal(int tid, int sig, void* value) noexcept {
  step();
  Task& t = tasks[thread_of(tid)];
  if (!t.alive) return -ESRCH;
  if (sig == 0) return 0;
  signal_locks[thread_of(tid)].fetch_add(1, std::memory_order_release);
  model::check(t.pending < static_cast<int>(t.signals.size()), "one signal for each call");
  t.signals[static_cast<size_t>(t.pending++)] = value;
  return 0;
}

long system_call(long nr, const long (&args)[6]) noexcept {
  model::check(args[0] == 5, "the call is the one that was asked for");
  if (nr == ModelProcess::kRefuses && refused_first++ == 0) return -EPERM;
  if (!self().in_handler) {  // the caller's own comes first
    calls_made = 0;
    for (Task& t : tasks) t.has_called = false;
  }
  for (model::ThreadId i = 0; i < tasks.size(); ++i) {
    model::check(all_alone || !tasks[i].alive || tasks[i].in_handler || i == model::this_thread() ||
                     self().in_handler,
                 "AT1: the first call while somebody runs");
  }
  model::check(!self().has_called, "AT1: once each");
  self().has_called = true;
  ++calls_made;
  return 7;
}

// A wait for the turn ends by a signal, too: there it is the kernel's own look at both.
void futexsleep(const Atomic<uint32_t>* addr, uint32_t val, int64_t ns) noexcept {
  if (addr == &all_threads.turns && !all_alone) {
    ModelProcess::may_take_signal();
    const Task& me = self();
    const model::ThreadId t = model::this_thread();
    const model::LocationId x = addr->location();
    model::await(
        [&me, t, x, val] { return me.pending != 0 || model::memory().load_newest(t, x) != val; });
    ModelProcess::may_take_signal();
    return;
  }
  model::futex_sleep(addr->location(), val, ns != kForever);
}

}  // namespace os
}  // namespace gort
