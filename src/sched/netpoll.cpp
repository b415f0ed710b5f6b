// The poller. After the Go runtime's netpoll.go: each direction of a descriptor has one word.
//
//     kIdle     nothing is known, nobody waits
//     kReady    an edge has come that nobody has consumed
//     kWaiting  a fiber is about to park (it still stands on its stack)
//     Wait*     a fiber is parked; whoever takes it out of the word wakes it (W1)
//
//   P1  Edges are not lost: an edge that finds no Wait leaves kReady, and a fiber that is about to
//       park finds it (the commit's compare-and-swap from kWaiting fails). A wait that ends by
//       deadline, close or stop may take along an edge that comes at the same time: its caller asks
//       the kernel before it waits again.
//   P2  close and deadline set their flag, then take the Wait out; a fiber sets kWaiting, then looks at the flags (seq_cst on
//       both sides), so one of the two sees the other.
//   P3  A descriptor record is never freed while its runtime lives. The kernel's event carries the
//       record's generation; an event of a former life is dropped (a spurious wake-up at most).
//   P4  A deadline that moves later leaves its timer where it is; when the timer fires it looks at
//       the deadline and re-arms itself. So pushing a deadline forward on each request costs a store.
//   P5  A descriptor that is registered with the running runtime and has a deadline has a timer that is
//       armed for it or earlier; the timer turns the deadline into kPassed before it looks for a Wait.
//       So a fiber that waits need not read the clock.
//   P6  netpoll_break() makes a wait that is under way, or the next one, end.
//
// A descriptor that the kernel refuses to register (ENOMEM, ENOSPC) fails the wait with that error.
//
// Rejected: waiting for it in poll(2) instead, with the whole thread (it keeps its P, and whoever is to
// make the descriptor ready may be in that P's queue; no stop request reaches it); level-triggered
// registration with EPOLLONESHOT (a system call to re-arm for every wait); one epoll instance per P (a
// descriptor then belongs to a P, and fibers move); io_uring (refused in many containers; a back end of
// its own one day).
#include "sched/netpoll.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <new>

#include "base/check.hpp"
#include "base/mem.hpp"
#include "base/thread_safety.hpp"
#include "sched/chaos.hpp"
#include "sched/fork.hpp"
#include "sched/netpoll_internal.hpp"
#include "sched/park.hpp"
#include "sched/region.hpp"
#include "sched/sched.hpp"
#include "sched/timer.hpp"

namespace gort {
namespace {

constexpr uintptr_t kIdle = 0;
constexpr uintptr_t kReady = 1;
constexpr uintptr_t kWaiting = 2;
constexpr uint32_t kGenerationBits = 16;

constexpr unsigned kNoWaitOneIn = 8;  // under chaos: a wait that ends without cause, as P3 allows

constexpr int64_t kPassed = 0;  // as a deadline: its time has come (P5); real ones are later than 0

// One direction.
struct Direction {
  Atomic<uintptr_t> word{kIdle};
  Atomic<int64_t> deadline_ns{kNever};
};

constexpr size_t kLineBytes = 64;

}  // namespace

struct alignas(kLineBytes) PollDesc {
  // The line that an event and a wait touch.
  Direction direction[2];
  Atomic<uint64_t> runtime{0};  // which runtime's epoll instance it is registered with
  Plain<int> fd = -1;
  Atomic<uint32_t> generation{0};
  Atomic<uint32_t> foreign_waiters{0};  // threads in poll(2), which only shutdown(2) wakes
  Atomic<bool> closing{false};
  Atomic<bool> hangup{false};

