#include "port/machine.hpp"

#include <cxxabi.h>
#include <sys/mman.h>

#include <array>
#include <cstring>

#include "base/check.hpp"
#include "os/linux/sanitizer.hpp"
#include "os/os.hpp"
#include "port/fiber.hpp"
#include "port/port.hpp"
#include "sched/census.hpp"
#include "sched/idle.hpp"
#include "sched/loop.hpp"
#include "sched/pools.hpp"
#include "sched/preempt.hpp"
#include "sched/spawn.hpp"
#include "sched/timer.hpp"

namespace gort {
namespace {

constexpr int kMachinesMax = 4;
// The machines of this run. One that has failed may have left some.
std::array<ModelMachine*, kMachinesMax> machines{};
uint64_t machines_run = 0;

struct Mapping {
  void* memory;
  size_t bytes;
};
std::vector<Mapping> unused;

}  // namespace

ModelMachine::ModelMachine(P* p) {
  if (machines_run != model::run_number()) machines = {};
  machines_run = model::run_number();
  machines[static_cast<size_t>(p->id)] = this;
  m_.g0.kind = GKind::g0;
  m_.g0.state.store(GState::running, std::memory_order_relaxed);
  m_.cur = &m_.g0;
  m_.p = p;
  m_.id = 1;
  m_.eh = reinterpret_cast<EhGlobals*>(abi::__cxa_get_globals());
  thread_.emplace([this] { loop(); });
}

void ModelMachine::close() {
  if (!thread_) return;
  closed_ = true;
  arrived_.set();
  thread_.reset();
}

void ModelMachine::run_next(G* g) noexcept {
  const char c = g->name[0];
  ModelMachine& to =
      *machines[c >= '0' && c < '0' + kMachinesMax ? static_cast<size_t>(c - '0') : 0];
  to.queue_.push_back(g);
  to.arrived_.set();
}

void ModelMachine::loop() {
  this_thread_is(&m_);
  for (;;) {
    arrived_.wait();
    if (queue_.empty()) {
      if (closed_) break;
      continue;
    }
    G* g = queue_.front();
    queue_.pop_front();
    switch_to(&m_, &m_.g0, g, nullptr, nullptr);
  }
  this_thread_is(nullptr);
}

bool on_machine(const M* m) noexcept {
  return m->id != 0;
}

ModelRuntime::ModelRuntime(int machines) {
  sched_.procs_made.store(machines, std::memory_order_relaxed);
  sched_.procs_in_use.store(machines, std::memory_order_relaxed);
  sched_.procs = new P[static_cast<size_t>(machines)];
  sched_.stack_bytes = StackPool::kDefaultStackBytes;
  live_sched.store(&sched_, std::memory_order_release);
  sched_.stacks = pool_for(sched_.stack_bytes);
  for (int i = 0; i < machines; ++i) {
    sched_.procs[i].id = i;
    machines_.push_back(std::make_unique<ModelMachine>(&sched_.procs[i]));
  }
  open_for_visitors.store(true, std::memory_order_seq_cst);
}

void ModelRuntime::close() {
  for (auto& machine : machines_) machine->close();
}

void ModelRuntime::end() {
  close();
  Visitor::close_the_door();
  orphan_timers(sched_);
}

ModelRuntime::~ModelRuntime() {
  end();
  for (P& p : sched_.all_procs()) drain_free(&p);
  model::check(count_fibers() == 0, "B4: every fiber that was spawned has ended");
  model::check(stacks_out() == 0, "every slot has come back");
  for_each_slot([](std::byte* top) { std::memset(static_cast<void*>(slot_g(top)), 0, sizeof(G)); });
  destroy_pools(sched_);
  delete[] sched_.procs;
  live_sched.store(nullptr, std::memory_order_release);
}

// ---- What spawn.cpp and the pools need of the scheduler and the system --------------------------

void wake_sysmon() noexcept {}
void wake_all_idle() noexcept {}

namespace os {

// A run's mappings are used again by the next one, at the same addresses; ModelRuntime has cleared
// what must be.
void* mem_reserve(size_t bytes, size_t align) noexcept {
  for (auto it = unused.begin(); it != unused.end(); ++it) {
    if (it->bytes != bytes) continue;
    void* memory = it->memory;
    unused.erase(it);
    return memory;
  }
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* memory = mmap(nullptr, bytes + align, PROT_READ | PROT_WRITE, kFlags, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  auto* const first = static_cast<std::byte*>(memory);
  std::byte* const aligned = first + (-reinterpret_cast<uintptr_t>(first) & (align - 1));
  if (aligned != first) munmap(first, static_cast<size_t>(aligned - first));
  munmap(aligned + bytes, align - static_cast<size_t>(aligned - first));
  return aligned;
}
void* mem_map(size_t bytes) noexcept {
  return mem_reserve(bytes, 4096);
}
void mem_unmap(void* memory, size_t bytes) noexcept {
  asan_forget(memory, bytes);
  unused.push_back({memory, bytes});
}
void mem_discard(void* memory, size_t bytes) noexcept {
  madvise(memory, bytes, MADV_DONTNEED);
}
int mem_guard_install(void*, size_t) noexcept {
  return 0;
}
size_t mem_guard_install_each(void*, size_t, size_t count, size_t) noexcept {
  return count;
}
int mem_protect_none(void*, size_t) noexcept {
  return 0;
}
size_t mem_resident(const void*, size_t) noexcept {
  return 0;
}
long fd_write(int, const void*, size_t n) noexcept {
  return static_cast<long>(n);
}

}  // namespace os

}  // namespace gort
