// Wait: the record of one wait of one fiber, on that fiber's stack.
//
// Who writes what: the waiting fiber fills it in before park(); exactly one winner (the object it
// waits in, its timer, or a stop request) writes `cause` and then calls ready(). See park.hpp.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/mem.hpp"
#include "sched/lock.hpp"
#include "sched/timerheap.hpp"

namespace gort {

struct G;
class ParkLock;

inline constexpr int64_t kNever = INT64_MAX;

// Why a wait ended.
enum class WakeCause : uint8_t { notified, timeout, stopped, closed };

// What a fiber waits for; shown in reports. Keep kWaitNames in step.
enum class WaitReason : uint8_t {
  none,
  chan_send,
  chan_recv,
  chan_nil,
  sleep,
  join,
  mutex,
  condition,
  wait_group,
  semaphore,
  latch,
  barrier,
  once,
  shared_mutex,
  future,
  net_read,
  net_write,
  blocking,
  select,
};
const char* wait_reason_name(WaitReason r) noexcept;

struct Wait {
  Plain<G*> g = nullptr;  // set by park()

  // Takes the waiter out of what it waits in, on behalf of a stop request; true: it was in, and the
  // caller now owns the wake-up. Runs on any M, never on the waiting fiber. nullptr: not
  // cancellable.
  Plain<bool (*)(Wait*) noexcept> cancel = nullptr;

  // What the far side does once the fiber has left its stack: release this lock, or, where it is
  // null, call commit; commit may refuse the sleep by returning false (the wake-up came first).
  Plain<ParkLock*> lock = nullptr;
  Plain<bool (*)(Wait*) noexcept> commit = nullptr;

  Plain<Timer*> timer = nullptr;  // armed by the far side; nullptr: no time limit
  // On a foreign thread, which looks at its limit itself: takes the waiter out, as cancel. nullptr: claim() decides.
  Plain<bool (*)(Wait*) noexcept> expire = nullptr;
  Plain<WakeCause> cause = WakeCause::notified;
  Plain<WaitReason> reason = WaitReason::none;

  // Decides between several possible winners (object and timer): the one that moves it 0 -> 1
  // wakes. A wait with one source (and no timer) needs none: the object's lock decides.
  Atomic<uint32_t> claimed{0};
};

// One winner (W1 in park.hpp): true for exactly one caller per Wait.
[[nodiscard]] inline bool claim(Wait& w) noexcept {
  // acq_rel: the winner learns the waiter's set-up; losers learn nothing they use. unmodelled: whoever
  // claims today has the Wait from a lock, or from G::wait, which tells him the same.
  return w.claimed.exchange(1, std::memory_order_acq_rel) == 0;
}

}  // namespace gort
