// Counters of the live runtime.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "gort/export.hpp"

namespace gort {

// A snapshot; the counters are read one after the other while fibers run, so sums may be off by
// what happened meanwhile. Since the start of the runtime, unless a comment says otherwise.
struct runtime_stats {
  // Of one P.
  struct proc {
    uint32_t runq = 0;  // fibers queued now
  };
  uint64_t fibers = 0;       // alive now
  uint64_t spawned = 0;      // started so far
  uint64_t switches = 0;     // times a fiber was given a P
  uint64_t steals = 0;       // times fibers were taken from another P
  uint64_t parks = 0;        // waits that did not end at once
  uint64_t wakes = 0;        // fibers made ready by Ms
  uint64_t preemptions = 0;  // fibers made to give way
  uint64_t handoffs = 0;     // Ps given to another thread because theirs blocked
  int threads = 0;           // OS threads now, without sysmon
  // Of these, those that sleep and have no P.
  int idle_threads = 0;
  size_t stack_bytes_reserved = 0;  // address space
  size_t stack_bytes_resident = 0;  // memory; measured now, which takes a while with many fibers
  std::vector<proc> procs;          // as many as procs() says
  // The processor time behind which a fiber gives way to others, 0: never.
  std::chrono::nanoseconds slice{0};
  // What sees to it: "timer" (timers of each thread's processor time, which come with the kernel's own tick), "event" (perf
  // events of the task clock, precise), "watchman" (a look by gort's own thread), "off".
  const char* ticks = "off";
  const char* thread_backend = "none";  // "clone" or "pthread"
  std::string thread_backend_reason;    // why this one
  const char* guard = "none";           // "madvise", "protect_none" or "none"
};

// All zero without a runtime. Any thread.
GORT_API runtime_stats stats();

}  // namespace gort
