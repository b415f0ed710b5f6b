#include "sched/roll.hpp"

#include <new>
#include <span>

#include "base/mem.hpp"
#include "base/random.hpp"
#include "base/thread_safety.hpp"
#include "sched/fork.hpp"
#include "sched/lock.hpp"
#include "sched/region.hpp"

namespace gort {
namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;

// Not part of Sched: a profile goes on from one runtime to the next. System calls are made under this lock; it is wanted
// only where Ms and profiles begin and end.
struct Roll {
  Lock lock;
  M* first GORT_GUARDED_BY(lock) = nullptr;
  int hz GORT_GUARDED_BY(lock) = 0;
  Random random GORT_GUARDED_BY(lock);
};
alignas(64) constinit Roll roll;

// FK2. Its Ms are not there, and timers are not inherited.
const bool forgets_roll = on_fork([]() noexcept { new (&roll) Roll; });

// The ticks of Ms that began together should not come together, so each begins somewhere in its period.
void setThreadCPUProfiler(M* m, int hz) noexcept GORT_REQUIRES(roll.lock) {
  // relaxed, all: read by handlers on m's thread. One that runs now takes the old timer's tick, or leaves it; each is right.
  const os::TimerId old = m->profile_timer.load(std::memory_order_relaxed);
  if (old >= 0) {
    m->profile_timer.store(-1, std::memory_order_relaxed);  // relaxed: as above
    os::timer_delete(old);
  }
  if (hz == 0 || m->profile_signal == 0) return;
  os::TimerId timer;
  if (os::timer_create(os::TimerClock::thread_cpu, m->profile_tid, m->profile_signal, &profile_mark,
                       &timer) != 0) {
    return;  // the process's timer counts for it (validSIGPROF)
  }
  const int64_t period_ns = kNsPerSecond / hz;
  const int64_t first_ns =
      1 + static_cast<int64_t>(roll.random.next() % static_cast<uint64_t>(period_ns));
  // relaxed: as above. Before it is armed, so that its first tick is known.
  m->profile_timer.store(timer, std::memory_order_relaxed);
  os::timer_settime(timer, first_ns, period_ns);
}

}  // namespace

char profile_mark = 0;

void roll_enter(M* m) noexcept {
  m->profile_tid = os::gettid();
  m->profile_signal = os::profiling_signal(m->os);
  LockGuard guard(roll.lock);
  m->roll_next = roll.first;
  m->roll_link = &roll.first;
  if (roll.first != nullptr) roll.first->roll_link = &m->roll_next;
  roll.first = m;
  setThreadCPUProfiler(m, roll.hz);  // PF1
}

void roll_leave(M* m) noexcept {
  const Region in;  // there already, but where a start has failed by an exception
  LockGuard guard(roll.lock);
  *m->roll_link = m->roll_next;
  if (m->roll_next != nullptr) m->roll_next->roll_link = m->roll_link;
  setThreadCPUProfiler(m, 0);
}

void setThreadCPUProfilers(int hz) noexcept {
  uint64_t seed;
  os::getRandomData(std::as_writable_bytes(std::span(&seed, 1)));
  const Region in;
  LockGuard guard(roll.lock);
  roll.hz = hz;
  roll.random.seed(seed);
  for (M* m = roll.first; m != nullptr; m = m->roll_next) setThreadCPUProfiler(m, hz);
}

}  // namespace gort
