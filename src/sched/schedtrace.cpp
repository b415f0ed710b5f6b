#include "sched/schedtrace.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <utility>

#include "base/write.hpp"
#include "sched/census.hpp"
#include "sched/sched.hpp"

namespace gort {

void print_schedtrace() noexcept {
  Sched& s = sched();
  fmt::memory_buffer out;
  uint32_t global;
  int threads;
  int blocking;
  {
    LockGuard guard(s.lock);
    global = s.globq_size();
    threads = s.m_count - s.m_gone;
    blocking = s.blocking_count;
  }
  // relaxed: numbers for people.
  fmt::format_to(std::back_inserter(out),
                 "SCHED {}ms: procs={} idleprocs={} threads={} spinningthreads={} blocking={} "
                 "fibers={} runqueue={} [",
                 os::nanotime() / 1'000'000, s.procs_limit.load(std::memory_order_relaxed),
                 s.idle_p_count.load(std::memory_order_relaxed), threads,
                 s.spinning.load(std::memory_order_relaxed), blocking, count_fibers(), global);
  const char* space = "";
  for (const P& p : s.all_procs()) {
    fmt::format_to(std::back_inserter(out), "{}{}", std::exchange(space, " "), p.runq.size());
  }
  fmt::format_to(std::back_inserter(out), "]\n");
  write_text(STDERR_FILENO, out.data(), out.size());
}

}  // namespace gort
