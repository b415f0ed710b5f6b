// select: a wait in several channels at once. After Go's select.go, with the locks taken otherwise.
//
//     look      channel by channel, in random order, each locked and kept; the first that can go on does
//     wait      with all of them locked and nothing to do: a node into each queue, then park
//     leave     out of the queues that have not ended the wait, one by one
//
//   SL1  A select acts while no queue holds a node of it: nobody can choose it, so there is one other side to be
//        claimed, never two. What it finds is done before another channel is looked at.
//   SL2  It parks with the locks of all its channels held since it has seen that nothing can be done there; the far
//        side releases them. So what comes to a channel before is seen, and what comes later finds the node.
//   SL3  One winner: whoever claims its Wait, for a partner, a close, the time limit, a stop request or an on_stop case.
//        Who takes a node out of a queue and loses takes the next one (chan_queue::pop()), under the one lock
//        that he has; so no value and no wake-up is lost with it.
//   SL4  Who waits for a channel's lock while he has others has those of lower addresses only; all others he may
//        but try. So there is no circle.
//   SL5  A node is touched under its channel's lock only, but by who has claimed it. Before it leaves, a select takes
//        each lock once more and takes out what is still in: afterwards nobody knows its frame. The far side may
//        still be at the unlocking then, and holds the frame by its inspector's count (S1 in park.hpp).
//   SL6  A token is a channel that has one message and is never drained: what it has for a queue is a hook with a lock
//        of the select's own (the gate), which orders the request and the look as SL2 does for channels.
//
// Rejected: all locks first, in the order of addresses, as Go does (a select that finds something ready has then taken
// as many locks as it has cases, where one would do; here that is left for when somebody else has a lock); a node into one
// queue after the other, under one lock at a time (two selects may meet that are both not asleep yet: both must be claimed,
// which takes a third state, and turns of waiting for each other); waking all and letting them look anew (a value
// must then be held for nobody); a goroutine for each case; polling.
#include "gort/detail/select.hpp"

#include <functional>
#include <new>
#include <utility>

#include "base/mem.hpp"
#include "base/random.hpp"
#include "os/os.hpp"
#include "sched/park.hpp"
#include "sched/region.hpp"
#include "sched/stop.hpp"
#include "sched/syscall.hpp"
#include "sched/timer.hpp"
#include "sync/chan_core.hpp"

namespace gort::detail {
namespace {

constexpr size_t kNobody = SIZE_MAX;

// Up to so many cases are compared each with each to find those of one channel; with more, channels are sorted.
constexpr uint32_t kInAnyOrderMax = 8;

// Under chaos: how often the locks are taken as if somebody had one of them.
constexpr unsigned kInOrderOneIn = 3;

// Numbers for threads that have no P. They share one stream, one number per select.
constexpr uint64_t kStreamStep = 0x9e3779b97f4a7c15ULL;
constinit Atomic<uint64_t> foreign_stream{0};

uint64_t draw_seed() noexcept {
  const M* m = current_m();
  if (m != nullptr && m->p != nullptr) return m->p->random.next();
  Random mix;
  // relaxed: that each is drawn once is all.
  mix.seed(foreign_stream.fetch_add(kStreamStep, std::memory_order_relaxed));
  return mix.next();
}

int64_t time_after(int64_t ns) noexcept {
  int64_t at_ns;
  return __builtin_add_overflow(os::nanotime(), ns, &at_ns) ? kNever : at_ns;
}

// What happens where nothing can be done at once.
enum class Patience : uint8_t { wait, poll };

// On the stack of who selects. Its locks are those of its channels, which the analysis does not follow.
class Select : public CasesWait {
 public:
  Select(select_case* cases, size_t n, Patience patience) noexcept;
  select_end run();

 private:
  // How a look, or the whole, has ended.
  struct Found {
    size_t index = kNobody;
    op_status status = op_status::ok;
    bool stopped = false;
  };

  select_case& in_turn(uint32_t i) noexcept { return cases_[cases_[i].turn]; }
  select_case& in_rank(uint32_t i) noexcept { return cases_[cases_[i].rank]; }
  size_t index_of(const chan_node* n) const noexcept {
    return static_cast<size_t>(static_cast<const select_case*>(n) - cases_);
  }

