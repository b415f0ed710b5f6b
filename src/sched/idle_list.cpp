#include "sched/idle_list.hpp"

#include <algorithm>

#include "base/mem.hpp"
#include "sched/sysmon.hpp"

namespace gort {
namespace {

// PR7.
P* take_lent_p(Sched& s) noexcept GORT_REQUIRES(s.lock) {
  for (int i = 0; i < s.nprocs; ++i) {
    // acquire: pairs with hold(). unmodelled: no model makes an M that others could see half.
    M* const m = s.procs[i].m.load(std::memory_order_acquire);
    if (m == nullptr) continue;
    Retake lent = Retake::lent;
    // acquire: pairs with the release in lend_p(); what was done with the P. unmodelled: as there.
    if (!m->retake.compare_exchange_strong(lent, Retake::taken, std::memory_order_acquire,
                                           std::memory_order_relaxed)) {
      continue;
    }
    P* const p = m->p;
    m->p = nullptr;
    p->m.store(nullptr, std::memory_order_relaxed);  // relaxed: a hint (PR5)
    ++s.blocking_count;
    return p;
  }
  return nullptr;
}

}  // namespace

void push_idle_p(Sched& s, P* p) noexcept {
  p->m.store(nullptr, std::memory_order_relaxed);  // relaxed: a hint (PR5)
  p->idle_link = s.idle_p;
  s.idle_p = p;
  ++s.idle_p_listed;
  // release: sysmon, which finds all of them idle, sees what is left in their queues (Y1, I8).
  // modelled in SysmonModel. For I2 there is a fence behind it.
  s.idle_p_count.fetch_add(1, std::memory_order_release);
}

P* pop_idle_p(Sched& s) noexcept {
  P* p = s.idle_p;
  if (p != nullptr) {
    s.idle_p = p->idle_link;
    p->idle_link = nullptr;
    --s.idle_p_listed;
    // acquire: pairs with the release in lend_p(): who has counted a P that is lent finds it. modelled in SparesModel.
  } else if (s.idle_p_count.load(std::memory_order_acquire) == 0 ||
             (p = take_lent_p(s)) == nullptr) {
    return nullptr;
  }
  // seq_cst: Y1 in sysmon.cpp, modelled in SysmonModel.
  s.idle_p_count.fetch_sub(1, std::memory_order_seq_cst);
  return p;
}

void list_idle_m(Sched& s, M* m) noexcept {
  m->sleep = MSleep::note;
  m->idle_prev = nullptr;
  m->idle_next = s.idle_m;
  if (s.idle_m != nullptr) s.idle_m->idle_prev = m;
  s.idle_m = m;
  ++s.idle_m_count;
}

// I5. Called under the lock.
void delist(Sched& s, M* m) noexcept {
  if (m->sleep == MSleep::poller) {
    s.poller_m = nullptr;  // polling_m stays (I7)
  } else {
    M* const next = m->idle_next;
    if (m->idle_prev != nullptr) {
      m->idle_prev->idle_next = next;
    } else {
      s.idle_m = next;
    }
    if (next != nullptr) next->idle_prev = m->idle_prev;
    s.idle_m_least = std::min(s.idle_m_least, --s.idle_m_count);
  }
  m->sleep = MSleep::awake;
}

void hold(M* m, P* p) noexcept {
  m->p = p;
  // release: publishes the M itself to sysmon (PR5). unmodelled: no model makes an M that sysmon could see half.
  p->m.store(m, std::memory_order_release);
  p->ladder_at_ns = 0;
  if (p->countdown == 0 || m->bond == Bond::locked) p->countdown = 1;  // PR8
  wake_sysmon();
}

int idle_ms(const Sched& s) noexcept {
  return s.idle_m_count + (s.poller_m != nullptr ? 1 : 0);
}

}  // namespace gort
