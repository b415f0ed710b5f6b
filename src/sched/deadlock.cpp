// The deadlock report. A runtime is dead when no fiber can ever run again:
//
//   D1  every P is idle, so no fiber runs, and every queue is empty (I2 in idle.cpp),
//   D2  no timer is armed, no fiber waits for a descriptor, none is inside blocking(),
//   D3  no foreign thread is alive that is not itself asleep in one of our objects without a time
//       limit. Threads and sleepers are counted while nobody goes to sleep or is woken, and no fiber runs
//       from the first look to the last: so the two counts, and D1, held at the same time, and nobody is
//       left to change that,
//   D4  somebody waits in run() or ~runtime(): an idle embedded runtime is no deadlock,
//   D5  fibers are left,
//   D6  none is in the hands of somebody without a P: the poller and sysmon take timers and
//       descriptors out before they queue the fibers. The poller is made to look for itself.
//   D7  none is on its way from a thread that has no P: such a thread counts its fiber (B4 in
//       census.hpp) before it has queued it. It is alive, but D3 is not asked in strict mode.
//   D8  nobody waits for what comes from outside of the process, a signal (signal/notify.cpp). That is asked in strict mode, too.
//       Who ends the wish is a fiber, or makes sysmon look.
//
// All but D3 are looked at under Sched::lock, behind which foreign wake-ups are queued. D3 counts
// the process's threads in /proc, which costs some 10 us, so it comes last; a thread that ends
// later is noticed by sysmon, which looks once a second while everything else holds
// (deadlock_suspected).
#include "sched/deadlock.hpp"

#include "base/mem.hpp"
#include "os/os.hpp"
#include "sched/census.hpp"
#include "sched/netpoll_internal.hpp"
#include "sched/report.hpp"
#include "sched/sched.hpp"
#include "sched/sysmon.hpp"

namespace gort {
namespace {

enum class Asleep : uint8_t { no, all_but_poller, all };

Asleep all_asleep(Sched& s) noexcept {
  LockGuard guard(s.lock);
  if (s.deadlock == DeadlockMode::off) return Asleep::no;
  // D1; one that is lent (PR7) is not idle, one that rests is not in use (RP2). relaxed: under the lock.
  if (s.idle_p_listed != s.procs_in_use.load(std::memory_order_relaxed)) return Asleep::no;
  // D1. unmodelled: who queues there without a P is counted by D2, D3, D6 or D7.
  if (Mem::recheck(s.globq_size() != 0)) return Asleep::no;
  if (Mem::recheck(s.blocking_count != 0)) return Asleep::no;  // D2
  if (Mem::recheck(s.foreign_births != 0)) return Asleep::no;  // D7
  // relaxed: under the lock, as every change of it.
  if (s.phase.load(std::memory_order_relaxed) == Phase::exiting) return Asleep::no;
  for (const P& p : s.all_procs()) {
    // D2. unmodelled: without it, and the next, an M that polls would be roused in vain.
    if (Mem::recheck(p.timers.size() != 0)) return Asleep::no;
  }
  // D2, D6. unmodelled: as above.
  if (Mem::recheck(netpoll_wanted())) return Asleep::no;
  if (s.main_runs.load(std::memory_order_relaxed) == 0) return Asleep::no;  // D4
  if (Mem::recheck(count_fibers() == 0)) return Asleep::no;                 // D5
  // relaxed: D8; a fiber that counts on it knows of it, and is asleep. modelled in DeadlockModel.
  if (Mem::recheck(outside_wakers.load(std::memory_order_relaxed) != 0)) return Asleep::no;
  // relaxed: D6, behind the look at descriptors, which acquires.
  if (Mem::recheck(s.sysmon_polls.load(std::memory_order_relaxed))) return Asleep::no;
  return s.polling_m != nullptr ? Asleep::all_but_poller : Asleep::all;
}

// D3. What stands still around the count is as it was at the count.
bool foreign_thread_alive(Sched& s) noexcept {
  if (s.deadlock == DeadlockMode::strict) return false;
  int ours;
  {
    LockGuard guard(s.lock);
    // An M that is being made may not be there yet. sysmon is ours, and who makes spares.
    ours = s.m_count - s.m_gone - s.m_starting + 1 + (s.tick_ns != 0 ? 1 : 0);
  }
  const uint64_t before = foreign_parked.now();
  const uint64_t house = house_threads.now();
  ours += HouseThreads::threads(house);
  const int all = os::count_threads() - kSanitizerThreads;
  // unmodelled: no model has a profile. Who makes or ends its thread is alive.
  if (Mem::recheck(house_threads.now() != house)) return true;
  // unmodelled: in as many runs as the tests make; without it ForeignEndsBetweenCounts fails within 600,000.
  if (Mem::recheck(foreign_parked.now() != before)) return true;
  return all < 0 || all - ours - ForeignParked::asleep(before) > 0;
}

// How many fibers have begun to run, in all.
uint64_t turns(Sched& s) noexcept {
  uint64_t sum = 0;
  for (const P& p : s.all_procs()) sum += p.turns();
  return sum;
}

}  // namespace

bool deadlock_suspected() noexcept {
  return all_asleep(sched()) != Asleep::no;
}

void check_deadlock() noexcept {
  Sched& s = sched();
  const uint64_t before = turns(s);
  const Asleep asleep = all_asleep(s);
  if (asleep == Asleep::all_but_poller) return netpoll_break();
  if (asleep == Asleep::no || Mem::recheck(foreign_thread_alive(s))) return;
  // A foreign thread may have woken a fiber and ended between the two looks; or a fiber may have run meanwhile, and
  // woken a thread.
  if (Mem::recheck(all_asleep(s) != Asleep::all) || Mem::recheck(turns(s) != before)) return;
  report_deadlock();
}

void begin_await_end() noexcept {
  Sched& s = sched();
  {
    // The fibers have perhaps all been asleep for long.
    const LockGuard guard(s.lock);
    s.main_runs.fetch_add(1, std::memory_order_relaxed);  // relaxed: under the lock
    foreign_parked.parks();
  }
  wake_sysmon();  // Y1: of it, which falls asleep and then looks under the lock, and us one sees the other
}

void end_outside_waker() noexcept {
  const Visitor visit;
  if (!runtime_alive()) {
    outside_wakers.fetch_sub(1, std::memory_order_relaxed);  // relaxed: nobody looks
    return;
  }
  {
    // Of sysmon, which falls asleep and then looks under the lock, and us one sees the other (Y1).
    LockGuard guard(sched().lock);
    outside_wakers.fetch_sub(1, std::memory_order_relaxed);  // relaxed: under the lock
  }
  wake_sysmon();
}

}  // namespace gort
