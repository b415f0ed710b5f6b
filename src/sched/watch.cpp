#include "sched/watch.hpp"

#include <algorithm>
#include <utility>

#include "base/mem.hpp"
#include "sched/idle.hpp"
#include "sched/preempt.hpp"

namespace gort {
namespace {

// What a fiber gets at least before it gives way to one whose time has come: a handful of times what giving way costs.
constexpr int64_t kWakeRunNs = 200'000;
// Who has kept his P for so long while others wait, and is found asleep, sleeps often.
constexpr int64_t kNowAndThenNs = 1'000'000;
// As long as Go waits before it takes a P that nobody wants from a thread in a system call.
constexpr int64_t kBlockedAloneNs = 10'000'000;
// Slices behind which ticks do not come: the thread has no timer, or SIGURG is blocked there (then this does not help either).
constexpr int64_t kNoTicksSlices = 3;
// From sysmon's next look to about a slice.
constexpr int64_t kKickGapMinNs = 100'000;
constexpr int64_t kKickGapMaxNs = 10'000'000;

// Takes down what the P is at. True: the same fiber as at the last look, or one that was interrupted before.
bool same_fiber(const P& p, ProcWatch& seen, int64_t now_ns) noexcept {
  const uint64_t turns = p.turns();
  const bool same = turns == seen.turns;
  if (!same) {
    seen.turns = turns;
    seen.since_ns = now_ns;
    seen.asleep = false;
    seen.next_kick_ns = 0;
    seen.kick_gap_ns = 0;
  }
  // relaxed, both: a look.
  if (p.long_turns.load(std::memory_order_relaxed) != turns) return same;
  seen.since_ns = std::min(seen.since_ns, p.long_since_ns.load(std::memory_order_relaxed));
  return true;
}

// How long a fiber may go on while others wait. Its own ticks see to the slices, where it has any.
int64_t patience_ns(const Sched& s) noexcept {
  const int64_t slice_ns = 2 * s.tick_ns;
  return s.tick_source == os::TickSource::watchman ? slice_ns : kNoTicksSlices * slice_ns;
}

// The thread of who holds the P; 0: there is none.
int holder(const P& p) noexcept {
  // acquire: pairs with hold() in idle_list.cpp. unmodelled: as there.
  const M* const m = p.m.load(std::memory_order_acquire);
  // relaxed: a number; 0 for one that has just begun.
  return m != nullptr ? m->os.tid.load(std::memory_order_relaxed) : 0;
}

// WA2. What the thread's clock says, which costs a tenth of what the kernel takes to say what a thread does.
enum class Clock : uint8_t {
  stands,  // since the last look
  goes,    // but the thread may be asleep
  computes,  // since the last look, or since its fiber was interrupted last, but for an eighth of the time
};
Clock look_at_clock(const P& p, int tid, ProcWatch& seen, int64_t now_ns) noexcept {
  const int64_t cpu_ns = os::thread_cpu_ns(tid);
  const bool known = seen.clock_tid == tid;
  const auto computes_since = [&](int64_t then_cpu_ns, int64_t then_ns) {
    return now_ns > then_ns && cpu_ns - then_cpu_ns >= (now_ns - then_ns) / 8 * 7;
  };
  // relaxed: a look.
  const bool interrupted = p.long_turns.load(std::memory_order_relaxed) == seen.turns;
  // relaxed, both: likewise.
  const int64_t long_cpu_ns = p.long_cpu_ns.load(std::memory_order_relaxed);
  const int64_t long_since_ns = p.long_since_ns.load(std::memory_order_relaxed);
  Clock clock = known && seen.cpu_ns == cpu_ns ? Clock::stands : Clock::goes;
  if ((known && computes_since(seen.cpu_ns, seen.clock_ns)) ||
      (interrupted && computes_since(long_cpu_ns, long_since_ns))) {
    clock = Clock::computes;
  }
  seen.clock_tid = tid;
  seen.cpu_ns = cpu_ns;
  seen.clock_ns = now_ns;
  return clock;
}

// Whether it waits in the kernel now. Without /proc its clock has to say.
bool is_asleep(int tid, Clock clock) noexcept {
  if (clock == Clock::computes) return false;
  const char state = os::thread_state(tid);
  return state != '\0' ? state != 'R' : clock == Clock::stands;
}

// WA2. Takes down what it sees.
enum class Thread : uint8_t { gone, runs, sleeps, blocked };
Thread look_at_thread(const P& p, ProcWatch& seen, int64_t now_ns) noexcept {
  const int tid = holder(p);
  if (tid == 0) return Thread::gone;
  const bool before = seen.asleep;
  seen.asleep = is_asleep(tid, look_at_clock(p, tid, seen, now_ns));
  if (!seen.asleep) return Thread::runs;
  return before || now_ns - seen.since_ns >= kNowAndThenNs ? Thread::blocked : Thread::sleeps;
}

// WA3.
void ask_to_yield(const P& p, const ProcWatch& seen, int64_t now_ns) noexcept {
  if (now_ns - seen.since_ns < kWakeRunNs) return;
  // acquire: pairs with hold() in idle_list.cpp. unmodelled: as there.
  M* const m = p.m.load(std::memory_order_acquire);
  // relaxed: a wish.
  if (m != nullptr) m->yield_wanted.store(true, std::memory_order_relaxed);
}

// PR3: nobody was there to go on with the P when it was to be given away, and now somebody is.
bool heir_has_come(Sched& s, const P& p) noexcept {
  if (!p.lacked_heir.load(std::memory_order_relaxed)) return false;  // relaxed: a look
  LockGuard guard(s.lock);
  return s.idle_m != nullptr || s.poller_m != nullptr;
}

enum class Due : uint8_t { others_wait, time_has_come };

// A kick may come to nothing: it merges with a tick, the thread has SIGURG blocked, no M is there to go on. The more have, the longer
// until the next. True: look again soon.
bool kick_again(P& p, ProcWatch& seen, int64_t now_ns) noexcept {
  if (now_ns >= seen.next_kick_ns) {
    if (!kick(&p, seen.turns)) return false;
    seen.kick_gap_ns = std::clamp(2 * seen.kick_gap_ns, kKickGapMinNs, kKickGapMaxNs);
    seen.next_kick_ns = now_ns + seen.kick_gap_ns;
  }
  return seen.kick_gap_ns < kKickGapMaxNs;
}

// WA1: others wait for this P. True: look again soon.
bool examine(Sched& s, P& p, ProcWatch& seen, Due due, int64_t now_ns) noexcept {
  switch (look_at_thread(p, seen, now_ns)) {
    case Thread::gone:
      return false;
    case Thread::blocked:
      (void)retake(&p, seen.turns);
      return true;
    case Thread::sleeps:
      return true;
    case Thread::runs:
      break;
  }
  const int64_t limit = due == Due::time_has_come ? kWakeRunNs : patience_ns(s);
  if (now_ns - seen.since_ns < limit) return false;
  return kick_again(p, seen, now_ns);
}

// Nobody waits for this P; but with it, all are idle, perhaps, and sysmon may sleep.
void take_from_blocked(P& p, ProcWatch& seen, int64_t now_ns) noexcept {
  if (look_at_thread(p, seen, now_ns) == Thread::blocked) (void)retake(&p, seen.turns);
}

}  // namespace

Seen look(Sched& s, Watch& w, int64_t now_ns) noexcept {
  Seen seen = Seen::all_moves;
  const bool global = s.globq_size() != 0;
  if (global) wake_if_idle();
  // relaxed: a look.
  const int limit = s.procs_limit.load(std::memory_order_relaxed);
  for (P& p : s.all_procs()) {
    ProcWatch& of = w.procs[p.id];
    const bool same = same_fiber(p, of, now_ns);
    const bool waiting = holds_fibers(p);
    const bool wanted = waiting || global || p.id >= limit;  // RP1: it is to rest
    const bool due = p.timers.next_when() <= now_ns || ((waiting || global) && heir_has_come(s, p));
    if (!same) {
      if (s.tick_ns != 0 && wanted) (void)look_at_thread(p, of, now_ns);
      continue;
    }
    if (waiting) {
      wake_if_idle();  // I4, I8
      // relaxed: a look.
      if (s.idle_p_count.load(std::memory_order_relaxed) != 0) {
        seen = std::max(seen, Seen::passed_over);
      }
    }
    // relaxed: a look.
    if (wanted && p.lacked_heir.load(std::memory_order_relaxed)) {
      seen = std::max(seen, Seen::passed_over);
    }
    if (wanted || due) ask_to_yield(p, of, now_ns);
    if (s.tick_ns == 0) continue;
    // relaxed: a look.
    if (p.m.load(std::memory_order_relaxed) != nullptr) seen = std::max(seen, Seen::long_turn);
    if (!wanted && !due) {
      if (now_ns - of.since_ns >= kBlockedAloneNs) take_from_blocked(p, of, now_ns);
      continue;
    }
    if (examine(s, p, of, due ? Due::time_has_come : Due::others_wait, now_ns)) {
      seen = Seen::soon;
    }
  }
  return seen;
}

Seen kick_longest(Sched& s, Watch& w, Timely what, int64_t now_ns) noexcept {
  {
    LockGuard guard(s.lock);
    const uint64_t before = std::exchange(w.taken, s.globq.taken());
    if (before != w.taken && what == Timely::waits) return Seen::all_moves;  // somebody came
  }
  P* longest = nullptr;
  int64_t since_ns = now_ns - (what == Timely::just_queued ? kWakeRunNs : kNowAndThenNs);
  for (P& p : s.all_procs()) {
    const ProcWatch& seen = w.procs[p.id];
    // relaxed: a look. One that rests has not moved for longest.
    if (p.m.load(std::memory_order_relaxed) == nullptr) continue;
    if (seen.turns != p.turns() || seen.since_ns > since_ns) continue;
    since_ns = seen.since_ns;
    longest = &p;
  }
  if (longest == nullptr) return Seen::passed_over;
  ProcWatch& seen = w.procs[longest->id];
  return examine(s, *longest, seen, Due::time_has_come, now_ns) ? Seen::soon : Seen::passed_over;
}

int64_t next_late_timer(Sched& s, const Watch& w) noexcept {
  int64_t least = kNever;
  for (const P& p : s.all_procs()) {
    const ProcWatch& seen = w.procs[p.id];
    // relaxed: a look.
    if (p.m.load(std::memory_order_relaxed) == nullptr || seen.turns != p.turns()) continue;
    const int64_t when = p.timers.next_when();
    if (when != kNever) least = std::min(least, std::max(when, seen.since_ns + kWakeRunNs));
  }
  return least;
}

}  // namespace gort
