#include "sched/report.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "base/write.hpp"
#include "sched/pools.hpp"
#include "sched/sched.hpp"

namespace gort {

const char* wait_reason_name(WaitReason r) noexcept {
  switch (r) {
    case WaitReason::none:
      return "nothing";
    case WaitReason::chan_send:
      return "channel send";
    case WaitReason::chan_recv:
      return "channel receive";
    case WaitReason::chan_nil:
      return "nil channel";
    case WaitReason::sleep:
      return "sleep";
    case WaitReason::join:
      return "join";
    case WaitReason::mutex:
      return "mutex";
    case WaitReason::condition:
      return "condition variable";
    case WaitReason::wait_group:
      return "wait group";
    case WaitReason::semaphore:
      return "semaphore";
    case WaitReason::latch:
      return "latch";
    case WaitReason::barrier:
      return "barrier";
    case WaitReason::once:
      return "call_once";
    case WaitReason::shared_mutex:
      return "shared mutex";
    case WaitReason::future:
      return "future";
    case WaitReason::net_read:
      return "network read";
    case WaitReason::net_write:
      return "network write";
    case WaitReason::blocking:
      return "blocking call";
    case WaitReason::select:
      return "select";
  }
  return "?";
}

const char* state_name(GState s) noexcept {
  switch (s) {
    case GState::none:
      return "none";
    case GState::runnable:
      return "runnable";
    case GState::running:
      return "running";
    case GState::waiting:
      return "waiting";
    case GState::dead:
      return "dead";
  }
  return "?";
}

namespace {

// One line at a time through a fixed buffer: works in any state of the heap.
template <class... Args>
void print(int fd, fmt::format_string<Args...> format, Args&&... args) noexcept {
  char line[256];
  const auto end = fmt::format_to_n(line, sizeof line, format, std::forward<Args>(args)...);
  const size_t n = end.size < sizeof line ? end.size : sizeof line;
  write_text(fd, line, n);
}

constexpr int kFibersShown = 1000;  // a report of a million fibers helps nobody

}  // namespace

void report_fibers(int fd, const char* headline) noexcept {
  print(fd, "{}\n", headline);
  int shown = 0;
  int more = 0;
  for_each_slot([fd, &shown, &more](std::byte* top) {
    const G* g = slot_g(top);
    const GState state = g->get_state();
    if (state == GState::none || state == GState::dead) return;
    if (++shown > kFibersShown) {
      ++more;
      return;
    }
    print(fd, "  fiber {}{}{}{}: {}{}{}, started by {}\n", g->id, g->name[0] != '\0' ? " \"" : "",
          static_cast<const char*>(g->name), g->name[0] != '\0' ? "\"" : "", state_name(state),
          state == GState::waiting ? ", " : "",
          state == GState::waiting ? wait_reason_name(g->reason) : "", g->parent_id);
  });
  if (more != 0) print(fd, "  and {} more\n", more);
}

void report_deadlock() noexcept {
  constexpr int kStatus = 2;
  std::fflush(nullptr);  // what the program has printed so far belongs before the report
  report_fibers(STDERR_FILENO, "gort: deadlock: all fibers are asleep and nothing can wake them");
  _exit(kStatus);
}

void report_chaos(uint64_t seed) noexcept {
  print(STDERR_FILENO, "gort: chaos: seed {0}; repeat with GORT_DEBUG=chaos={0}\n", seed);
}

void report_no_thread(int error, int threads) noexcept {
  char why[64];
  print(STDERR_FILENO,
        "gort: can not make another OS thread ({}); going on with {}. Check 'ulimit -u', the "
        "cgroup's "
        "pids.max and kernel.threads-max.\n",
        strerror_r(-error, why, sizeof why), threads);
}

void report_max_threads(int threads) noexcept {
  print(STDERR_FILENO,
        "gort: all OS threads that options.max_threads allows ({}) are there, and one more is "
        "wanted: those that do not "
        "run fibers block. Other fibers wait until one is free. Raise options.max_threads "
        "(GORT_MAX_THREADS), or block "
        "in fewer fibers at once.\n",
        threads);
}

}  // namespace gort
