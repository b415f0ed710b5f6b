#include "sched/spares.hpp"

#include <algorithm>
#include <utility>

#include "base/mem.hpp"
#include "base/thread_safety.hpp"
#include "sched/idle.hpp"
#include "sched/idle_list.hpp"
#include "sched/sched.hpp"

namespace gort {
namespace {

constexpr size_t kStackBytes = 128 * 1024;
// One to go on with the P, one for the next P, while a third is being made: a thread takes some 20 us to come.
constexpr int kSpares = 2;
constexpr int64_t kRetireNs = 5'000'000'000;

void link_to(M*& list, M* m) noexcept {
  m->retired_link = list;
  list = m;
}

// The idle Ms that have been idle for longest, without the thread that called run().
M* longest_idle(const Sched& s) noexcept GORT_REQUIRES(s.lock) {
  M* found = nullptr;
  for (M* m = s.idle_m; m != nullptr; m = m->idle_next) {
    if (m != s.main_m) found = m;
  }
  return found;
}

// Ms beyond those that can run at once.
int surplus(const Sched& s) noexcept GORT_REQUIRES(s.lock) {
  // relaxed: under the lock.
  return s.m_count - s.m_gone - s.procs_in_use.load(std::memory_order_relaxed);
}

// Those that have been idle since the last call, off the idle list, as many as are not needed.
M* take_idle_ones(Sched& s) noexcept GORT_REQUIRES(s.lock) {
  const int n = std::min(std::exchange(s.idle_m_least, s.idle_m_count), surplus(s));
  // relaxed: as in request_spares().
  if (n > 0) s.spares_wanted.store(1, std::memory_order_relaxed);
  M* taken = nullptr;
  for (int i = 0; i < n; ++i) {
    M* const m = longest_idle(s);
    if (m == nullptr) break;
    delist(s, m);
    link_to(taken, m);
    ++s.m_gone;
  }
  return taken;
}

bool one_is_missing(Sched& s) noexcept {
  LockGuard guard(s.lock);
  // relaxed: as in request_spares().
  const int wanted = s.spares_wanted.load(std::memory_order_relaxed);
  if (s.spare_m_coming || idle_ms(s) >= wanted) return false;
  s.spare_m_coming = true;
  return true;
}

// As long as threads are about to end. None says when it is done.
class Pauses {
 public:
  void sleep(Sched& s, Left left) noexcept {
    if (left == Left::none) {
      next_ns_ = kFirstNs;
      return s.spares_note.sleep();
    }
    if (!s.spares_note.sleep_for(next_ns_)) next_ns_ = std::min(2 * next_ns_, kLastNs);
  }

 private:
  static constexpr int64_t kFirstNs = 1'000'000;
  static constexpr int64_t kLastNs = 1'000'000'000;
  int64_t next_ns_ = kFirstNs;
};

void spares_main(void*) noexcept {
  Sched& s = sched();
  os::minitHouse(s.spares_os);
  Pauses pauses;
  Left left = Left::none;
  for (;;) {
    pauses.sleep(s, left);
    if (s.spares_over.load(std::memory_order_relaxed)) return;  // relaxed: behind the note
    if (one_is_missing(s)) start_spare_m();
    left = reap(s);
  }
}

}  // namespace

Left reap(Sched& s) noexcept {
  M* leaving;
  {
    LockGuard guard(s.lock);
    leaving = std::exchange(s.retiring, nullptr);
  }
  Left left = Left::none;
  while (M* const m = leaving) {
    leaving = m->retired_link;
    const bool ended = os::has_ended(m->os);
    if (ended) os::mdestroy(m->os);
    LockGuard guard(s.lock);
    link_to(ended ? s.retired : s.retiring, m);
    if (!ended) left = Left::some;
  }
  return left;
}

void request_spare() noexcept {
  sched().spares_note.wake();
}

void request_spares() noexcept {
  Sched& s = sched();
  // relaxed: a wish; who looks at it under the lock before it is there is asked again.
  s.spares_wanted.store(kSpares, std::memory_order_relaxed);
  s.spares_note.wake();
}

bool spares_short(const Sched& s) noexcept {
  return idle_ms(s) < kSpares;
}

bool retire_spares(int64_t now_ns) noexcept {
  Sched& s = sched();
  M* leaving = nullptr;
  bool more;
  {
    LockGuard guard(s.lock);
    if (now_ns >= s.retire_at_ns) {
      s.retire_at_ns = now_ns + kRetireNs;
      leaving = take_idle_ones(s);
    }
    more = s.idle_m_count > 0 && surplus(s) > 0;
  }
  if (leaving == nullptr) return more;
  while (leaving != nullptr) {
    M* const next = leaving->retired_link;
    {
      LockGuard guard(s.lock);
      link_to(s.retiring, leaving);
    }
    leaving->note.wake();  // without a P: it leaves its loop
    leaving = next;
  }
  s.spares_note.wake();
  return more;
}

void retire_m(M* m) noexcept {
  Sched& s = sched();
  {
    LockGuard guard(s.lock);
    ++s.m_gone;
    link_to(s.retiring, m);
  }
  s.spares_note.wake();
}

int start_spares() noexcept {
  return os::newosproc0(sched().spares_os, kStackBytes, spares_main, nullptr);
}

void stop_spares() noexcept {
  Sched& s = sched();
  s.spares_over.store(true, std::memory_order_relaxed);  // relaxed: the note follows
  s.spares_note.wake();
  os::mdestroy(s.spares_os);
}

}  // namespace gort
