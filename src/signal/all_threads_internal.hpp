// all_threads_internal: what a call on all threads keeps, for all_threads.cpp and for its model, which begins anew in
// each run.
#pragma once

#include <cstdint>

#include "base/mem.hpp"
#include "os/os.hpp"
#include "signal/all_threads.hpp"

namespace gort {

// Records by thread id, with open addressing; a quarter of the places stays free.
struct alignas(TaskRecord) TaskTable {
  TaskTable* older;  // of calls that have given up: late signals carry their records' addresses
  uint32_t bytes;
  uint32_t places;  // a power of two
  uint32_t used;
  TaskRecord* records() noexcept { return static_cast<TaskRecord*>(static_cast<void*>(this + 1)); }
};

struct AllThreads {
  // What the threads that have come are to do. Each steps on once.
  static constexpr uint32_t kStop = 0;
  static constexpr uint32_t kRun = 1;
  static constexpr uint32_t kLeave = 2;

  // AT6: of the callers of one process, by numbers; and a count of turns that have ended, to sleep on.
  Atomic<uint64_t> queue{0};
  Atomic<uint32_t> turns{0};
  Atomic<uint32_t> phase{kStop};
  // Of those who have been signalled, how many have yet to come; of those who have come, to make the call; to leave.
  Atomic<uint32_t> missing{0};
  // What handlers know our signals by, as numbers: the places of the records of this call.
  Atomic<uintptr_t> records_begin{0};
  Atomic<uintptr_t> records_end{0};
  // The rest is the caller's.
  int pid = 0;
  int tid = 0;
  int sig = 0;
  TaskTable* table = nullptr;
  uint32_t comers = 0;  // signalled, and not known to have ended
  bool leader_ended = false;
  os::TaskList tasks;
};

extern AllThreads all_threads;

}  // namespace gort
