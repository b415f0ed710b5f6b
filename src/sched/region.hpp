// region: whether an M is inside the runtime, where its fiber must not be taken from it.
//
// A fiber that is interrupted at an arbitrary instruction stays on its M, and the M's P goes to another one
// (preempt.cpp). That is wrong while the runtime is at work: it holds locks that every M needs, has read
// M::p, or stands between two stacks. So whatever a program calls of gort's declares its region:
//
//   RG1  M::in_runtime is set while the M runs code of the runtime: on g0 always, on a fiber from the first look at M or
//        P, or the first lock, until the last. The fiber's first frame clears it before it calls the program's function.
//   RG2  Switches happen inside a region, and the mark belongs to the M: who comes back on another M finds that one's
//        set, and clears that one's.
//   RG3  Who is to give way in a region is marked (M::give_way) and does so when he leaves it.
//   RG4  What a region calls takes no lock that a program can hold while it is interrupted: no malloc, no stdio. The
//        program's functions are called outside: bodies of fibers, destructors of results, stop callbacks, handlers of
//        exceptions. Moves of a channel's elements, which must not throw, are the exception.
//
// Rejected: telling by the interrupted instruction's address (the runtime calls libc); a count in each lock (what must
// not be interrupted is more than locks); blocking signals (two system calls).
#pragma once

#include "base/mem.hpp"
#include "sched/current.hpp"
#include "sched/preempt.hpp"

namespace gort {

class Region {
 public:
  Region() noexcept {
    M* m = current_m();
    if (m == nullptr) return;
    // relaxed: between a thread and a handler that runs on it.
    nested_ = m->in_runtime.load(std::memory_order_relaxed);
    if (nested_) return;
    m->in_runtime.store(true, std::memory_order_relaxed);  // relaxed: the fence follows
    os::fence_light();                                     // PR5: the mark before the look
    // relaxed: the fence orders it.
    if (__builtin_expect(m->retake.load(std::memory_order_relaxed) != Retake::no, 0))
      settle_retake(m);
  }
  ~Region() {
    if (!nested_) leave();
  }
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  // Ends it before its scope: the program's code follows, or an exception.
  void leave() noexcept {
    M* m = current_m();
    nested_ = true;
    if (m == nullptr) return;
    // release: PR5; who takes the P finds all that was done with it.
    m->in_runtime.store(false, std::memory_order_release);
    Mem::compiler_fence();  // RG3, against a handler on this thread: the end before the look
    // relaxed: a tick that comes now finds us outside.
    if (__builtin_expect(m->give_way.load(std::memory_order_relaxed), 0)) give_way_late(m);
  }

 private:
  bool nested_ = false;
};

// Behind leave_region(), where the runtime goes on.
inline void enter_region() noexcept {
  if (M* m = current_m(); m != nullptr) {
    m->in_runtime.store(true, std::memory_order_relaxed);  // relaxed: as in Region
    os::fence_light();                                     // PR5
    // relaxed: as in Region.
    if (m->retake.load(std::memory_order_relaxed) != Retake::no) settle_retake(m);
  }
}

// Before an exception is thrown from inside a region: what unwinds takes malloc's and the loader's locks (RG4).
inline void leave_region() noexcept {
  if (M* m = current_m(); m != nullptr) {
    m->in_runtime.store(false, std::memory_order_release);  // release: as in Region
  }
}

}  // namespace gort
