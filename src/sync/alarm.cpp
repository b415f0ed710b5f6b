// The protocol of a program's timers. A tick is delivered by whoever runs the heap in which the timer was (find.cpp,
// idle.cpp, preempt.cpp): in a region, perhaps in a handler, perhaps without a P. Nothing there may allocate or free, and
// under the heap's lock nobody may take a channel's, because a receiver with a time limit takes the heap's under that
// (park.cpp). So fire() only marks the alarm, and finish(), behind the heap's lock, delivers (T5 in timerheap.hpp). In
// between, a stop may come; after Go 1.23 nothing of what it has found may be received later:
//
//   AL1  `due` is set by fire(), under the heap's lock. It is cleared under alarm::lock, by who delivers the tick or
//        discards it. stop and reset hold that lock, take the timer out of its heap, clear `due` and empty the
//        channel, before they arm anew. So once they return, every tick of before has been received, or never will be; and
//        they return true exactly if one that was to come never will. A finish() that comes late finds the alarm not due,
//        or due by a later arming, whose tick it then delivers, a little earlier than that one's own finish().
//   AL2  fire() raises `pins`, under the heap's lock; lowering it is the last access of finish(). Who frees an alarm has
//        taken it out of its heap, which nobody arms any more, and then waits for pins to be 0. So memory is freed by those
//        who let go of handles, outside of regions, and never where a timer fires.
//   AL3  A function's alarm counts its handles, and one reference more from its arming until it is at rest: that one
//        goes to the fiber that runs the function; or is dropped by a stop that was in time, by the end of the runtime
//        (TimerOps::orphan). A channel's alarm ends with the last handle of the channel (ChanCompanion), armed or not.
//   AL4  Where no stack is to be had, the function's alarm is armed again, kRetryNs later. Where the runtime has
//        seen its last fiber, too: there it is not fired any more, and its end comes with the heap's.
//   AL5  A ticker that runs is in a heap, also when its first beat is due before it is armed: reset delivers that one, as it
//        does for all that are due, and arms the next.
//
// Rejected: a number per arming, carried from fire() to finish() (two of a ticker's may be under way, and each needs its
// place; a mark that whoever comes first takes needs none); a fiber that sends all ticks (a switch more for each, and it is
// late when it is busy); a reference for the time from fire() to finish() (the last one may be dropped there, where nothing
// can be freed); timers that only stand in a heap while somebody waits for their channel, as in Go (there, that is how those
// that nobody refers to are collected; here they end with their handles).
#include "sync/alarm.hpp"

#include <algorithm>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>

#include "base/mem.hpp"
#include "base/thread_safety.hpp"
#include "os/os.hpp"
#include "sched/current.hpp"
#include "sched/park.hpp"
#include "sched/region.hpp"
#include "sched/sched.hpp"
#include "sched/spawn.hpp"
#include "sched/timer.hpp"

namespace gort::detail {
namespace {

using TimePoint = std::chrono::steady_clock::time_point;

// Of a fiber that could not be made: much longer than the attempt took, and soon to a person.
constexpr int64_t kRetryNs = 1'000'000;
// Ms keep the runtime alive, and need not say that they are there (U1 in sched.hpp). Others look once: a door that closes
// behind them does not change what they found.
class Presence {
 public:
  Presence() noexcept {
    if (current_m() != nullptr) return;
    visit_.emplace();
    runtime_lives_ = runtime_alive();
  }
  [[nodiscard]] bool runtime_lives() const noexcept { return runtime_lives_; }