  [[nodiscard]] bool is_plain() const noexcept { return hooks_ == 0 && active_ <= 1; }
  Found run_plain();
  Found run_full() noexcept;
  Found look() noexcept GORT_NO_THREAD_SAFETY_ANALYSIS;
  Found look_at(select_case& c) noexcept GORT_NO_THREAD_SAFETY_ANALYSIS;
  Found wait() noexcept GORT_NO_THREAD_SAFETY_ANALYSIS;
  [[nodiscard]] Found without_waiting() const noexcept;
  void leave_queues() noexcept GORT_NO_THREAD_SAFETY_ANALYSIS;

  void draw_turn(uint32_t i) noexcept;
  [[nodiscard]] bool lock_in_turn(uint32_t i) noexcept GORT_NO_THREAD_SAFETY_ANALYSIS;
  void lock_in_rank() noexcept GORT_NO_THREAD_SAFETY_ANALYSIS;
  void sort_ranks() noexcept;
  void sink_rank(uint32_t i, uint32_t n) noexcept;
  void unlock_channels() noexcept GORT_NO_THREAD_SAFETY_ANALYSIS;
  void unlock_all() noexcept GORT_NO_THREAD_SAFETY_ANALYSIS;

  void hook() noexcept;
  void unhook() noexcept;
  static void request_comes(void* hooked_case) noexcept;
  static bool cancel_select(Wait* w) noexcept { return claim(*w); }
  static bool commit_select(Wait* w) noexcept;

