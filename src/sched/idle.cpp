// How Ms sleep, how they are woken, and why no work is left with all of them asleep.
//
// We want as many Ms awake as there is work for, at most one per P; not one more, since a needless
// wake-up costs two system calls and a processor; and no wait for a polling interval. After the Go
// runtime ("Worker thread parking/unparking" in proc.go):
//
//   I1  Submit: make the work visible (queue), seq_cst fence, then look at spinning and
//       idle_p_count. If a P is idle and nobody spins, wake one M; it starts spinning.
//   I2  Sleep: give the P back (idle_p_count rises), stop spinning (spinning falls), seq_cst fence,
//       then look at every queue once more. If there is work and a P is idle, go back and spin. I1
//       and I2 are a store-load pair on both sides: the submitter sees the sleeper or the sleeper
//       sees the work.
//   I3  A spinner that finds work wakes another if work is left and it was the last spinner,
//       because submitters have relied on it (stop_spinning_found). So wake-ups go one at a time.
//   I4  A lone fiber made ready into P::next will nearly always be run by the same P in a moment,
//       so waking an M for it is mostly in vain (ping-pong between two fibers would pay a futex
//       wake per message). An M that was woken for one and found nothing raises that P's
//       lonely_limit; a thief that did find something resets it. A fiber passed over this way waits
//       until its P's next scheduling point, or until sysmon sees that P does not move
//       (sysmon.cpp), whichever is first. The same bound holds for a fiber requeued by yield, which
//       needs no fence.
//   I5  An idle M is on exactly one of: the list idle_m (asleep on its note), poller_m (asleep in
//       netpoll). Whoever takes it off, under Sched::lock, gives it a P (or tells it to exit) and
//       wakes it, once. An M that finds work by itself takes itself off under the same lock.
//   I6  While a P is idle and fibers wait for timers or descriptors, one idle M is the poller; while every P
//       is busy, they look themselves (find.cpp), and sysmon does for those that do not come to it. An M
//       that polled for busy Ps would take a processor from them at each event. The poller publishes poll_until_ns, fences, then computes the earliest timer; who adds a timer fences,
//       then looks at poll_until_ns, and breaks the poll if the new timer is earlier (timer.cpp).
//   I7  One M at a time waits in netpoll: a poller that has been taken off the list is still in
//       there, and a second one could eat the break that is meant for the first. Until the first
//       has left, others sleep on their notes; it looks after the timers, or wakes an M that does
//       (stop_spinning_found). What slips through, sysmon sees.
//   I8  When no thread can be made the fibers go on with the Ms there are: the P is given back, with its
//       queue. Attempts that fail take at most a tenth of the time (no_thread_until_ns). Since every M
//       may be inside blocking(), somebody has to try again: sysmon, which stays awake while work or a
//       timer or a descriptor has nobody (unattended() in sysmon.cpp).
//
// Rejected: waking an M for every ready fiber (thrashes); handing the fiber itself to the M (loses
// its place when a P gets free first); all idle Ms in epoll_wait (thundering herd); spinning for
// ever.
#include "sched/idle.hpp"

#include <algorithm>
#include <utility>

#include "base/check.hpp"
#include "base/mem.hpp"
#include "base/pause.hpp"
#include "base/thread_safety.hpp"
#include "sched/chaos.hpp"
#include "sched/deadlock.hpp"
#include "sched/find.hpp"
#include "sched/idle_list.hpp"
#include "sched/loop.hpp"
#include "sched/netpoll_internal.hpp"
#include "sched/park.hpp"
#include "sched/preempt.hpp"
#include "sched/procs.hpp"
#include "sched/spares.hpp"
#include "sched/sysmon.hpp"

