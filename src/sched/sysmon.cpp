// sysmon looks after what nobody else would: a ready fiber passed over by the wake-up rule (I4 in
// idle.cpp), Ps that one fiber keeps for long (watch.hpp), descriptors that nobody has polled for
// 10 ms because every M is busy, resident memory of free stacks after a burst, Ms that have been
// idle for long, a deadlock that only showed when the last foreign thread ended.
//
// It also tries again to get threads when there were none (I8 in idle.cpp).
//
// It has no P and never runs fibers. It sleeps 0.1 ms where it has found something, doubling to
// 10 ms while it finds nothing to do, until a timer that a busy P would miss, and for good once all Ps
// have been idle for a while; the next M that gets a P wakes it.
//
// And it keeps the number of Ps what the machine has (RP6 in procs.cpp).
//
//   Y1  Falling asleep: sysmon_asleep = true, a fence, then look whether all Ps are idle, under Sched::lock. Getting
//       a P: idle_p_count falls, under the lock or seq_cst, then look at sysmon_asleep. One sees the other.
//   Y2  The same for a timer that is armed by a thread without a P, which goes round by no M: the timer, a fence (timer_add),
//       then a look at sysmon_asleep; sysmon_asleep, a fence, then a look at the timers (unattended). Who is woken, or sees
//       it, wakes an M that becomes the poller.
#include "sched/sysmon.hpp"

#include <algorithm>

#include "base/mem.hpp"
#include "sched/chaos.hpp"
#include "sched/deadlock.hpp"
#include "sched/idle.hpp"
#include "sched/netpoll_internal.hpp"
#include "sched/park.hpp"
#include "sched/pools.hpp"
#include "sched/procs.hpp"
#include "sched/sched.hpp"
#include "sched/schedtrace.hpp"
#include "sched/spares.hpp"
#include "sched/watch.hpp"

