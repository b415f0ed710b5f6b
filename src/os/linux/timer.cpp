// timer: POSIX timers of one thread, and the process's profiling timer. Implements the section "Timers that send
// signals" of os.hpp, straight to the kernel: glibc's timer_create() makes threads and hides SIGEV_THREAD_ID.
#include <sys/time.h>

#include <csignal>
#include <ctime>

#include "os/linux/syscall.hpp"
#include "os/os.hpp"

namespace gort::os {
namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;
constexpr int64_t kNsPerUs = 1'000;
constexpr int64_t kUsPerSecond = 1'000'000;

// The kernel's struct sigevent; glibc's does not name the thread.
struct Event {
  union {
    int number;
    void* pointer;
  } value;
  int signal;
  int notify;
  union {
    int tid;
    char room[48];
  } to;
};
static_assert(sizeof(Event) == sizeof(sigevent));

struct Time {
  int64_t sec, nsec;
};
Time time_of(int64_t ns) noexcept {
  return {ns / kNsPerSecond, ns % kNsPerSecond};
}

}  // namespace

int timer_create(TimerClock clock, int tid, int sig, void* value, TimerId* timer) noexcept {
  Event event{};
  event.value.pointer = value;
  event.signal = sig;
  event.notify = SIGEV_THREAD_ID;
  event.to.tid = tid;
  const clockid_t id = clock == TimerClock::monotonic ? CLOCK_MONOTONIC : thread_cpu_clock(tid);
  return static_cast<int>(raw_syscall(SYS_timer_create, id, &event, timer));
}

int timer_settime(TimerId timer, int64_t first_ns, int64_t period_ns) noexcept {
  const struct { Time period, first; } when{time_of(period_ns), time_of(first_ns)};
  return static_cast<int>(raw_syscall(SYS_timer_settime, timer, 0, &when, nullptr));
}

int timer_delete(TimerId timer) noexcept {
  return static_cast<int>(raw_syscall(SYS_timer_delete, timer));
}

int setitimer(int64_t period_ns) noexcept {
  const int64_t us = (period_ns + kNsPerUs - 1) / kNsPerUs;  // rounded up: 1 ns is not "off"
  const struct { int64_t sec, usec; } period{us / kUsPerSecond, us % kUsPerSecond};
  const struct { decltype(period) every, first; } when{period, period};
  return static_cast<int>(raw_syscall(SYS_setitimer, ITIMER_PROF, &when, nullptr));
}

}  // namespace gort::os
