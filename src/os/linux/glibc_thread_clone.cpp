// glibc_thread_clone: clone(2) for a raw thread. In a file of its own, so that tests can put theirs
// before it at the link (docs/design/0012-faults.md).
#include "os/linux/glibc_thread_layout.hpp"

#if GORT_GLIBC_THREADS

// long gort_glibc_clone(unsigned long flags, void* stack, int* ptid, int* ctid, void* tls,
//                       int (*fn)(void*));
// The child calls fn(tls) on its stack and must not return from it. "Undefined rip" and a zero
// frame pointer end every unwinder's walk there.
asm(R"(
.text
.p2align 4
.globl gort_glibc_clone
.hidden gort_glibc_clone
.type gort_glibc_clone, @function
gort_glibc_clone:
  .cfi_startproc
  endbr64
  mov %rcx, %r10
  mov $56, %eax
  syscall
  test %rax, %rax
  jz 1f
  ret
1:
  .cfi_undefined rip
  xor %ebp, %ebp
  mov %r8, %rdi
  call *%r9
  hlt
  .cfi_endproc
.size gort_glibc_clone, .-gort_glibc_clone
)");

#endif  // GORT_GLIBC_THREADS
