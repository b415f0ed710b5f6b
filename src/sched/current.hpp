// current: which M, and which G, is running here. The one place that reads thread_local storage.
//
// A compiler may keep the address of a thread_local across a switch of stacks (GCC PR 26461), and
// the fiber may come back on another thread. So no thread_local is read directly: on x86-64 by
// volatile assembly, which is not cached or moved over other volatile assembly and calls; elsewhere
// by a function that is never inlined.
#pragma once

#include "base/random.hpp"
#include "sched/g.hpp"
#include "sched/m.hpp"

namespace gort {

// A thread's own random numbers under chaos (Z4 in chaos.hpp).
struct ThreadRandom {
  Random random;
  uint32_t run = 0;  // the run that they were seeded for
};

// What of a thread's processor time the profile has counted by the process's ticks (PF5 in src/signal/prof.hpp). Handlers
// on the thread use it.
enum class InProgram : uint8_t { no, yes };
struct ProfileShare {
  uint32_t profile = 0;                  // the one that counted_ns is of
  InProgram in_program = InProgram::no;  // whether the program's SIGPROF handler was called (PF6)
  int64_t counted_ns = 0;
};

struct Tls {
  M* m;       // the M this thread is, or nullptr on a foreign thread
  G* thread;  // a foreign thread's stand-in G, made on first use
  ThreadRandom random = {};
  ProfileShare share = {};
};

extern "C" {
__attribute__((tls_model("initial-exec"),
               visibility("hidden"))) extern thread_local constinit Tls gort_tls;
}

#if defined(__x86_64__)
[[nodiscard]] inline M* current_m() noexcept {
  M* m;
  asm volatile(
      "movq gort_tls@gottpoff(%%rip), %0\n\t"
      "movq %%fs:(%0), %0"
      : "=r"(m)
      :
      : "memory");
  return m;
}
#else
[[nodiscard]] M* current_m() noexcept;
#endif

void set_current_m(M* m) noexcept;

// The caller does not switch stacks while it uses them.
[[nodiscard]] ThreadRandom& thread_random() noexcept;
// The same; in a handler.
[[nodiscard]] ProfileShare& profile_share() noexcept;

// The G that runs here: a fiber, g0, or on a foreign thread its stand-in (made on first use).
[[nodiscard]] G* current_g() noexcept;
[[nodiscard]] G* foreign_g() noexcept;
// An address that no other thread that is alive has.
[[nodiscard]] const void* this_thread_mark() noexcept;

// The current fiber, or nullptr where none is (g0, foreign thread).
[[nodiscard]] inline G* current_fiber() noexcept {
  M* m = current_m();
  return m != nullptr && m->cur->kind == GKind::fiber ? m->cur : nullptr;
}

}  // namespace gort