  select_case* const cases_;
  const size_t count_;
  const Patience patience_;
  bool hooked_ = false;
  bool own_token_ = false;  // a stop request of the fiber itself is one of the cases
  uint32_t active_ = 0;     // cases in the order of turns: channels that are not nil, tokens
  uint32_t hooks_ = 0;      // of these, tokens
  size_t timeout_ = kNobody;
  size_t otherwise_ = kNobody;
  const chan_core* highest_ = nullptr;  // of those whose locks we have
  Random random_;
  // SL6.
  Lock gate_;
  Plain<bool> asleep_ GORT_GUARDED_BY(gate_) = false;
};

Select::Select(select_case* cases, size_t n, Patience patience) noexcept
    : cases_(cases), count_(n), patience_(patience) {
  for (size_t i = 0; i < n; ++i) {
    select_case& c = cases[i];
    switch (c.kind) {
      case case_kind::timeout:
        if (timeout_ == kNobody || c.after_ns < cases[timeout_].after_ns) timeout_ = i;
        break;
      case case_kind::otherwise:
        if (otherwise_ == kNobody) otherwise_ = i;
        break;
      case case_kind::stop:
        if (c.token == nullptr) break;
        ++hooks_;
        cases[active_++].turn = static_cast<uint32_t>(i);
        break;
      case case_kind::recv:
      case case_kind::send:
        if (c.chan != nullptr) cases[active_++].turn = static_cast<uint32_t>(i);
    }
  }
}

select_end Select::run() {
  const Found f = is_plain() ? run_plain() : run_full();
  if (f.stopped) deliver_stop();
  if (f.index == count_) return {f.index, f.status};
  const select_case& c = cases_[f.index];
  if (c.kind == case_kind::stop && is_own_token(*c.token)) mark_stop_delivered();
  if (c.kind == case_kind::send && f.status == op_status::closed) {
    leave_region();
    throw closed_channel();
  }
  return {f.index, f.status};
}

// Where nothing can be done at once, and nobody is to wait. Else kNobody.
Select::Found Select::without_waiting() const noexcept {
  if (otherwise_ != kNobody) return {otherwise_};
  if (patience_ == Patience::poll) return {count_};
  if (timeout_ != kNobody && cases_[timeout_].after_ns <= 0) return {timeout_};
  return {};
}

// One channel, or none: the channel's own operation.
Select::Found Select::run_plain() {
  const Found at_once = without_waiting();
  int64_t until_ns = chan_forever;
  if (at_once.index != kNobody) {
    until_ns = chan_now;
  } else if (timeout_ != kNobody) {
    until_ns = time_after(cases_[timeout_].after_ns);
  }
  op_status st;
  size_t index = kNobody;
  if (active_ == 0) {
    st = chan_recv(nullptr, nullptr, until_ns);
  } else {
    const select_case& c = in_turn(0);
    index = index_of(&c);
    st = c.kind == case_kind::send ? chan_send(c.chan, c.value, until_ns)
                                   : chan_recv(c.chan, c.value, until_ns);
  }
  if (st == op_status::ok || st == op_status::closed) return {index, st};
  return {at_once.index != kNobody ? at_once.index : timeout_};
}

Select::Found Select::run_full() noexcept {
  if (without_waiting().index == kNobody) chaos_preempt();
  for (;;) {
    Found f = look();
    if (f.index != kNobody) {
      unhook();
      return f;
    }
    f = without_waiting();
    if (f.index != kNobody) {
      unlock_all();
      unhook();
      return f;
    }
    // What follows takes locks of others, or a turn, so all of ours go first, and all is looked at anew.
    if (lacks_p()) {  // inside blocking(): R3 in park.hpp
      unlock_all();
      reenter_from_blocking();
    } else if (hooks_ != 0 && !hooked_) {
      unlock_all();
      hook();
    } else {
      f = wait();
      unhook();
      return f;
    }
  }
}

// SL1. Found: its locks are released. Else all are held.
Select::Found Select::look() noexcept {
  random_.seed(draw_seed());
  if (hooked_) gate_.lock();
  if (active_ <= kInAnyOrderMax && !chaos_one_in(kInOrderOneIn)) {
    uint32_t i = 0;
    for (; i < active_; ++i) {
      draw_turn(i);
      if (!lock_in_turn(i)) break;
      if (const Found f = look_at(in_turn(i)); f.index != kNobody) return f;
    }
    if (i == active_) return {};
    unlock_channels();
  }
  lock_in_rank();
  for (uint32_t i = 0; i < active_; ++i) {
    draw_turn(i);
    if (const Found f = look_at(in_turn(i)); f.index != kNobody) return f;
  }
  return {};
}

Select::Found Select::look_at(select_case& c) noexcept {
  op_status st = op_status::ok;
  G* partner = nullptr;
  switch (c.kind) {
    case case_kind::recv:
      st = c.chan->recv_now(c.value, &partner);
      if (st == op_status::empty) return {};
      break;
    case case_kind::send:
      st = c.chan->send_now(c.value, &partner);
      if (st == op_status::full) return {};
      break;
    default:
      if (!requested(*c.token)) return {};
  }
  unlock_all();
  if (partner != nullptr) ready(partner);
  return {index_of(&c), st};
}

// SL2, with all locks held.
Select::Found Select::wait() noexcept {
  if (!own_token_ && stop_pending()) {
    unlock_all();
    return {.stopped = true};
  }
  cancel = own_token_ ? nullptr : cancel_select;
  commit = commit_select;
  reason = WaitReason::select;
  for (uint32_t i = 0; i < active_; ++i) {
    select_case& c = in_turn(i);
    if (c.kind == case_kind::stop) continue;
    c.wait = this;
    c.element = c.value;
    c.against = rivals::cases;
    if (c.kind == case_kind::send) {
      c.chan->queue_sender(&c);
    } else {
      c.chan->queue_receiver(&c);
    }
  }
  if (hooked_) asleep_ = true;
  const int64_t until_ns = timeout_ == kNobody ? kNever : time_after(cases_[timeout_].after_ns);
  // A timer that never fires would keep the deadlock report away (D2 in deadlock.cpp).
  const WakeCause how = until_ns == kNever ? park(*this) : TimedPark(*this, until_ns).park();
  leave_queues();
  if (how == WakeCause::timeout) return {timeout_};
  if (how == WakeCause::stopped) return {.stopped = true};
  return {index_of(winner), how == WakeCause::closed ? op_status::closed : op_status::ok};
}

// On the far side: SL5.
bool Select::commit_select(Wait* w) noexcept {
  static_cast<Select*>(w)->unlock_all();
  return true;
}

// SL5. The winner's node is out.
void Select::leave_queues() noexcept {
  for (uint32_t i = 0; i < active_; ++i) {
    select_case& c = in_turn(i);
    if (c.kind == case_kind::stop || winner == &c) continue;
    c.chan->lock();
    if (!Mem::recheck(c.queue == nullptr)) c.queue->remove(&c);
    c.chan->unlock();
  }
}

// ---- Order, and locks ---------------------------------------------------------------------------------

// Draws who is looked at in turn i, of those that have had no turn yet.
void Select::draw_turn(uint32_t i) noexcept {
  const uint64_t left = active_ - i;
  const auto drawn = static_cast<uint32_t>(((random_.next() >> 32) * left) >> 32);
  std::swap(cases_[i].turn, cases_[i + drawn].turn);
}

// SL4. False: somebody else has the lock, and it is not our turn to wait for him.
bool Select::lock_in_turn(uint32_t i) noexcept {
  select_case& c = in_turn(i);
  if (c.kind == case_kind::stop) return true;
  for (uint32_t before = 0; before < i; ++before) {
    if (in_turn(before).chan == c.chan) return true;
  }
  if (std::less<>()(highest_, c.chan)) {
    c.chan->lock();
    highest_ = c.chan;
  } else if (!c.chan->try_lock()) {
    return false;
  }
  c.locks_channel = true;
  return true;
}

void Select::lock_in_rank() noexcept {
  sort_ranks();
  const chan_core* last = nullptr;
  for (uint32_t i = 0; i < active_ - hooks_; ++i) {
    select_case& c = in_rank(i);
    if (c.chan == last) continue;
    last = c.chan;
    c.chan->lock();
    c.locks_channel = true;
  }
}

// A heapsort, since there may be many and nothing may be allocated here.
void Select::sort_ranks() noexcept {
  uint32_t n = 0;
  for (uint32_t i = 0; i < active_; ++i) {
    if (in_turn(i).kind != case_kind::stop) cases_[n++].rank = cases_[i].turn;
  }
  for (uint32_t i = n / 2; i-- > 0;) sink_rank(i, n);
  while (n > 1) {
    --n;
    std::swap(cases_[0].rank, cases_[n].rank);
    sink_rank(0, n);
  }
}

void Select::sink_rank(uint32_t i, uint32_t n) noexcept {
  const auto above = [this](uint32_t a, uint32_t b) {
    return std::less<>()(in_rank(a).chan, in_rank(b).chan);
  };
  for (uint32_t child; (child = 2 * i + 1) < n; i = child) {
    if (child + 1 < n && above(child, child + 1)) ++child;
    if (!above(i, child)) return;
    std::swap(cases_[i].rank, cases_[child].rank);
  }
}

void Select::unlock_channels() noexcept {
  for (uint32_t i = 0; i < active_; ++i) {
    select_case& c = in_turn(i);
    if (!c.locks_channel) continue;
    c.locks_channel = false;
    c.chan->unlock();
    chaos_point(ChaosPoint::select_unlocking);
  }
  highest_ = nullptr;
}

void Select::unlock_all() noexcept {
  unlock_channels();
  if (hooked_) gate_.unlock();
}

// ---- Tokens (SL6) -------------------------------------------------------------------------------------

// Outside the region: a token's lock is the program's (RG4).
void Select::hook() noexcept {
  leave_region();
  for (uint32_t i = 0; i < active_; ++i) {
    select_case& c = in_turn(i);
    if (c.kind != case_kind::stop) continue;
    if (is_own_token(*c.token)) own_token_ = true;
    c.value = this;
    new (c.hook_room) stop_hook(*c.token, stop_call{request_comes, &c});
  }
  enter_region();
  hooked_ = true;
}

void Select::unhook() noexcept {
  if (!hooked_) return;
  leave_region();
  for (uint32_t i = 0; i < active_; ++i) {
    const select_case& c = in_turn(i);
    if (c.kind == case_kind::stop) static_cast<stop_hook*>(c.hook_room)->~stop_hook();
  }
  enter_region();
}

// On whoever asks. Not as a Region: it would give way at its end (RG3), and the select waits for our end on its thread.
void Select::request_comes(void* hooked_case) noexcept {
  auto& c = *static_cast<select_case*>(hooked_case);
  auto& s = *static_cast<Select*>(c.value);
  enter_region();
  G* sleeper = nullptr;
  {
    const LockGuard guard(s.gate_);
    if (Mem::recheck(s.asleep_) && claim(s)) {
      s.winner = &c;
      s.cause = WakeCause::notified;
      sleeper = s.g;
    }
  }
  if (sleeper != nullptr) ready(sleeper);
  leave_region();
}

}  // namespace

select_end select_wait(select_case* cases, size_t n) {
  const Region in;
  return Select(cases, n, Patience::wait).run();
}

select_end select_poll(select_case* cases, size_t n) {
  const Region in;
  return Select(cases, n, Patience::poll).run();
}

}  // namespace gort::detail