namespace gort {
namespace {

constexpr int64_t kMinNs = 1'000'000;
constexpr int64_t kSoonNs = 100'000;      // where something was found, or looks suspicious
constexpr int64_t kTimerMinNs = 100'000;  // the precision of timers that no M looks after
constexpr int64_t kMaxNs = 10'000'000;
constexpr int64_t kPollGapNs = 10'000'000;         // Go's 10 ms
constexpr int64_t kPollGapLongTurnNs = 1'000'000;  // while a fiber runs for long
constexpr int64_t kRetireLookNs = 5'000'000'000;   // as often as spares.cpp retires
constexpr int64_t kDeepAfterNs = 50'000'000;       // all idle for so long: sleep for good
constexpr int64_t kScavengeEveryNs = 500'000'000;
// As often as Go looks. What the OS layer remembers of the quota is as old at most.
constexpr int64_t kProcsEveryNs = 1'000'000'000;
constexpr int64_t kSignalsEveryNs = 500'000'000;
constexpr size_t kWarmMax = 256;  // free stacks that may stay resident
constexpr int64_t kForeignLookNs = 1'000'000'000;
constexpr size_t kStackBytes = 128 * 1024;

struct Pace {
  int64_t idle_since_ns = 0;
  int64_t scavenged_at_ns = 0;
  int64_t traced_at_ns = 0;
  int64_t signals_at_ns = 0;
  int64_t procs_at_ns = 0;
};

bool exiting(Sched& s) noexcept {
  // relaxed: nothing of what others did is read behind it. wake_sysmon_to_exit() comes after it was set.
  return s.phase.load(std::memory_order_relaxed) == Phase::exiting;
}

// RP2.
bool all_idle(Sched& s) noexcept {
  LockGuard guard(s.lock);
  // relaxed: under the lock; for a P that its M has lent and takes back without it, behind the fence in sleep_deep() (Y1).
  return s.idle_p_count.load(std::memory_order_relaxed) ==
         s.procs_in_use.load(std::memory_order_relaxed);
}

bool a_p_is_idle(const Sched& s) noexcept {
  return s.idle_p_count.load(std::memory_order_relaxed) != 0;  // relaxed: sysmon looks again soon
}

bool is_held(const P& p) noexcept {
  return p.m.load(std::memory_order_relaxed) != nullptr;  // relaxed: as above
}

// When the next timer is due that no M looks after: the M that took care of timers may have found
// other work, and the P that holds them may be idle or run one fiber for long, or rest (RP4). kNever if somebody
// does.
int64_t orphaned_timer(const Sched& s) noexcept {
  // relaxed: sysmon looks again soon.
  if (s.poll_until_ns.load(std::memory_order_relaxed) != 0) return kNever;
  const bool idle = a_p_is_idle(s);
  int64_t least = kNever;
  for (const P& p : s.all_procs()) {
    if (idle || !is_held(p)) least = std::min(least, p.timers.next_when());
  }
  return least;
}

// RP4: every P in use is busy. True: something was due.
bool fire_for_those_that_rest(Sched& s, int64_t now) noexcept {
  {
    LockGuard guard(s.lock);
    s.sysmon_polls.store(true, std::memory_order_relaxed);  // relaxed: D6, under the lock
  }
  GList woken;
  for (P& p : s.all_procs()) {
    if (is_held(p) || p.timers.next_when() > now) continue;
    p.timers.run(now, [&woken](G* g) { woken.push_back(g); });
  }
  chaos_point(ChaosPoint::sysmon_polled);
  const bool found = !woken.empty();
  ready_list_timely(woken);
  s.sysmon_polls.store(
      false, std::memory_order_relaxed);  // relaxed: D6, they are queued, under Sched::lock
  return found;
}

// An M that looks for work runs every P's expired timers, and sleeps as the poller.
Seen look_after_timers(Sched& s, int64_t now) noexcept {
  if (const int64_t due = orphaned_timer(s); due > now) {
    if (due == kNever || !all_idle(s)) return Seen::all_moves;
    wake_if_idle();  // a foreign thread has armed it while all were asleep: somebody becomes the poller
    return Seen::passed_over;
  }
  if (!a_p_is_idle(s)) return fire_for_those_that_rest(s, now) ? Seen::soon : Seen::all_moves;
  wake_if_idle();
  return Seen::passed_over;
}

// I8: something is left to do although all Ps are idle: no M was to be had.
bool unattended(Sched& s) noexcept {
  if (s.globq_size() != 0) return true;
  for (const P& p : s.all_procs()) {
    if (holds_fibers(p)) return true;
  }
  return orphaned_timer(s) != kNever ||
         // relaxed: as in orphaned_timer().
         (netpoll_wanted() && s.poll_until_ns.load(std::memory_order_relaxed) == 0);
}

// Descriptors are wanted, and no M sleeps in the kernel for them.
bool nobody_polls(Sched& s) noexcept {
  // relaxed: sysmon looks again soon.
  return netpoll_wanted() && s.poll_until_ns.load(std::memory_order_relaxed) == 0;
}

bool poll_network(Sched& s, int64_t now, int64_t gap_ns) noexcept {
  if (!nobody_polls(s) || now - netpoll_last_ns() < gap_ns) return false;
  GList woken;
  s.sysmon_polls.store(
      true, std::memory_order_relaxed);  // relaxed: D6, known with the first that it takes out
  netpoll(0, now, woken);
  chaos_point(ChaosPoint::sysmon_polled);
  const bool found = !woken.empty();
  ready_list_timely(woken);
  s.sysmon_polls.store(
      false, std::memory_order_relaxed);  // relaxed: D6, they are queued, under Sched::lock
  return found;
}

// RP6.
void follow(Pace& w, int64_t now) noexcept {
  if (now - w.procs_at_ns < kProcsEveryNs) return;
  follow_machine();
  w.procs_at_ns = now;
}

// The program may have installed handlers since.
void check_signals(Sched& s, Pace& w, int64_t now) noexcept {
  if (s.check_signals == nullptr || now - w.signals_at_ns < kSignalsEveryNs) return;
  w.signals_at_ns = now;
  s.check_signals();
}

void scavenge(Pace& w, int64_t now) noexcept {
  if (now - w.scavenged_at_ns < kScavengeEveryNs) return;
  w.scavenged_at_ns = now;
  scavenge_stacks(kWarmMax);
}

// Sleeps for good or, if it is not 0, for `most_ns`; while foreign threads keep a suspected deadlock open, a second at a
// time.
void sleep_deep(Sched& s, int64_t most_ns) noexcept {
  for (;;) {
    // relaxed: the fence follows. At every turn: who ended the last sleep has taken the flag back.
    s.sysmon_asleep.store(true, std::memory_order_relaxed);
    Mem::fence(std::memory_order_seq_cst);  // seq_cst: Y1, Y2
    chaos_point(ChaosPoint::sysmon_falling_asleep);
    if (Mem::recheck(!all_idle(s))) break;
    if (Mem::recheck(unattended(s))) break;  // I8
    if (Mem::recheck(exiting(s))) break;
    const bool suspect = deadlock_suspected();
    if (!suspect) {
      if (most_ns == 0) {
        s.sysmon_note.sleep();
      } else if (!s.sysmon_note.sleep_for(most_ns)) {
        break;
      }
    } else if (!s.sysmon_note.sleep_for(kForeignLookNs)) {
      check_deadlock();
    }
  }
  s.sysmon_asleep.store(false, std::memory_order_relaxed);  // relaxed: at worst it is woken in vain
}

// Everything that somebody may be waiting for.
Seen look_around(Sched& s, Watch& w, int64_t now) noexcept {
  const Seen timers = look_after_timers(s, now);
  Seen seen = std::max(timers, look(s, w, now));
  const int64_t gap_ns = seen == Seen::all_moves ? kPollGapNs : kPollGapLongTurnNs;
  const bool polled = poll_network(s, now, gap_ns);
  if (polled) seen = Seen::soon;
  if (s.tick_ns != 0 && !a_p_is_idle(s) && s.timely_size() != 0) {
    const bool just_queued = polled || timers == Seen::soon;
    seen =
        std::max(seen, kick_longest(s, w, just_queued ? Timely::just_queued : Timely::waits, now));
  }
  return seen;
}

int64_t next_sleep(Sched& s, const Watch& w, Seen seen, int64_t now, int64_t last_ns) noexcept {
  int64_t sleep_ns = seen == Seen::soon          ? kSoonNs
                     : seen == Seen::passed_over ? kMinNs
                                                 : std::min(2 * last_ns, kMaxNs);
  int64_t due = orphaned_timer(s);
  if (seen != Seen::all_moves) {
    due = std::min(due, next_late_timer(s, w));
    if (nobody_polls(s)) sleep_ns = std::min(sleep_ns, kPollGapLongTurnNs);
  }
  if (s.tick_source == os::TickSource::watchman) sleep_ns = std::min(sleep_ns, s.tick_ns);
  return due == kNever ? sleep_ns
                       : std::clamp(due - now, kTimerMinNs, std::max(sleep_ns, kTimerMinNs));
}

void sysmon_main(void*) noexcept {
  Sched& s = sched();
  os::minitHouse(s.sysmon_os);
  Watch watch;
  Pace pace;
  int64_t sleep_ns = kSoonNs;
  while (!exiting(s)) {
    (void)s.sysmon_note.sleep_for(sleep_ns);
    const int64_t now = os::nanotime();
    const Seen seen = look_around(s, watch, now);
    sleep_ns = next_sleep(s, watch, seen, now, sleep_ns);
    scavenge(pace, now);
    check_signals(s, pace, now);
    follow(pace, now);
    const bool more_to_retire = retire_spares(now);
    if (s.schedtrace_ns != 0 && now - pace.traced_at_ns >= s.schedtrace_ns) {
      pace.traced_at_ns = now;
      print_schedtrace();
    }
    if (!all_idle(s) || unattended(s)) {
      pace.idle_since_ns = now;
    } else if (now - pace.idle_since_ns > kDeepAfterNs && warm_stacks() <= kWarmMax) {
      sleep_deep(s, more_to_retire ? kRetireLookNs : s.schedtrace_ns);
      sleep_ns = kSoonNs;
      pace.idle_since_ns = os::nanotime();
    }
  }
}

}  // namespace

int start_sysmon() noexcept {
  return os::newosproc0(sched().sysmon_os, kStackBytes, sysmon_main, nullptr);
}

void stop_sysmon() noexcept {
  wake_sysmon_to_exit();
  os::mdestroy(sched().sysmon_os);
}

void wake_sysmon() noexcept {
  Sched& s = sched();
  // seq_cst: Y1, modelled in SparesModel.
  if (s.sysmon_asleep.load(std::memory_order_seq_cst)) {
    // relaxed: spares others the wake-up, which follows.
    s.sysmon_asleep.store(false, std::memory_order_relaxed);
    s.sysmon_note.wake();
  }
}

void wake_sysmon_to_exit() noexcept {
  sched().sysmon_note.wake();
}

}  // namespace gort
