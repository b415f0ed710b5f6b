// syscall: one system call, straight to the kernel. Used by src/os/linux/*.cpp only.
//
// The result is the kernel's own: negative errno on failure. errno is not touched, which matters
// twice: a signal handler need not save it, and no compiler can keep the address of one thread's
// errno across a fiber's move to another thread (__errno_location() is declared const).
//
// Calls that move user data through descriptors (read, write, epoll_ctl) go through libc instead,
// so that the sanitizers see them; their functions are `noinline` for the reason above. (socket.cpp
// does so only where there is a sanitizer.)
//
// gort_raw_syscall6() stands in a file of its own, so that tests can put theirs before it at the link
// (docs/design/0012-faults.md). Its call and return take 1 to 2 ns of the 100 and more that a system
// call costs.
#pragma once

#include <sys/syscall.h>

// The kernel's result. C's name, since linkers know it by that.
extern "C" long gort_raw_syscall6(long nr, long a1, long a2, long a3, long a4, long a5,
                                  long a6) noexcept;

namespace gort::os {

// Pointers are passed as they are; arguments that are not given are 0.
template <class A1 = long, class A2 = long, class A3 = long, class A4 = long, class A5 = long,
          class A6 = long>
inline long raw_syscall(long nr, A1 a1 = 0, A2 a2 = 0, A3 a3 = 0, A4 a4 = 0, A5 a5 = 0,
                        A6 a6 = 0) noexcept {
  return gort_raw_syscall6(nr, (long)a1, (long)a2, (long)a3, (long)a4, (long)a5, (long)a6);
}

}  // namespace gort::os
