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
// This is one of the few files whose job it is to know the processor.
#pragma once

#include <sys/syscall.h>

#if !defined(__x86_64__) && !defined(__aarch64__)
#include <unistd.h>

#include <cerrno>
#endif

namespace gort::os {

inline long raw_syscall6(long nr, long a1, long a2, long a3, long a4, long a5, long a6) noexcept {
#if defined(__x86_64__)
  long ret;
  register long r10 __asm__("r10") = a4;
  register long r8 __asm__("r8") = a5;
  register long r9 __asm__("r9") = a6;
  __asm__ volatile("syscall"
                   : "=a"(ret)
                   : "a"(nr), "D"(a1), "S"(a2), "d"(a3), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return ret;
#elif defined(__aarch64__)
  register long x8 __asm__("x8") = nr;
  register long x0 __asm__("x0") = a1;
  register long x1 __asm__("x1") = a2;
  register long x2 __asm__("x2") = a3;
  register long x3 __asm__("x3") = a4;
  register long x4 __asm__("x4") = a5;
  register long x5 __asm__("x5") = a6;
  __asm__ volatile("svc 0"
                   : "+r"(x0)
                   : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                   : "memory", "cc");
  return x0;
#else
  const long ret = ::syscall(nr, a1, a2, a3, a4, a5, a6);
  return ret == -1 ? -errno : ret;
#endif
}

// Pointers are passed as they are; arguments that are not given are 0.
template <class A1 = long, class A2 = long, class A3 = long, class A4 = long, class A5 = long,
          class A6 = long>
inline long raw_syscall(long nr, A1 a1 = 0, A2 a2 = 0, A3 a3 = 0, A4 a4 = 0, A5 a5 = 0,
                        A6 a6 = 0) noexcept {
  return raw_syscall6(nr, (long)a1, (long)a2, (long)a3, (long)a4, (long)a5, (long)a6);
}

}  // namespace gort::os
