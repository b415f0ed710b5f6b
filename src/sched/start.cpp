// How Ms begin: start_m(), start_spare_m() of idle.hpp. What happens where no thread can be made is I8 in idle.cpp.
#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

#include "base/mem.hpp"
#include "base/thread_safety.hpp"
#include "sched/chaos.hpp"
#include "sched/idle.hpp"
#include "sched/idle_list.hpp"
#include "sched/loop.hpp"
#include "sched/preempt.hpp"
#include "sched/report.hpp"
#include "sched/spares.hpp"

namespace gort {
namespace {

// I8. An attempt that fails takes up to 0.2 s (newosproc), and it is some fiber's ready() that waits for it.
constexpr int64_t kNoThreadFactor = 10;
constexpr int64_t kNoThreadNsMin = 10'000'000;

extern "C" void gort_m_main(void* arg) {
  M* m = static_cast<M*>(arg);
  os::minit(m->os);
  m_enter(m);
  P* p = m->next_p;
  m->next_p = nullptr;
  if (p != nullptr) hold(m, p);
  schedule_loop(m);
  m_leave();
}

// What an attempt to make M's thread has come to. `m` is nullptr where there was no memory for it.
bool end_start(M* m, int error, int64_t begin_ns) noexcept {
  Sched& s = sched();
  const int64_t now_ns = os::nanotime();
  const bool known = m != nullptr && m->retired_before;
  // Not under the lock: malloc's is one that user code can hold.
  if (error != 0 && !known) delete m;
  bool said;
  int threads;
  {
    LockGuard guard(s.lock);
    --s.m_starting;
    if (error == 0) {
      if (!known) {
        m->all_link = s.all_m;
        s.all_m = m;
      }
      s.no_thread = false;
      return true;
    }
    ++s.m_gone;
    if (known) {
      m->retired_link = s.retired;
      s.retired = m;
    }
    s.no_thread_until_ns = now_ns + std::max(kNoThreadNsMin, kNoThreadFactor * (now_ns - begin_ns));
    said = std::exchange(s.no_thread, true);
    threads = s.m_count - s.m_gone;
  }
  // Not under the lock: a write to stderr may block.
  if (!said) report_no_thread(error, threads);
  return false;
}

enum class MayStart : uint8_t { yes, not_now, too_many };

// Counts the M that is to be made, and takes a record that has served before (SP2), if there is one.
MayStart begin_start(Sched& s, int64_t now_ns, M** m, int* id) noexcept {
  LockGuard guard(s.lock);
  if (now_ns < s.no_thread_until_ns) return MayStart::not_now;
  // X2 in exit.cpp, modelled in ExitModel. relaxed: under the lock.
  if (Mem::recheck(s.phase.load(std::memory_order_relaxed) == Phase::exiting)) {
    return MayStart::not_now;
  }
  if (s.m_count - s.m_gone >= s.max_threads) {
    return std::exchange(s.no_thread, true) ? MayStart::not_now : MayStart::too_many;
  }
  ++s.m_starting;  // X2
  *m = s.retired;
  if (*m == nullptr) {
    *id = s.m_count++;
  } else {
    s.retired = (*m)->retired_link;
    *id = (*m)->id;
    --s.m_gone;
  }
  return MayStart::yes;
}

bool make_m(P* p, MSearch search) noexcept {
  Sched& s = sched();
  const int64_t begin_ns = os::nanotime();
  M* m = nullptr;
  int id = 0;
  switch (begin_start(s, begin_ns, &m, &id)) {
    case MayStart::yes:
      break;
    case MayStart::too_many:
      report_max_threads(s.max_threads);
      return false;
    case MayStart::not_now:
      return false;
  }
  if (s.tick_ns == 0) (void)reap(s);  // SP3; as one who starts an M, for whom the run's end waits
  const bool known = m != nullptr;
  if (!known) m = new (std::nothrow) M;
  if (m == nullptr) return end_start(nullptr, -ENOMEM, begin_ns);
  m->retired_before = known;
  m->id = id;
  m->search = search;
  m->next_p = p;
  m->is_new_spare = p == nullptr;
  m->os.tick_ns = s.tick_ns;
  m->os.tick_source = s.tick_source;
  int error = os::mpreinit(m->os);
  chaos_point(ChaosPoint::start_thread);
  if (error == 0) error = os::newosproc(m->os, gort_m_main, m);
  if (error != 0 && m->os.signal_stack != nullptr) {
    os::mem_unmap(m->os.signal_stack, m->os.signal_stack_bytes);
    m->os.signal_stack = nullptr;
  }
  return end_start(m, error, begin_ns);
}

}  // namespace

bool start_m(P* p, MSearch search) noexcept {
  if (sched().tick_ns == 0) return make_m(p, search);
  request_spare();
  return false;
}

void start_spare_m() noexcept {
  if (make_m(nullptr, MSearch::no)) return;
  LockGuard guard(sched().lock);
  sched().spare_m_coming = false;
}

}  // namespace gort
