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

// Takes down what the P is at. True: the same fiber as at the last look, or one that was interrupted before.
bool same_fiber(const P& p, ProcWatch& seen, int64_t now_ns) noexcept {
  const uint64_t turns = p.turns();
  const bool same = turns == seen.turns;
  if (!same) {
    seen.turns = turns;
    seen.since_ns = now_ns;
    seen.asleep = false;
    seen.slept = false;
    seen.looked_at_ns = 0;
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

// What share of the time since the last look at this turn the thread has had a processor.
enum class Share : uint8_t { unknown, none, some, most };
Share share_of_time(int tid, ProcWatch& seen, int64_t now_ns) noexcept {
  const int64_t cpu_ns = os::thread_cpu_ns(tid);
  const int64_t used_ns = cpu_ns - std::exchange(seen.cpu_ns, cpu_ns);
  const int64_t at_ns = std::exchange(seen.looked_at_ns, now_ns);
  if (at_ns == 0) return Share::unknown;
  if (used_ns == 0) return Share::none;
  return 2 * used_ns >= now_ns - at_ns ? Share::most : Share::some;
}

// Whether it waits in the kernel now. Without /proc: whether it has used no processor time since the last look.
bool is_asleep(int tid, Share share) noexcept {
  const char state = os::thread_state(tid);
  return state != '\0' ? state != 'R' : share == Share::none;
}

// WA2, for a thread that has not had most of the time. Takes down whether it is asleep.
ThreadSeen look_closer(int tid, ProcWatch& seen, Share share, int64_t now_ns) noexcept {
  const bool before = std::exchange(seen.asleep, is_asleep(tid, share));
  seen.slept = seen.slept || seen.asleep;
  if (seen.slept && now_ns - seen.since_ns >= kNowAndThenNs) return ThreadSeen::blocked;
  if (!seen.asleep) return ThreadSeen::pauses;
  return before ? ThreadSeen::blocked : ThreadSeen::sleeps;
}

// WA2. Takes down what it sees; a second time at the same moment it is that.
ThreadSeen look_at_thread(const P& p, ProcWatch& seen, int64_t now_ns) noexcept {
  const int tid = holder(p);
  if (tid == 0) return ThreadSeen::gone;
  if (seen.looked_at_ns == now_ns) return seen.thread;
  const Share share = share_of_time(tid, seen, now_ns);
  if (share == Share::most) {
    seen.asleep = false;
    seen.thread = ThreadSeen::runs;
  } else {
    seen.thread = look_closer(tid, seen, share, now_ns);
  }
  return seen.thread;
}

// WA3.
void ask_to_yield(const P& p, const ProcWatch& seen, int64_t now_ns) noexcept {
  if (now_ns - seen.since_ns < kWakeRunNs) return;
  // acquire: pairs with hold() in idle_list.cpp. unmodelled: as there.
  M* const m = p.m.load(std::memory_order_acquire);
  // relaxed: a wish.
  if (m != nullptr) m->yield_wanted.store(true, std::memory_order_relaxed);
}

enum class Due : uint8_t { others_wait, time_has_come };

// WA1: others wait for this P. How soon to look again.
Seen examine(Sched& s, P& p, ProcWatch& seen, Due due, int64_t now_ns) noexcept {
  const ThreadSeen thread = look_at_thread(p, seen, now_ns);
  switch (thread) {
    case ThreadSeen::gone:
      return Seen::all_moves;
    case ThreadSeen::blocked:
      (void)retake(&p, seen.turns);
      return Seen::soon;
    case ThreadSeen::sleeps:
      return Seen::soon;
    case ThreadSeen::pauses:
    case ThreadSeen::runs:
      break;
  }
  const int64_t limit = due == Due::time_has_come ? kWakeRunNs : patience_ns(s);
  if (now_ns - seen.since_ns >= limit && kick(&p, seen.turns)) return Seen::soon;
  return thread == ThreadSeen::pauses ? Seen::pauses : Seen::all_moves;
}

// Nobody waits for this P; but with it, all are idle, perhaps, and sysmon may sleep.
void take_from_blocked(P& p, ProcWatch& seen, int64_t now_ns) noexcept {
  if (look_at_thread(p, seen, now_ns) == ThreadSeen::blocked) (void)retake(&p, seen.turns);
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
    const bool due = p.timers.next_when() <= now_ns;
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
    if (wanted || due) ask_to_yield(p, of, now_ns);
    if (s.tick_ns == 0) continue;
    // relaxed: a look.
    if (p.m.load(std::memory_order_relaxed) != nullptr) seen = std::max(seen, Seen::long_turn);
    if (!wanted && !due) {
      if (now_ns - of.since_ns >= kBlockedAloneNs) take_from_blocked(p, of, now_ns);
      continue;
    }
    seen = std::max(seen, examine(s, p, of, due ? Due::time_has_come : Due::others_wait, now_ns));
  }
  return seen;
}

void kick_longest(Sched& s, Watch& w, int64_t now_ns) noexcept {
  P* longest = nullptr;
  int64_t since_ns = now_ns - kWakeRunNs;
  for (P& p : s.all_procs()) {
    const ProcWatch& seen = w.procs[p.id];
    if (seen.turns != p.turns() || seen.since_ns > since_ns) continue;
    since_ns = seen.since_ns;
    longest = &p;
  }
  if (longest == nullptr) return;
  ProcWatch& seen = w.procs[longest->id];
  (void)examine(s, *longest, seen, Due::time_has_come, now_ns);
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
