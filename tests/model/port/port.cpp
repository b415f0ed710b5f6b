// The operating system of the models: futexes and fences of the checker.
#include "port/port.hpp"

#include <array>
#include <cstdlib>
#include <new>

#include "base/check.hpp"
#include "base/in_exit.hpp"
#include "base/pause.hpp"
#include "base/write.hpp"
#include "os/os.hpp"
#include "sched/current.hpp"
#include "sched/fork.hpp"

// Channels allocate with an alignment. They get the same addresses in each run, since locks share counts of
// sleepers by their address. Each size, in cache lines, has a place of its own: records of descriptors outlive runs,
// and nothing else may come to lie where they are.
namespace {

constexpr size_t kLine = 64;
constexpr size_t kLinesMax = 64;  // of one object
constexpr size_t kEach = 32;      // objects of one size
constexpr size_t kArenaBytes = kLine * kEach * kLinesMax * (kLinesMax + 1) / 2;
alignas(4096) std::byte arena[kArenaBytes];
std::array<size_t, kLinesMax + 1> arena_used;
uint64_t arena_run = 0;

}  // namespace

void* operator new(size_t bytes, std::align_val_t align) {
  if (!model::running()) return std::aligned_alloc(static_cast<size_t>(align), bytes);
  if (arena_run != model::run_number()) arena_used = {};
  arena_run = model::run_number();
  const size_t lines = (bytes + kLine - 1) / kLine;
  if (static_cast<size_t>(align) > kLine || lines > kLinesMax || arena_used[lines] == kEach) {
    throw std::bad_alloc();
  }
  return arena + kLine * (kEach * lines * (lines - 1) / 2 + lines * arena_used[lines]++);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  if (memory < arena || memory >= arena + kArenaBytes) std::free(memory);
}
// The others, of which the library's hand on to the two above; AddressSanitizer's do not.
void* operator new(size_t bytes, std::align_val_t align, const std::nothrow_t&) noexcept {
  return operator new(bytes, align);
}
void operator delete(void* memory, size_t, std::align_val_t align) noexcept {
  operator delete(memory, align);
}

namespace gort {

extern "C" {
thread_local constinit Tls gort_tls{nullptr, nullptr};
}

void set_current_m(M* m) noexcept {
  gort_tls.m = m;
}

bool in_exit() noexcept {
  return false;
}

bool on_fork(void (*)() noexcept) noexcept {
  return true;
}

void fatal(const char* what, const char*, int) noexcept {
  model::fail(what);
}
void fatal_value(const char* what, long, const char*, int) noexcept {
  model::fail(what);
}

void write_text(int, const char*, size_t) noexcept {}

namespace os {

constinit Atomic<bool> light_fence_is_real{false};

void fence_heavy() noexcept {
  model::heavy_fence();
}
const SystemInfo& system_info() noexcept {
  static const SystemInfo one_cpu;  // nobody spins for a fiber's sake: that is but another delay
  return one_cpu;
}
void osyield() noexcept {
  cpu_pause();
}
void futexwakeup(const Atomic<uint32_t>* addr, uint32_t n) noexcept {
  model::futex_wake(addr->location_for_wake(), n);
}

}  // namespace os

namespace {

// The M that each thread of the program is. A run that failed may have left some.
std::array<M*, model::kMaxThreads> ms{};
uint64_t ms_run = 0;

void switch_m(model::ThreadId to) {
  if (ms_run != model::run_number()) ms = {};
  ms_run = model::run_number();
  gort_tls.m = ms[to];
}

}  // namespace

void this_thread_is(M* m) {
  model::set_on_switch(switch_m);
  switch_m(model::this_thread());  // a new run begins without any
  ms[model::this_thread()] = m;
  gort_tls.m = m;
}

}  // namespace gort
