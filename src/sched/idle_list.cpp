#include "sched/idle_list.hpp"

#include <algorithm>
#include <utility>

#include "base/mem.hpp"
#include "sched/procs.hpp"
#include "sched/sysmon.hpp"

namespace gort {
namespace {

// It is counted no more.
void begin_use(Sched& s, P* p) noexcept GORT_REQUIRES(s.lock) {
  p->use = PUse::held;
  // relaxed: under the lock, as sysmon's look (Y1).
  s.idle_p_count.fetch_sub(1, std::memory_order_relaxed);
}

P* take_lent_p(Sched& s) noexcept GORT_REQUIRES(s.lock) {
  for (P& each : s.all_procs()) {
    if (P* const p = take_if_lent(s, each); p != nullptr) return p;
  }
  return nullptr;
}

}  // namespace

P* take_if_lent(Sched& s, P& maybe) noexcept {
  // acquire: pairs with hold(). unmodelled: no model makes an M that others could see half.
  M* const m = maybe.m.load(std::memory_order_acquire);
  if (m == nullptr) return nullptr;
  Retake lent = Retake::lent;
  // acquire: pairs with the release in lend_p(); what was done with the P. unmodelled: as there.
  if (!m->retake.compare_exchange_strong(lent, Retake::taken, std::memory_order_acquire,
                                         std::memory_order_relaxed)) {
    return nullptr;
  }
  P* const p = m->p;
  m->p = nullptr;
  p->m.store(nullptr, std::memory_order_relaxed);  // relaxed: a hint (PR5)
  ++s.blocking_count;
  begin_use(s, p);
  return p;
}

void list_idle_p(Sched& s, P* p) noexcept {
  p->use = PUse::idle;
  p->idle_link = s.idle_p;
  s.idle_p = p;
  ++s.idle_p_listed;
  // relaxed: sysmon looks under the lock (Y1). For I2 there is a fence behind it.
  s.idle_p_count.fetch_add(1, std::memory_order_relaxed);
}

void give_back_p(Sched& s, P* p) noexcept {
  if (!fits(s, p)) return rest(s, p);
  p->m.store(nullptr, std::memory_order_relaxed);  // relaxed: a hint (PR5)
  list_idle_p(s, p);
}

void take_idle_p(Sched& s, P* p) noexcept {
  P** link = &s.idle_p;
  while (*link != p) link = &(*link)->idle_link;
  *link = std::exchange(p->idle_link, nullptr);
  --s.idle_p_listed;
  begin_use(s, p);
}

P* pop_idle_p(Sched& s) noexcept {
  if (P* const p = s.idle_p; p != nullptr) {
    take_idle_p(s, p);
    return p;
  }
  // acquire: pairs with the release in lend_p(): who has counted a P that is lent finds it. modelled in SparesModel.
  if (s.idle_p_count.load(std::memory_order_acquire) == 0) return nullptr;
  return take_lent_p(s);
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
  const bool locked = m->bond == Bond::locked;
  // On g0 a ladder that is due comes at once (F6). A fiber goes on to its next scheduling point. RP3, PR8: the ladder is there.
  const bool due_now = p->countdown == 0 && m->cur == &m->g0 && !locked;
  if (!due_now && (p->countdown == 0 || locked || procs_changed(sched(), *p))) p->countdown = 1;
  wake_sysmon();
}

int idle_ms(const Sched& s) noexcept {
  return s.idle_m_count + (s.poller_m != nullptr ? 1 : 0);
}

}  // namespace gort
