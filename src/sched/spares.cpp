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
    m->retired_link = taken;
    taken = m;
    ++s.m_gone;
  }
  return taken;
}

// SP3.
void reap(Sched& s) noexcept {
  for (;;) {
    M* m;
    {
      LockGuard guard(s.lock);
      m = s.retiring;
      if (m == nullptr) return;
      s.retiring = m->retired_link;
    }
    os::mdestroy(m->os);
    LockGuard guard(s.lock);
    m->retired_link = s.retired;
    s.retired = m;
  }
}

bool one_is_missing(Sched& s) noexcept {
  LockGuard guard(s.lock);
  // relaxed: as in request_spares().
  const int wanted = s.spares_wanted.load(std::memory_order_relaxed);
  if (s.spare_m_coming || idle_ms(s) >= wanted) return false;
  s.spare_m_coming = true;
  return true;
}

void spares_main(void*) noexcept {
  Sched& s = sched();
  os::minit(s.spares_os);
  for (;;) {
    s.spares_note.sleep();
    if (s.spares_over.load(std::memory_order_relaxed)) return;  // relaxed: behind the note
    reap(s);
    if (one_is_missing(s)) start_spare_m();
  }
}

}  // namespace

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
      leaving->retired_link = s.retiring;
      s.retiring = leaving;
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
    if (s.tick_ns == 0) return;  // nobody waits for it before the runtime does (X3 in exit.cpp)
    m->retired_link = s.retiring;
    s.retiring = m;
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