namespace gort {
namespace {

// A pair can not be told from one lonely ready before a wake-up was in vain; doubling from 1 to
// this bounds the futex wakes of an endless ping-pong to one in 8192 messages.
constexpr uint32_t kLonelyLimitMax = 8192;
constexpr int kStalePauses = Mem::delays(100);  // as in find.cpp
constexpr unsigned kLonelyWakeOneIn = 8;  // under chaos: an M is woken for one whatever the limit

void fence() noexcept {
  Mem::fence(std::memory_order_seq_cst);  // seq_cst: I1, I2
}

// Wakes an M that was taken off the idle lists. Not under the lock.
void rouse(M* m, MSleep how) noexcept {
  if (how == MSleep::poller) {
    netpoll_break();
  } else {
    m->note.wake();
  }
}

bool any_timer(const Sched& s) noexcept {
  for (const P& p : s.all_procs()) {
    if (p.timers.next_when() != kNever) return true;
  }
  return false;
}

int64_t earliest_timer(const Sched& s) noexcept {
  int64_t least = kNever;
  for (const P& p : s.all_procs()) least = std::min(least, p.timers.next_when());
  return least;
}

bool queued_work(const Sched& s) noexcept {
  if (s.globq_size() != 0) return true;
  for (const P& p : s.all_procs()) {
    if (!p.runq.empty()) return true;
  }
  return false;
}

// I2's second look. A neighbour's P::next counts if it stays for a while (I4).
bool work_left(const Sched& s) noexcept {
  if (queued_work(s)) return true;
  for (const P& p : s.all_procs()) {
    // relaxed: compared only, behind I2's fence.
    const G* g = p.next.load(std::memory_order_relaxed);
    if (g == nullptr) continue;
    const uint64_t turns = p.turns();
    for (int k = 0; k < kStalePauses; ++k) cpu_pause();
    // relaxed: as above.
    if (p.next.load(std::memory_order_relaxed) == g && p.turns() == turns) {
      return true;
    }
  }
  return queued_work(s);
}

// Fibers wait for timers or descriptors and nobody sleeps for them: we may have been the poller.
bool poller_missing(const Sched& s) noexcept {
  // relaxed: sysmon looks again.
  return s.poll_until_ns.load(std::memory_order_relaxed) == 0 && (netpoll_wanted() || any_timer(s));
}

// An M to give a P to, or nullptr. Called under the lock.
M* some_sleeper(const Sched& s) noexcept GORT_REQUIRES(s.lock) {
  return s.idle_m != nullptr ? s.idle_m : s.poller_m;
}

// I8: no M is to be had for this P, but one whose own fiber waits in line (PR1 in preempt.hpp): perhaps in P's own queue, where
// nobody comes by, so that goes to the global one. No other thread may be had before that fiber goes on: it may have been
// interrupted where it holds malloc's lock, which the maker of threads waits for. Unlocks.
void put_back(Sched& s, P* p) noexcept GORT_RELEASE(s.lock) {
  spill(s, p);
  G* const bound = s.globq.take_bound();
  if (bound == nullptr) give_back_p(s, p);
  s.lock.unlock();
  if (bound != nullptr) give_to_bound(p, bound);
}

enum class WakeEnd : uint8_t { done, again };

// No M was to be had to look for work. I3: submitters have relied on it.
WakeEnd after_no_m(Sched& s) noexcept {
  s.spinning.fetch_sub(1, std::memory_order_relaxed);  // relaxed: as in try_wake_one()
  fence();
  // I8, modelled in SysmonModel.
  if (!Mem::recheck(queued_work(s))) return WakeEnd::done;
  wake_sysmon();
  // One that has gone to sleep meanwhile may have done so before the work was there.
  LockGuard guard(s.lock);
  return some_sleeper(s) != nullptr ? WakeEnd::again : WakeEnd::done;
}

WakeEnd try_wake_one(P* lonely) noexcept {
  Sched& s = sched();
  int none = 0;
  // relaxed, as every change of it: it publishes nothing, and the looks behind it, ours and those of
  // I2 and I3, have fences of their own. The winner owns the one wake-up.
  if (!s.spinning.compare_exchange_strong(none, 1, std::memory_order_relaxed,
                                          std::memory_order_relaxed)) {
    return WakeEnd::done;
  }
  chaos_point(ChaosPoint::wake_claimed);
  s.lock.lock();
  // relaxed: under the lock.
  P* p = s.phase.load(std::memory_order_relaxed) == Phase::exiting ? nullptr : pop_idle_p(s);
  if (p == nullptr) {
    // Under the lock: who gives a P back behind it is seen to by who has relied on this spinner. relaxed: as above.
    s.spinning.fetch_sub(1, std::memory_order_relaxed);
    s.lock.unlock();
    return WakeEnd::done;
  }
  M* m = some_sleeper(s);
  if (m == nullptr) {
    s.lock.unlock();
    if (start_m(p, MSearch::spinning)) return WakeEnd::done;
    s.lock.lock();
    m = some_sleeper(s);  // one that has gone to sleep meanwhile
  }
  if (m == nullptr) {
    put_back(s, p);
    return after_no_m(s);
  }
  const MSleep how = m->sleep;
  delist(s, m);
  m->next_p = p;
  m->search = MSearch::spinning;
  m->woken_by = lonely;
  s.lock.unlock();
  chaos_point(ChaosPoint::wake_delisted);
  rouse(m, how);
  return WakeEnd::done;
}

// Wakes one M to look for work; `lonely` names the P whose single ready fiber is the reason, if so.
void wake_one(P* lonely) noexcept {
  while (try_wake_one(lonely) == WakeEnd::again) {
  }
}

// A spinner gives up: I2's "stop spinning", and the lesson of I4. `search` and `woken_by` are what
// the M had before it went on the idle list: from then on its next waker writes them.
void stop_spinning_empty(MSearch search, P* woken_by) noexcept {
  if (search == MSearch::no) return;
  if (P* p = woken_by; p != nullptr) {
    // relaxed: a heuristic; races lose a doubling.
    const uint32_t limit = p->lonely_limit.load(std::memory_order_relaxed);
    p->lonely_limit.store(limit == 0                ? 1
                          : limit < kLonelyLimitMax ? limit * 2
                                                    : limit,
                          std::memory_order_relaxed);
  }
  sched().spinning.fetch_sub(1, std::memory_order_relaxed);  // relaxed: I2's fence comes behind it
}

// Takes the M off the idle lists with a P, unless somebody else already has. True: it holds a P.
bool rise(Sched& s, M* m) noexcept {
  chaos_point(ChaosPoint::idle_work_seen);
  LockGuard guard(s.lock);
  if (m->sleep == MSleep::awake) return false;
  P* p = pop_idle_p(s);
  if (p == nullptr) return false;
  delist(s, m);
  if (s.polling_m == m) s.polling_m = nullptr;
  hold(m, p);
  return true;
}

// Fires what is due in every heap, for a poller: its own P is given back, and owners may be late.
void fire_due(Sched& s, GList& out) noexcept {
  if (earliest_timer(s) == kNever) return;
  const int64_t now = os::nanotime();
  for (P& p : s.all_procs()) {
    if (p.timers.next_when() > now) continue;
    p.timers.run(now, [&out](G* g) { out.push_back(g); });
  }
}

enum class PollEnd : uint8_t { have_p, again, surplus, exit };

// One sleep of the poller (I6) and what follows from it.
PollEnd poll_once(Sched& s, M* m) noexcept {
  GList woken;
  // I6, a store-load pair with timer_add(). First promise the shortest sleep, then look. relaxed: the
  // fence stands in between.
  s.poll_until_ns.store(kNever, std::memory_order_relaxed);
  chaos_point(ChaosPoint::idle_polling);
  fence();
  const int64_t until = earliest_timer(s);
  s.poll_until_ns.store(until, std::memory_order_relaxed);  // relaxed: only spares needless breaks
  int64_t wait_ns = os::kForever;
  if (until != kNever) {
    const int64_t now = os::nanotime();
    wait_ns = until > now ? until - now : 0;
  }
  netpoll(wait_ns, 0, woken);
  chaos_point(ChaosPoint::idle_polled);
  s.poll_until_ns.store(0, std::memory_order_relaxed);  // relaxed: at worst a needless break
  fire_due(s, woken);
  chaos_point(ChaosPoint::idle_poll_over);
  s.lock.lock();
  PollEnd end;
  s.polling_m = nullptr;
  if (m->sleep == MSleep::awake) {  // somebody gave us a P (I5), or told us to exit
    P* p = m->next_p;
    m->next_p = nullptr;
    end = p != nullptr ? PollEnd::have_p : PollEnd::exit;
    if (p != nullptr) hold(m, p);
  } else if (woken.empty()) {
    end = PollEnd::again;
  } else if (P* p = pop_idle_p(s); p != nullptr) {
    delist(s, m);
    hold(m, p);
    end = PollEnd::have_p;
  } else {
    while (G* g = woken.pop_front()) {
      set_state(g, GState::runnable);
      s.globq.push_timely(g);  // F7
    }
    // Every P is busy and will look at the global queue (F1), and after descriptors and timers (I6).
    delist(s, m);
    list_idle_m(s, m);
    end = PollEnd::surplus;
  }
  if (end == PollEnd::again) s.polling_m = m;
  s.lock.unlock();
  if (m->p != nullptr) {
    ready_woken(m->p, woken);
  } else {
    ready_list(woken);
  }
  return end;
}

// The poller goes to sleep like the others if it has nothing to poll for: a deadlock, perhaps.
bool stop_polling(Sched& s, M* m) noexcept {
  if (netpoll_wanted() || any_timer(s)) return false;
  chaos_point(ChaosPoint::idle_poll_over);
  LockGuard guard(s.lock);
  // Looked at under the lock, too: who adds a timer from now on becomes the poller, or finds us.
  if (m->sleep == MSleep::awake || Mem::recheck(netpoll_wanted() || any_timer(s))) return false;
  delist(s, m);
  s.polling_m = nullptr;
  list_idle_m(s, m);
  return true;
}

IdleEnd sleep_on_note(M* m) noexcept {
  m->note.sleep();
  os::settle_place(m->os.place);
  P* p = m->next_p;
  m->next_p = nullptr;
  if (p == nullptr) {
    // One that retires (SP2) may have seen work in I2's look that it can not take any more. unmodelled: it must have spun
    // on another P, and no model has as many Ms.
    if (Mem::recheck(queued_work(sched()))) wake_if_idle();
    return IdleEnd::exit;
  }
  hold(m, p);
  return IdleEnd::look;
}

}  // namespace

IdleEnd idle(M* m) noexcept {
  Sched& s = sched();
  s.lock.lock();
  // X1 in exit.cpp, modelled in ExitModel. relaxed: under the lock.
  if (Mem::recheck(s.phase.load(std::memory_order_relaxed) == Phase::exiting)) {
    if (P* p = m->p; p != nullptr) {
      m->p = nullptr;
      give_back_p(s, p);
    }
    s.lock.unlock();
    return IdleEnd::exit;
  }
  if (P* p = m->p; p != nullptr) {
    if (G* g = s.globq.pop(); g != nullptr) {
      s.lock.unlock();
      push_queue(p, g);
      return IdleEnd::look;
    }
    m->p = nullptr;
    give_back_p(s, p);
  }
  const bool is_new = std::exchange(m->is_new_spare, false);
  if (is_new) s.spare_m_coming = false;
  const MSearch search = std::exchange(m->search, MSearch::no);
  P* const woken_by = std::exchange(m->woken_by, nullptr);
  // relaxed: under the lock.
  if (s.polling_m == nullptr && s.idle_p_count.load(std::memory_order_relaxed) != 0 &&
      (netpoll_wanted() || any_timer(s))) {
    m->sleep = MSleep::poller;
    s.poller_m = m;
    s.polling_m = m;
  } else {
    list_idle_m(s, m);
  }
  const MSleep how = m->sleep;
  // relaxed: as in request_spares().
  const bool more = is_new && idle_ms(s) < s.spares_wanted.load(std::memory_order_relaxed);
  s.lock.unlock();
  if (more) request_spare();  // SP1
  chaos_point(ChaosPoint::idle_gave_p);
  stop_spinning_empty(search, woken_by);
  chaos_point(ChaosPoint::idle_stopped_spinning);
  fence();  // I2
  // relaxed: behind the fence.
  const bool idle_p = s.idle_p_count.load(std::memory_order_relaxed) != 0;
  if (idle_p && Mem::recheck(work_left(s)) && rise(s, m)) {
    start_spinning(m);
    return IdleEnd::look;
  }
  if (how == MSleep::poller) {
    PollEnd end;
    do {
      end = poll_once(s, m);
      if (end == PollEnd::exit) return IdleEnd::exit;
      if (end == PollEnd::have_p) return IdleEnd::look;
    } while (end == PollEnd::again && !stop_polling(s, m));
  }
  chaos_point(ChaosPoint::idle_sleeping);
  check_deadlock();
  return sleep_on_note(m);
}

bool work_waits(const Sched& s) noexcept {
  return queued_work(s) || poller_missing(s);
}

void wake_if_idle() noexcept {
  Sched& s = sched();
  // relaxed: the caller's fence orders them behind the work (I1).
  if (s.idle_p_count.load(std::memory_order_relaxed) != 0 &&
      s.spinning.load(std::memory_order_relaxed) == 0) {
    wake_one(nullptr);
  }
}

void wake_if_idle_lonely(P* p) noexcept {
  Sched& s = sched();
  // seq_cst, both: I1, behind the caller's seq_cst exchange of P::next. An exchange is no fence: a
  // relaxed load may come before its store (on aarch64 it does). modelled in IdleModel.
  if (s.idle_p_count.load(std::memory_order_seq_cst) == 0 ||
      s.spinning.load(std::memory_order_seq_cst) != 0) {  // modelled in IdleModel
    return;
  }
  // relaxed: heuristic
  if (p->lonely_count < p->lonely_limit.load(std::memory_order_relaxed) &&
      !chaos_one_in(kLonelyWakeOneIn)) {
    ++p->lonely_count;
    return;
  }
  p->lonely_count = 0;
  wake_one(p);
}

void wake_all_idle() noexcept {
  Sched& s = sched();
  M* list;
  M* poller;
  {
    LockGuard guard(s.lock);
    list = s.idle_m;
    poller = s.poller_m;
    for (M* m = list; m != nullptr; m = m->idle_next) m->sleep = MSleep::awake;
    s.idle_m = nullptr;
    s.idle_m_count = 0;
    if (poller != nullptr) poller->sleep = MSleep::awake;
    s.poller_m = nullptr;
  }
  while (list != nullptr) {
    M* next = list->idle_next;  // the M may be gone once woken
    list->note.wake();
    list = next;
  }
  if (poller != nullptr) netpoll_break();
}

void start_spinning(M* m) noexcept {
  m->search = MSearch::spinning;
  sched().spinning.fetch_add(1, std::memory_order_relaxed);  // relaxed: as in wake_one()
}

void stop_spinning_found(M* m) noexcept {
  if (m->search == MSearch::no) return;
  m->search = MSearch::no;
  m->woken_by = nullptr;
  chaos_point(ChaosPoint::spin_found);
  Sched& s = sched();
  // I3: a submitter that saw us spin did not wake anybody. relaxed: the fence comes behind it.
  if (s.spinning.fetch_sub(1, std::memory_order_relaxed) == 1) {
    fence();
    // modelled in IdleModel.
    if (Mem::recheck(work_waits(s))) wake_if_idle();
  }
}

P* try_take_idle_p(M* m) noexcept {
  Sched& s = sched();
  LockGuard guard(s.lock);
  P* p = pop_idle_p(s);
  if (p != nullptr) hold(m, p);
  return p;
}

bool lend_p(M* m) noexcept {
  Sched& s = sched();
  P* const p = m->p;
  if (procs_changed(s, *p)) return false;  // RP3: it is to rest, perhaps
  // relaxed: P is ours; of the others, I2 comes behind.
  if (p->next.load(std::memory_order_relaxed) != nullptr || !p->runq.empty() ||
      s.globq_size() != 0 || p->timers.next_when() != kNever ||
      (netpoll_wanted() && s.poll_until_ns.load(std::memory_order_relaxed) == 0)) {
    return false;
  }
  // release: PR7. unmodelled: the count's order does the same, unless the taker came for another P that is lent.
  m->retake.store(Retake::lent, std::memory_order_release);
  // release: pairs with pop_idle_p(). modelled in SparesModel.
  s.idle_p_count.fetch_add(1, std::memory_order_release);
  chaos_point(ChaosPoint::hand_off_given);
  fence();  // I2
  // modelled in IdleModel.
  if (Mem::recheck(queued_work(s))) wake_if_idle();
  return true;
}

bool end_lending(M* m) noexcept {
  Retake lent = Retake::lent;
  // relaxed, both: nobody has done anything with the P, or settle_retake() takes the lock.
  if (!m->retake.compare_exchange_strong(lent, Retake::no, std::memory_order_relaxed,
                                         std::memory_order_relaxed)) {
    return false;
  }
  // seq_cst: Y1. modelled in SparesModel.
  sched().idle_p_count.fetch_sub(1, std::memory_order_seq_cst);
  wake_sysmon();
  return true;
}

void hand_off_p(M* m) noexcept {
  P* const p = m->p;
  m->p = nullptr;
  hand_over_p(p);
}

void hand_over_p(P* p) noexcept {
  Sched& s = sched();
  p->m.store(nullptr, std::memory_order_relaxed);  // relaxed: a hint (PR5)
  // relaxed: P is ours until it is given away.
  const bool work = p->next.load(std::memory_order_relaxed) != nullptr || !p->runq.empty();
  chaos_point(ChaosPoint::hand_off_begun);
  s.lock.lock();
  // relaxed: under the lock.
  const bool serve = p->id < s.procs_limit.load(std::memory_order_relaxed) &&
                     (work || s.globq_size() != 0 ||
                      (s.poller_m == nullptr && (netpoll_wanted() || any_timer(s))));
  // relaxed: under the lock.
  if (!serve || s.phase.load(std::memory_order_relaxed) == Phase::exiting) {
    give_back_p(s, p);
    s.lock.unlock();
    chaos_point(ChaosPoint::hand_off_given);
    fence();  // I2
    // modelled in SparesModel.
    if (Mem::recheck(queued_work(s))) wake_if_idle();
    return;
  }
  s.handoffs.add();
  M* other = some_sleeper(s);
  if (other == nullptr) {
    s.lock.unlock();
    if (start_m(p, MSearch::no)) return;
    s.lock.lock();
    other = some_sleeper(s);  // one that has gone to sleep meanwhile
  }
  if (other == nullptr) {
    put_back(s, p);
    return;
  }
  const MSleep how = other->sleep;
  delist(s, other);
  other->next_p = p;
  other->search = MSearch::no;
  s.lock.unlock();
  chaos_point(ChaosPoint::hand_off_given);
  rouse(other, how);
}

}  // namespace gort
