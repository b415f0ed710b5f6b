// The kernel of a world of Ms: one epoll instance, its eventfd, descriptors that get edges, a clock.
//
// Its own locks make each call one step. It promises no order of the caller's memory, so there is none: every access here is
// relaxed. Time passes when nobody can go on, up to the next limit.
#include <array>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "base/check.hpp"
#include "ms/sockets.hpp"
#include "ms/world.hpp"
#include "os/os.hpp"

namespace gort {
namespace {

constexpr int kWakeFd = 0;
constexpr int kFds = 8;
constexpr int kEpollFd = 100;
constexpr uint32_t kEpollIn = 1;

struct Registered {
  uint64_t data = 0;
  uint32_t wanted = 0;
  uint32_t pending = 0;  // edges that nobody has fetched
};

// What is pending, by descriptor, one bit each; the rest belongs to whoever makes the step.
Atomic<uint32_t> ready{0};
std::array<Registered, kFds> fds;
int64_t clock_ns = 0;
int threads_refused = 0;
int threads_there = 0;
int processors_there = 1;
model::ThreadId sysmon_thread = 0;
uint64_t sysmon_looks = 0;
// As /proc counts them. A thread's end is ordered before the look that misses it, by the kernel's own locks.
Atomic<int> tasks{0};

}  // namespace

void ModelKernel::begin() {
  ready.store(0, std::memory_order_relaxed);
  fds = {};
  clock_ns = 1;
  ModelSocket::begin();
  threads_refused = 0;
  threads_there = 0;
  processors_there = 1;
  sysmon_thread = 0;
  sysmon_looks = 0;
  tasks.store(1, std::memory_order_relaxed);  // sysmon
}

void ModelKernel::pass_until(int64_t ns) {
  if (ns > clock_ns) clock_ns = ns;
}

void ModelKernel::refuse_threads(int n) {
  threads_refused = n;
}

void ModelKernel::processors(int n) {
  processors_there = n;
}

int ModelKernel::threads() {
  return threads_there;
}

uint64_t ModelKernel::looks_of_sysmon() {
  return sysmon_looks;
}

void ModelKernel::thread_begins() {
  tasks.fetch_add(1, std::memory_order_acq_rel);
}

void ModelKernel::thread_ends() {
  tasks.fetch_sub(1, std::memory_order_acq_rel);
}

int64_t ModelKernel::now_ns() {
  return clock_ns;
}

void ModelKernel::event(int fd, uint32_t events) {
  Registered& r = fds[static_cast<size_t>(fd)];
  ready.fetch_or(1U << fd, std::memory_order_relaxed);
  r.pending |= events;
  model::futex_wake(ready.location(), UINT32_MAX);
}

namespace os {

int64_t nanotime() noexcept {
  if (sysmon_thread != 0 && model::this_thread() == sysmon_thread) ++sysmon_looks;
  return clock_ns;
}
void futexsleep(const Atomic<uint32_t>* addr, uint32_t val, int64_t ns) noexcept {
  const int64_t until = ns == kForever ? kForever : clock_ns + ns;
  if (model::futex_sleep(addr->location(), val, ns != kForever) == model::SleepEnd::time) {
    ModelKernel::pass_until(until);
  }
}
int epoll_create() noexcept {
  return kEpollFd;
}
int pipe2(int*, int) noexcept {
  return -ENOSYS;  // there is an eventfd
}
int eventfd() noexcept {
  return kWakeFd;
}
int epoll_add(int, int fd, uint32_t events, uint64_t data) noexcept {
  Registered& r = fds[static_cast<size_t>(fd)];
  r.data = data;
  r.wanted = events;
  if (r.pending != 0) ready.fetch_or(1U << fd, std::memory_order_relaxed);
  return 0;
}
int epoll_del(int, int fd) noexcept {
  fds[static_cast<size_t>(fd)].wanted = 0;
  return 0;
}
long fd_read(int, void*, size_t n) noexcept {
  ready.fetch_and(~(1U << kWakeFd), std::memory_order_relaxed);
  return static_cast<long>(n);
}
long fd_write(int, const void*, size_t n) noexcept {
  ModelKernel::event(kWakeFd, kEpollIn);
  return static_cast<long>(n);
}

int epoll_wait(int, std::span<PollEvent> out, int64_t ns) noexcept {
  const int64_t until = ns < 0 ? INT64_MAX : clock_ns + ns;
  for (;;) {
    // The eventfd is level-triggered: it stays until it is read.
    const uint32_t seen = ready.fetch_and(1U << kWakeFd, std::memory_order_relaxed);
    int n = 0;
    for (int fd = 0; fd < kFds; ++fd) {
      Registered& r = fds[static_cast<size_t>(fd)];
      if ((seen >> fd & 1) == 0 || r.wanted == 0) continue;
      out[static_cast<size_t>(n)].events = fd == kWakeFd ? kEpollIn : std::exchange(r.pending, 0);
      out[static_cast<size_t>(n)].data = r.data;
      ++n;
    }
    if (n != 0 || ns == 0) return n;
    switch (model::futex_sleep(ready.location(), 0, ns > 0)) {
      case model::SleepEnd::time:
        if (until > clock_ns) clock_ns = until;
        return 0;
      case model::SleepEnd::early:
        return 0;
      case model::SleepEnd::woken:
      case model::SleepEnd::other_value:
        break;
    }
  }
}

int newosproc(mOS& os, void (*start)(void*), void* arg, size_t) noexcept {
  if (threads_refused != 0) {
    --threads_refused;
    return -EAGAIN;
  }
  ++threads_there;
  ModelKernel::thread_begins();
  os.mapping_bytes = MsWorld::start_thread(start, arg);
  return 0;
}
int newosproc0(mOS& os, size_t, void (*start)(void*), void* arg) noexcept {
  ++threads_there;
  os.mapping_bytes = MsWorld::start_thread(start, arg);
  return 0;
}
int mpreinit(mOS&) noexcept {
  return 0;
}
// Stands still: sysmon takes every thread for one that is blocked.
int64_t thread_cpu_ns(int) noexcept {
  return 0;
}
char thread_state(int) noexcept {
  return 'S';
}
// PC1: two who touch a place at a time are a data race.
void pull_here(Place& place, int) noexcept {
  place.cpu = 1;
}
void settle_place(Place& place) noexcept {
  place.cpu = -1;
}
// A program's own thread does what the handler would (preempt_test.cpp).
int signal_thread(int, int) noexcept {
  return 0;
}
int count_threads() noexcept {
  return tasks.fetch_add(0, std::memory_order_acq_rel);
}
void minit(mOS& os) noexcept {
  os.tid.store(1, std::memory_order_relaxed);  // any number
  if (&os == &sched().sysmon_os) sysmon_thread = model::this_thread();
}
bool has_ended(const mOS& os) noexcept {
  return MsWorld::has_ended(os.mapping_bytes);
}
void minitHouse(mOS& os) noexcept {
  minit(os);
}
// Nobody's: which thread makes an M matters for masks only.
int gettid() noexcept {
  return 2;
}
void mdestroy(mOS& os) noexcept {
  MsWorld::join_thread(os.mapping_bytes);
  --threads_there;
}
int getproccount() noexcept {
  return processors_there;
}
void* mem_reserve(size_t bytes, size_t) noexcept {
  return std::calloc(1, bytes);
}
void* mem_map(size_t bytes) noexcept {
  return std::calloc(1, bytes);
}
void mem_unmap(void* memory, size_t) noexcept {
  std::free(memory);
}

}  // namespace os

}  // namespace gort