  alignas(kLineBytes) Lock lock;    // registration, deadlines
  Plain<PollDesc*> link = nullptr;  // owner: the free list, under its lock
  Timer timer[2];                   // armed under the lock
  Atomic<int> refusal{0};           // why the kernel did not register it
  // For the child of a fork (FK4 in fork.hpp).
  Plain<PollDesc*> older = nullptr;  // of all records; written before the record is known
  Plain<void*> user = nullptr;       // written by who has the record alone
  Plain<ForgetUsers> forget = nullptr;
};
// The atomics of the models are larger.
static_assert(sizeof(Direction[2]) + 24 <= kLineBytes || sizeof(Atomic<uint64_t>) > 8);

struct Poller {
  int epfd = -1;
  int wake_fd = -1;        // an eventfd; a pipe's end where there are none
  int wake_write_fd = -1;  // the same, or the pipe's other end
  Atomic<bool> wake_pending{false};
  Atomic<int64_t> last_ns{0};
  // Fibers that wait for descriptors. Counted by direction words that hold a Wait.
  Atomic<int64_t> waiters{0};
  uint64_t runtime_id = 0;
};

namespace {

// Records outlive runtimes: a socket made in one may be closed after it.
struct DescPool {
  Lock lock;
  PollDesc* free GORT_GUARDED_BY(lock) = nullptr;
};
DescPool desc_pool;
// All that were ever made, the youngest first.
constinit Atomic<PollDesc*> all_descs{nullptr};

void remember(PollDesc* pd) noexcept {
  // relaxed: the exchange decides.
  PollDesc* youngest = all_descs.load(std::memory_order_relaxed);
  do {
    pd->older = youngest;
    // release: the record before what leads to it, where a fork comes in between. unmodelled: the checker has no forks.
  } while (!all_descs.compare_exchange_weak(youngest, pd, std::memory_order_release,
                                            std::memory_order_relaxed));
}

// FK4. There is one thread, so relaxed, all.
void forget_waiters(PollDesc& pd) noexcept {
  if (pd.user == nullptr) return;
  if (pd.lock.held()) new (&pd.lock) Lock;
  // relaxed: as above.
  if (pd.foreign_waiters.load(std::memory_order_relaxed) != 0) {
    pd.foreign_waiters.store(0, std::memory_order_relaxed);  // relaxed: as above
  }
  for (Direction& d : pd.direction) {
    if (d.word.load(std::memory_order_relaxed) < kWaiting) continue;  // relaxed: as above
    d.word.store(kIdle, std::memory_order_relaxed);                   // relaxed: as above
  }
  pd.forget(pd.user);
}

// FK2, FK4.
const bool forgets_pool = on_fork([]() noexcept {
  if (desc_pool.lock.held()) new (&desc_pool) DescPool;
  // relaxed: there is one thread.
  PollDesc* pd = all_descs.load(std::memory_order_relaxed);
  for (; pd != nullptr; pd = pd->older) forget_waiters(*pd);
});
Atomic<uint64_t> runtime_ids{0};

struct NetWait : Wait {
  PollDesc* pd = nullptr;
  Direction* direction = nullptr;
};

uint64_t tag(const PollDesc* pd) noexcept {
  // relaxed: a stale generation lets a spurious wake-up through, which P3 allows.
  return (reinterpret_cast<uint64_t>(pd) << kGenerationBits) |
         (pd->generation.load(std::memory_order_relaxed) & ((1U << kGenerationBits) - 1));
}

// nullptr: what netpoll_break() writes to.
PollDesc* record_of(uint64_t data) noexcept {
  return reinterpret_cast<PollDesc*>(data >> kGenerationBits);
}

PollDesc* untag(uint64_t data) noexcept {
  PollDesc* pd = record_of(data);
  return tag(pd) == data ? pd : nullptr;  // P3
}

bool is_wait(uintptr_t word) noexcept {
  return word > kWaiting;
}

// Takes the Wait out of a direction, leaving `leave`. Returns the fiber to wake, or nullptr.
G* unblock(Direction& d, uintptr_t leave, WakeCause cause) noexcept {
  // seq_cst: P1, P2; learns the Wait's fields, if there is one. modelled in NetpollModel.
  uintptr_t old = d.word.load(std::memory_order_seq_cst);
  for (;;) {
    if (old == kReady) return nullptr;
    if (old == kIdle && leave == kIdle) return nullptr;
    // acquire on failure: the Wait's fields. On success it decides (W1), and we have learnt already.
    // unmodelled: g++ takes no order that is weaker on success.
    if (d.word.compare_exchange_weak(old, leave, std::memory_order_acquire,
                                     std::memory_order_acquire)) {
      break;
    }
  }
  if (!is_wait(old)) return nullptr;
  chaos_point(ChaosPoint::poll_unblocking);
  auto* w = reinterpret_cast<NetWait*>(old);
  w->cause = cause;
  G* g = w->g;
  // The fiber keeps the runtime alive until it is woken, which comes behind this.
  // release: D6, modelled in DeadlockModel. Sleepers look behind fences of their own.
  sched().poller->waiters.fetch_sub(1, std::memory_order_release);
  return g;
}

bool commit_wait(Wait* base) noexcept {
  auto* w = static_cast<NetWait*>(base);
  Atomic<int64_t>& waiters = sched().poller->waiters;
  // relaxed: this M goes idle behind it, under the lock behind which others that are idle look (I6).
  waiters.fetch_add(1, std::memory_order_relaxed);
  chaos_point(ChaosPoint::poll_committing);
  uintptr_t expected = kWaiting;
  // release: publishes the Wait (P1, P2). relaxed on failure: the fiber acquires the edge.
  if (w->direction->word.compare_exchange_strong(expected, reinterpret_cast<uintptr_t>(w),
                                                 std::memory_order_release,
                                                 std::memory_order_relaxed)) {
    return true;
  }
  waiters.fetch_sub(1, std::memory_order_relaxed);  // relaxed: the fiber itself goes on
  return false;
}

bool cancel_wait_net(Wait* base) noexcept {
  auto* w = static_cast<NetWait*>(base);
  auto mine = reinterpret_cast<uintptr_t>(w);
  // relaxed: decides (W1); the caller has the Wait from elsewhere, and the fiber learns by ready().
  if (!w->direction->word.compare_exchange_strong(mine, kIdle, std::memory_order_relaxed,
                                                  std::memory_order_relaxed)) {
    return false;
  }
  // relaxed: whoever requests a stop counts for himself (D1, D3).
  sched().poller->waiters.fetch_sub(1, std::memory_order_relaxed);
  return true;
}

// Whether a deadline has passed by the clock, or only by what its timer has left (P5).
enum class Clock : uint8_t { read, trust_timer };

PollResult state_of(const PollDesc* pd, const Direction& d, Clock clock) noexcept {
  // seq_cst: P2. modelled in NetpollModel.
  if (pd->closing.load(std::memory_order_seq_cst)) return PollResult::closing;
  // seq_cst: the same. modelled in NetpollModel.
  const int64_t when = d.deadline_ns.load(std::memory_order_seq_cst);
  if (when == kNever) return PollResult::ready;
  if (when == kPassed) return PollResult::timeout;
  return clock == Clock::read && when <= os::nanotime() ? PollResult::timeout : PollResult::ready;
}

// P4, P5. Under the heap's lock.
G* deadline_fires(Timer* t) noexcept {
  auto* d = static_cast<Direction*>(t->arg);
  // relaxed: who moves it comes to the heap's lock behind that.
  int64_t when = d->deadline_ns.load(std::memory_order_relaxed);
  if (when == kNever || when == kPassed) return nullptr;
  if (when > t->when_ns && when > os::nanotime()) {
    t->when_ns = when;
    t->again = true;
    return nullptr;
  }
  chaos_point(ChaosPoint::poll_deadline_fires);
  // seq_cst: P2. If it fails the deadline is being moved: the mover waits for the heap's lock, finds the
  // timer disarmed and arms it again; so relaxed then.
  if (!d->deadline_ns.compare_exchange_strong(when, kPassed, std::memory_order_seq_cst,
                                              std::memory_order_relaxed)) {
    return nullptr;
  }
  return unblock(*d, kIdle, WakeCause::timeout);
}

// P5.
void arm(PollDesc* pd, int mode, int64_t when_ns) noexcept GORT_REQUIRES(pd->lock) {
  Timer* t = &pd->timer[mode];
  if (TimerHeap::fires_by(t, when_ns)) return;  // P4: fire() will look at the deadline
  TimerHeap::stop(t);
  t->when_ns = when_ns;
  timer_add(timer_home(), t);
}

// Registers with the running runtime's epoll instance, once per runtime.
int attach(PollDesc* pd) noexcept {
  Poller* poller = sched().poller;
  // relaxed: nothing is learnt by it. A registration that takes effect behind our wait's beginning reports what
  // is ready then, and a timer is found behind its heap's lock (P5).
  if (pd->runtime.load(std::memory_order_relaxed) == poller->runtime_id) return 0;
  LockGuard guard(pd->lock);
  // relaxed: under the lock.
  if (pd->runtime.load(std::memory_order_relaxed) == poller->runtime_id) return 0;
  const int error = os::epoll_add(poller->epfd, pd->fd,
                                  EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET, tag(pd));
  if (error < 0) return error;
  for (int mode = 0; mode < 2; ++mode) {
    // relaxed: set before this runtime, or in another one; who sets it now arms it himself.
    const int64_t when = pd->direction[mode].deadline_ns.load(std::memory_order_relaxed);
    if (when != kNever && when != kPassed) arm(pd, mode, when);
  }
  pd->runtime.store(poller->runtime_id, std::memory_order_relaxed);  // relaxed: as above
  return 0;
}

// A foreign thread asks the kernel itself: it has time, and there may be no runtime. A close wakes it by a shutdown of
// the socket, which a deadline can not do, nor a close of what is no socket: for these it looks now and then.
PollResult wait_thread(PollDesc* pd, Direction& d, PollMode mode) noexcept {
  for (;;) {
    const PollResult now = state_of(pd, d, Clock::read);
    if (now != PollResult::ready) return now;
    // relaxed: one that is moved from here on counts from the next round.
    const int64_t deadline = d.deadline_ns.load(std::memory_order_relaxed);
    const int64_t left = deadline == kNever ? kForeignLookNs : deadline - os::nanotime();
    const int64_t ns = std::clamp<int64_t>(left, 0, kForeignLookNs);
    const auto what = mode == PollMode::read ? os::FdWait::read : os::FdWait::write;
    pd->foreign_waiters.fetch_add(1, std::memory_order_seq_cst);       // seq_cst: P2
    const bool closing = pd->closing.load(std::memory_order_seq_cst);  // seq_cst: P2
    const int n = closing ? 1 : os::poll_fd(pd->fd, what, ns);
    pd->foreign_waiters.fetch_sub(1, std::memory_order_relaxed);  // relaxed: a needless shutdown of
                                                                  // a socket that is closed anyway
    if (n != 0) return state_of(pd, d, Clock::read);
  }
}

PollResult result_of(WakeCause cause, const PollDesc* pd, const Direction& d) noexcept {
  if (cause == WakeCause::stopped) return PollResult::stopped;
  return state_of(pd, d, Clock::trust_timer);
}

}  // namespace

PollDesc* netpoll_open(int fd, int* error) noexcept {
  PollDesc* pd = nullptr;
  {
    const Region in;
    LockGuard guard(desc_pool.lock);
    if ((pd = desc_pool.free) != nullptr) desc_pool.free = pd->link;
  }
  if (pd == nullptr) {
    pd = new (std::nothrow) PollDesc;
    if (pd == nullptr) {
      *error = ENOMEM;
      return nullptr;
    }
    remember(pd);
  }
  pd->fd = fd;
  pd->link = nullptr;
  pd->generation.fetch_add(1, std::memory_order_relaxed);  // relaxed: P3
  for (int mode = 0; mode < 2; ++mode) {
    Direction& d = pd->direction[mode];
    // relaxed, all of these: nobody else has the record but a poller with an old event (P3).
    d.word.store(kIdle, std::memory_order_relaxed);
    d.deadline_ns.store(kNever, std::memory_order_relaxed);
    pd->timer[mode].fire = deadline_fires;
    pd->timer[mode].arg = &d;
  }
  // relaxed: the same.
  pd->closing.store(false, std::memory_order_relaxed);
  pd->hangup.store(false, std::memory_order_relaxed);
  pd->runtime.store(0, std::memory_order_relaxed);
  return pd;
}

void netpoll_set_user(PollDesc* pd, void* user, ForgetUsers forget) noexcept {
  pd->forget = forget;
  pd->user = user;
}

PollResult netpoll_check(PollDesc* pd, PollMode mode) noexcept {
  return state_of(pd, pd->direction[static_cast<int>(mode)], Clock::read);
}

PollResult netpoll_wait(PollDesc* pd, PollMode mode) noexcept {
  Direction& d = pd->direction[static_cast<int>(mode)];
  if (current_fiber() == nullptr) return wait_thread(pd, d, mode);
  const PollResult before = state_of(pd, d, Clock::trust_timer);
  if (before != PollResult::ready) return before;
  if (const int error = attach(pd); error < 0) {
    pd->refusal.store(-error, std::memory_order_relaxed);  // relaxed: for this fiber; any is right
    return PollResult::refused;
  }
  chaos_preempt();
  if (chaos_one_in(kNoWaitOneIn)) return PollResult::ready;
  uintptr_t old = kReady;
  // seq_cst: P1; an edge that was remembered is consumed, before the look for a hang-up. relaxed on failure:
  // nothing is learnt.
  if (d.word.compare_exchange_strong(old, kIdle, std::memory_order_seq_cst,
                                     std::memory_order_relaxed)) {
    return PollResult::ready;
  }
  if (stop_pending()) {
    mark_stop_delivered();
    return PollResult::stopped;
  }
  old = kIdle;
  // seq_cst: P2, before the look at the flags. relaxed on failure: the store consumes the edge.
  if (!d.word.compare_exchange_strong(old, kWaiting, std::memory_order_seq_cst,
                                      std::memory_order_relaxed)) {
    GORT_CHECK(old == kReady, "P1: two fibers wait for one direction of a descriptor");
    // seq_cst: P1, consumes the edge, before the look for a hang-up.
    d.word.store(kIdle, std::memory_order_seq_cst);
    return PollResult::ready;
  }
  chaos_point(ChaosPoint::poll_waiting);
  const PollResult after = state_of(pd, d, Clock::trust_timer);
  if (Mem::recheck(after != PollResult::ready)) {
    // relaxed: we wait no more. An edge may go with it (P1).
    d.word.store(kIdle, std::memory_order_relaxed);
    return after;
  }
  NetWait w;
  w.pd = pd;
  w.direction = &d;
  w.commit = commit_wait;
  w.cancel = cancel_wait_net;
  w.reason = mode == PollMode::read ? WaitReason::net_read : WaitReason::net_write;
  const WakeCause cause = park(w);
  uintptr_t left = kReady;
  // seq_cst: P1; consumes the edge that woke us, or one that came since the wait ended otherwise. relaxed
  // on failure: nothing is learnt.
  d.word.compare_exchange_strong(left, kIdle, std::memory_order_seq_cst, std::memory_order_relaxed);
  if (cause == WakeCause::stopped) mark_stop_delivered();
  return result_of(cause, pd, d);
}

int netpoll_refusal(const PollDesc* pd) noexcept {
  return pd->refusal.load(std::memory_order_relaxed);  // relaxed: see netpoll_wait()
}

bool netpoll_hangup_seen(const PollDesc* pd) noexcept {
  // seq_cst: after the reader's look at the word; see netpoll().
  return pd->hangup.load(std::memory_order_seq_cst);
}

void netpoll_set_deadline(PollDesc* pd, PollMode mode, int64_t when_ns) noexcept {
  Direction& d = pd->direction[static_cast<int>(mode)];
  const bool passed = when_ns != kNever && when_ns <= os::nanotime();
  // seq_cst: P2. modelled in NetpollModel.
  d.deadline_ns.store(passed ? kPassed : when_ns, std::memory_order_seq_cst);
  if (when_ns == kNever) return;
  chaos_point(ChaosPoint::poll_deadline_set);
  const Visitor visit;
  if (!runtime_alive()) return;
  if (passed) {
    if (G* g = unblock(d, kIdle, WakeCause::timeout); g != nullptr) ready(g);
    return;
  }
  LockGuard guard(pd->lock);
  arm(pd, static_cast<int>(mode), when_ns);
}

void netpoll_evict(PollDesc* pd, Evict how) noexcept {
  const Visitor visit;
  pd->closing.store(true, std::memory_order_seq_cst);  // seq_cst: P2
  chaos_point(ChaosPoint::poll_evicting);
  for (Direction& d : pd->direction) {
    if (G* g = unblock(d, kIdle, WakeCause::closed); g != nullptr) ready(g);
  }
  if (how == Evict::leaves_open) return;
  // seq_cst: P2, behind the flag. modelled in PollModel.
  if (pd->foreign_waiters.load(std::memory_order_seq_cst) != 0) os::fd_shutdown(pd->fd);
}

void netpoll_close(PollDesc* pd) noexcept {
  const Visitor visit;
  chaos_point(ChaosPoint::poll_closing);
  for (Timer& t : pd->timer) timer_stop(visit, &t);
  if (runtime_alive() &&
      // relaxed: nobody else uses the record any more, and who did has let go of it before (FD1 in src/net/fd.hpp).
      pd->runtime.load(std::memory_order_relaxed) == sched().poller->runtime_id) {
    os::epoll_del(sched().poller->epfd, pd->fd);
  }
  pd->fd = -1;
  pd->user = nullptr;
  LockGuard guard(desc_pool.lock);
  pd->link = desc_pool.free;
  desc_pool.free = pd;
}

// ---- The scheduler's side ----

namespace {

// A sandbox may know no eventfd.
bool is_refused(int error) noexcept {
  return error == -ENOSYS || error == -EPERM || error == -EACCES;
}

// 0 or -errno.
int open_wake_fds(Poller& poller) noexcept {
  const int event = os::eventfd();
  if (event >= 0) {
    poller.wake_fd = poller.wake_write_fd = event;
    return 0;
  }
  if (!is_refused(event)) return event;
  int ends[2];
  if (const int error = os::pipe2(ends, 0); error < 0) return error;
  poller.wake_fd = ends[0];
  poller.wake_write_fd = ends[1];
  return 0;
}

void close_wake_fds(const Poller& poller) noexcept {
  if (poller.wake_fd < 0) return;
  os::fd_close(poller.wake_fd);
  if (poller.wake_write_fd != poller.wake_fd) os::fd_close(poller.wake_write_fd);
}

}  // namespace

int netpoll_init(Sched& s) noexcept {
  auto* poller = new (std::nothrow) Poller;
  if (poller == nullptr) return -ENOMEM;
  poller->runtime_id = runtime_ids.fetch_add(1, std::memory_order_relaxed) + 1;  // relaxed: unique
  poller->epfd = os::epoll_create();
  int error = poller->epfd < 0 ? poller->epfd : open_wake_fds(*poller);
  if (error >= 0) error = os::epoll_add(poller->epfd, poller->wake_fd, EPOLLIN, 0);
  s.poller = poller;
  if (error >= 0) return 0;
  netpoll_fini(s);
  return error;
}

void netpoll_fini(Sched& s) noexcept {
  if (s.poller == nullptr) return;
  close_wake_fds(*s.poller);
  if (s.poller->epfd >= 0) os::fd_close(s.poller->epfd);
  delete s.poller;
  s.poller = nullptr;
}

void netpoll_forget() noexcept {
  const Poller* const poller = sched().poller;
  close_wake_fds(*poller);
  os::fd_close(poller->epfd);
}

namespace {

// First the descriptor, then the word: a break in between finds the word set and writes nothing, but
// we have yet to look again. So there is never more than one break to be read, in a pipe neither.
void eat_break(Poller* poller) noexcept {
  uint64_t count;
  (void)os::fd_read(poller->wake_fd, &count, sizeof count);
  // relaxed: what a break is for stands behind a lock, or a fence (I6) that our next look pairs with.
  poller->wake_pending.exchange(false, std::memory_order_relaxed);
}

}  // namespace

void netpoll(int64_t wait_ns, int64_t now_ns, GList& out) noexcept {
  Poller* poller = sched().poller;
  os::PollEvent events[kPollEventsMax];
  if (now_ns != 0) poller->last_ns.store(now_ns, std::memory_order_relaxed);  // relaxed: a hint
  const int n = os::epoll_wait(poller->epfd, events, wait_ns);
  chaos_point(ChaosPoint::poll_events);
  // The poller would go round and round.
  if (n < 0 && n != -EINTR) {
    fatal_value("P6: the descriptor of the poller is not to be polled", n, __FILE__, __LINE__);
  }
  const auto wake = [&out](Direction& d) {
    if (G* g = unblock(d, kReady, WakeCause::notified)) out.push_back(g);
  };
  for (int i = 0; i < n; ++i) {
    const os::PollEvent& e = events[i];
    if (e.data == 0) {
      // Only the poller that may sleep eats its wake-up; for others it stays readable.
      if (wait_ns != 0) eat_break(poller);
      continue;
    }
    PollDesc* pd = untag(e.data);
    if (pd == nullptr) continue;
    // Urgent data ends a read short of what is queued, as a hang-up does (E2 in src/net/fd.hpp).
    constexpr uint32_t kEnd = EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI;
    // seq_cst: before the look at the word in unblock(). A reader that consumes an edge of this
    // event which it found ready already sees the flag (netpoll_hangup_seen).
    if ((e.events & kEnd) != 0) pd->hangup.store(true, std::memory_order_seq_cst);
    if ((e.events & (EPOLLIN | kEnd)) != 0) wake(pd->direction[0]);
    if ((e.events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) wake(pd->direction[1]);
  }
}

void netpoll_break() noexcept {
  Poller* poller = sched().poller;
  // relaxed: as in eat_break(). One write suffices until the poller has read it.
  if (poller->wake_pending.exchange(true, std::memory_order_relaxed)) return;
  const uint64_t one = 1;
  long rc;
  do {
    rc = os::fd_write(poller->wake_write_fd, &one, sizeof one);
  } while (rc == -EINTR);
  // EAGAIN: its count is full, so it is readable. Anything else, and the poller would sleep on: somebody
  // has closed our descriptor.
  if (rc < 0 && rc != -EAGAIN) {
    fatal_value("P6: the descriptor that wakes the poller is not to be written", rc, __FILE__,
                __LINE__);
  }
}

bool netpoll_wanted() noexcept {
  // acquire: D6. unmodelled: but for an M that has just polled beside sysmon there is a fence before the look at
  // sysmon_polls, and that one takes five threads in step.
  return sched().poller->waiters.load(std::memory_order_acquire) > 0;
}

int64_t netpoll_last_ns() noexcept {
  return sched().poller->last_ns.load(std::memory_order_relaxed);  // relaxed: a hint
}

}  // namespace gort