 private:
  std::optional<Visitor> visit_;
  bool runtime_lives_ = true;
};

// AL2, on the thread that frees it.
void await_finish(const alarm* a) noexcept {
  if (after_fork) return;  // FK1: whoever has fired it is not there
  // acquire: pairs with the release in finish_alarm(), which is a few hundred instructions away.
  while (Mem::recheck(a->pins.load(std::memory_order_acquire) != 0)) os::osyield();
}

// The next beat behind now that is a whole number of periods from the last.
int64_t next_beat(int64_t when_ns, int64_t period_ns) noexcept {
  const int64_t late_ns = std::max(int64_t{0}, os::nanotime() - when_ns);
  int64_t next;
  if (__builtin_add_overflow(when_ns, period_ns * (1 + late_ns / period_ns), &next)) return kNever;
  return next;
}

G* fire_alarm(Timer* t) noexcept {
  auto* a = static_cast<alarm*>(t->arg);
  // relaxed, both: under the heap's lock (AL1, AL2), which who stops the timer takes behind us.
  a->pins.fetch_add(1, std::memory_order_relaxed);
  a->due.store(true, std::memory_order_relaxed);
  if (a->period_ns != 0) {
    t->when_ns = next_beat(t->when_ns, a->period_ns);
    t->again = true;
  }
  return nullptr;
}

G* send_tick(alarm* a) noexcept {
  const LockGuard guard(a->lock);
  // relaxed, both: what fire() has marked on this thread, or somebody else's mark, which has its own finish() (AL1).
  if (!Mem::recheck(a->due.load(std::memory_order_relaxed))) return nullptr;
  a->due.store(false, std::memory_order_relaxed);  // relaxed: as above
  TimePoint now{std::chrono::nanoseconds(os::nanotime())};
  return chan_offer(a->channel, &now);
}

G* deliver_tick(alarm* a) noexcept {
  G* g = send_tick(a);
  if (g == nullptr || g->kind == GKind::fiber) return g;
  ready(g);  // a thread; who runs the heap knows of fibers alone
  return nullptr;
}

void arm(alarm* a, int64_t when_ns) noexcept GORT_REQUIRES(a->lock) {
  a->timer.when_ns = when_ns;
  timer_add(timer_home(), &a->timer);
}

void drop_func(alarm* a) noexcept {
  // acq_rel: the last one sees all that the others did (AL3).
  if (a->refs.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  Region in;
  await_finish(a);
  in.leave();
  a->destroy(a->room);
  func_alarm_abandon(a);
}

// The fiber's function. The reference is the fiber's (AL3).
void run_func(void* payload) {
  auto* a = *static_cast<alarm**>(payload);
  a->call(a->room);
  drop_func(a);
}

G* deliver_call(alarm* a) noexcept {
  G* g = timed_fiber_create(a);  // it may take locks that come before ours
  uint64_t parent_id = 0;
  bool stopped;
  {
    const LockGuard guard(a->lock);
    // relaxed, both: as in send_tick().
    stopped = !Mem::recheck(a->due.load(std::memory_order_relaxed));
    if (!stopped) {
      a->due.store(false, std::memory_order_relaxed);  // relaxed: as above
      parent_id = a->parent_id;
      if (g == nullptr) arm(a, os::nanotime() + kRetryNs);  // AL4
    }
  }
  if (g == nullptr) return nullptr;
  if (stopped) {
    timed_fiber_abandon(g);
    return nullptr;
  }
  timed_fiber_launch(g, run_func, parent_id);
  return g;
}

G* deliver(alarm* a) noexcept {
  return a->channel != nullptr ? deliver_tick(a) : deliver_call(a);
}

G* finish_alarm(Timer* t) noexcept {
  auto* a = static_cast<alarm*>(t->arg);
  G* g = deliver(a);
  // release: AL2, our last access.
  a->pins.fetch_sub(1, std::memory_order_release);
  return g;
}

void orphan_func(Timer* t) noexcept {
  drop_func(static_cast<alarm*>(t->arg));
}

constexpr TimerOps kTickOps{finish_alarm, nullptr};
constexpr TimerOps kCallOps{finish_alarm, orphan_func};

void prepare(alarm* a, const TimerOps& ops) noexcept {
  a->timer.fire = fire_alarm;
  a->timer.arg = a;
  a->timer.ops = &ops;
}

// AL1. True: a tick was to come, or to be received.
bool discard(alarm* a, const Presence& here) noexcept GORT_REQUIRES(a->lock) {
  bool pending = here.runtime_lives() && TimerHeap::stop(&a->timer);
  // relaxed, both: fire() came before stop(), by the heap's lock or by what stop() has acquired.
  if (Mem::recheck(a->due.load(std::memory_order_relaxed))) {
    a->due.store(false, std::memory_order_relaxed);
    pending = true;
  }
  if (a->channel == nullptr) return pending;
  slot<TimePoint> tick;
  return chan_recv(a->channel, &tick, chan_now) == op_status::ok || pending;
}

// AL2, AL3: the channel's last handle is gone.
void end_tick(ChanCompanion* c) noexcept {
  auto* a = static_cast<alarm*>(c);
  Region in;
  timer_forget(&a->timer);
  await_finish(a);
  in.leave();
  delete a;
}

// A thread that sets functions again and again would keep a runtime that is ending for ever, as one that spawns (census.hpp).
bool may_set(const alarm* a, const Presence& here) noexcept {
  if (!here.runtime_lives()) return false;
  if (a->channel != nullptr || current_m() != nullptr) return true;
  // relaxed: it hears of it soon enough.
  return sched().phase.load(std::memory_order_relaxed) == Phase::running;
}

}  // namespace

tick_alarm tick_alarm_make(int64_t when_ns, int64_t period_ns) {
  auto made = std::make_unique<alarm>();
  alarm* a = made.get();
  a->channel = chan_make(1, ops_of<TimePoint>);
  a->end = end_tick;
  prepare(a, kTickOps);
  chan_set_companion(a->channel, made.release());
  try {
    (void)alarm_reset(a, when_ns, period_ns);
  } catch (...) {
    chan_release(a->channel);
    throw;
  }
  return {a, a->channel};
}

func_alarm func_alarm_make(size_t bytes, size_t align, void (*call)(void*),
                           void (*destroy)(void*)) {
  align = std::max(align, alignof(alarm));
  const size_t offset = (sizeof(alarm) + align - 1) & ~(align - 1);
  auto* memory = static_cast<std::byte*>(::operator new(offset + bytes, std::align_val_t(align)));
  auto* a = new (memory) alarm;
  a->call = call;
  a->destroy = destroy;
  a->room = memory + offset;
  a->align = std::align_val_t(align);
  prepare(a, kCallOps);
  return {a, a->room};
}

void func_alarm_abandon(alarm* a) noexcept {
  const std::align_val_t align = a->align;
  a->~alarm();
  ::operator delete(static_cast<void*>(a), align);
}

void func_alarm_retain(alarm* a) noexcept {
  a->refs.fetch_add(1, std::memory_order_relaxed);  // relaxed: we hold one
}

void func_alarm_release(alarm* a) noexcept {
  drop_func(a);
}

void no_timer() {
  throw std::logic_error("gort: a handle without a timer is reset");
}

bool alarm_stop(alarm* a) noexcept {
  bool pending;
  {
    const Region in;
    const Presence here;
    const LockGuard guard(a->lock);
    pending = discard(a, here);
  }
  if (pending && a->channel == nullptr) drop_func(a);  // AL3
  return pending;
}

bool alarm_reset(alarm* a, int64_t when_ns, int64_t period_ns) {
  Region in;
  const Presence here;
  if (!may_set(a, here)) {
    in.leave();
    if (after_fork) throw std::logic_error("gort: no timer can be set in the child of a fork");
    throw std::logic_error(
        "gort: no runtime is alive to look after a timer (start one with gort::run), or it is "
        "ending");
  }
  const G* armer = current_fiber();
  const bool at_once = when_ns <= os::nanotime();
  bool pending;
  {
    const LockGuard guard(a->lock);
    pending = discard(a, here);
    a->period_ns = period_ns;
    a->parent_id = armer != nullptr ? armer->id : 0;
    if (!pending && a->channel == nullptr) func_alarm_retain(a);  // AL3
    if (at_once) {
      a->due.store(true, std::memory_order_relaxed);              // relaxed: we deliver it
      if (period_ns != 0) arm(a, next_beat(when_ns, period_ns));  // AL5
    } else {
      arm(a, when_ns);
    }
  }
  if (at_once) {
    if (G* g = deliver(a); g != nullptr) ready(g);
  }
  if (!at_once || period_ns != 0) see_to_timers();  // one is armed
  return pending;
}

}  // namespace gort::detail
