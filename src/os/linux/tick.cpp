// tick: the signals by which a thread is told that it has used so much processor time. Implements the section "Ticks" of
// os.hpp; called by minit() and unminit() of thread.cpp, by runtime.cpp, and by the handler of SIGURG.
//
//   TK1  A source that a thread can have interrupts nothing but its own computing: timers of processor time and events
//        of the task clock stand still while the thread waits in the kernel, so no system call is cut short by them.
//   TK2  A signal is a tick if the kernel says that it comes from this thread's timer or event: a program's own SIGURG,
//        whatever it carries by chance, is the program's.
//
// Timers of processor time are looked at when the kernel's own tick comes (4 ms at 250 Hz), so a period is rounded up to
// that; an event of the task clock comes to the microsecond (intervals here: 500.0 us at p50, 507 at p99), but costs a
// descriptor for each thread and is forbidden in most containers.
//
// Rejected: a clock of real time (its signals cut sleeps and polls short: nearly all of 2,600 in an experiment); one
// timer for the process (its signal goes to whichever thread the kernel likes).
#include <fcntl.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <csignal>
#include <ctime>

#include "os/linux/syscall.hpp"
#include "os/os.hpp"

namespace gort::os {

char tick_mark = 0;

namespace {

int open_event(int64_t tick_ns) noexcept {
  perf_event_attr what{};
  what.size = sizeof what;
  what.type = PERF_TYPE_SOFTWARE;
  what.config = PERF_COUNT_SW_TASK_CLOCK;
  what.sample_period = static_cast<uint64_t>(tick_ns);
  what.wakeup_events = 1;
  what.disabled = 1;
  what.exclude_kernel = 1;  // TK1; and what an unprivileged process may ask for
  what.exclude_hv = 1;
  constexpr int kThisThread = 0;
  constexpr int kAnyCpu = -1;
  constexpr int kNoGroup = -1;
  return static_cast<int>(raw_syscall(SYS_perf_event_open, &what, kThisThread, kAnyCpu, kNoGroup,
                                      PERF_FLAG_FD_CLOEXEC));
}

// The event's signals come to the calling thread. 0 or -errno.
int begin_event(int fd) noexcept {
  const struct { int type, tid; } owner{/* F_OWNER_TID */ 0, gettid()};
  constexpr int kSetOwnerEx = 15;  // F_SETOWN_EX
  constexpr int kSetSignal = 10;   // F_SETSIG
  long error = raw_syscall(SYS_fcntl, fd, kSetOwnerEx, &owner);
  if (error == 0) error = raw_syscall(SYS_fcntl, fd, kSetSignal, SIGURG);
  if (error == 0) error = raw_syscall(SYS_fcntl, fd, F_SETFL, O_ASYNC);
  if (error == 0) error = raw_syscall(SYS_ioctl, fd, PERF_EVENT_IOC_ENABLE, 0);
  return static_cast<int>(error);
}

// The child of a fork may have a copy, and an event ends with its last.
void close_event(mOS& os) noexcept {
  if (os.tick_event >= 0) raw_syscall(SYS_ioctl, os.tick_event, PERF_EVENT_IOC_DISABLE, 0);
  forget_ticks(os);
}

}  // namespace

void forget_ticks(mOS& os) noexcept {
  if (os.tick_event >= 0) raw_syscall(SYS_close, os.tick_event);
  os.tick_event = -1;
}

int64_t kernel_tick_ns() noexcept {
  constexpr int64_t kUsual = 4'000'000;
  timespec step;
  // How far apart two values of the coarse clock are.
  const long error = raw_syscall(SYS_clock_getres, CLOCK_MONOTONIC_COARSE, &step);
  return error == 0 && step.tv_sec == 0 ? step.tv_nsec : kUsual;
}

TickSource choose_tick_source(int64_t tick_ns, TickSource wish) noexcept {
  if (wish == TickSource::timer) return wish;
  if (wish == TickSource::none && tick_ns >= kernel_tick_ns()) return TickSource::timer;
  if (wish == TickSource::watchman) return wish;
  const int fd = open_event(tick_ns);
  if (fd < 0) return TickSource::watchman;
  raw_syscall(SYS_close, fd);
  return TickSource::event;
}

void begin_ticks(mOS& os) noexcept {
  if (os.tick_source == TickSource::event) {
    os.tick_event = open_event(os.tick_ns);
    if (os.tick_event >= 0 && begin_event(os.tick_event) != 0) close_event(os);
    if (os.tick_event >= 0) return;
  }
  // Also where there is no descriptor left for an event: late ticks are better than none.
  if (os.tick_source == TickSource::none || os.tick_source == TickSource::watchman) return;
  if (timer_create(TimerClock::thread_cpu, gettid(), SIGURG, &tick_mark, &os.timer) != 0) {
    os.timer = -1;  // the watchman sees to it
    return;
  }
  timer_settime(os.timer, os.tick_ns, os.tick_ns);
}

void end_ticks(mOS& os) noexcept {
  if (os.timer >= 0) timer_delete(os.timer);
  os.timer = -1;
  close_event(os);
}

bool is_tick(const mOS* os, const void* info) noexcept {
  const auto* what = static_cast<const siginfo_t*>(info);
  if (what->si_code == SI_TIMER) return what->si_ptr == &tick_mark;
  // A thread that is no M any more may get the last of its ticks.
  return os != nullptr && what->si_code == POLL_IN && os->tick_event >= 0 &&
         what->si_fd == os->tick_event;
}

}  // namespace gort::os
