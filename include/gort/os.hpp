// os: what the kernel keeps for each thread, for all threads of the process at once; and what it told the process at its
// start, for code that main has not handed its arguments.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "gort/export.hpp"

namespace gort::os {

// Makes one system call on every thread of the process, once each: setresuid, capset, prctl, unshare, setpriority and
// the like, whose effect the kernel keeps for each thread. Every thread means also those that gort has not made, and that
// block all signals. `nr` is a SYS_... of <sys/syscall.h>; pointers are passed as numbers.
//
// Returns the kernel's result: negative errno when it refuses. All threads are stopped first; then the caller makes the
// call, and if that fails, nobody else does. So either all threads have made it or none, and none goes on before all
// have. Threads that are made later inherit from threads that have made it. A result that is not the same on all threads
// ends the process: after a call such as gettid, or when another thread has a filter that refuses what the caller may do.
//
// Throws std::system_error if the threads can not be stopped, and has then changed nothing: device_or_resource_busy, with
// a thread's id in its text, after some three seconds in which a thread did not take a signal (it waits for a disk, a
// child of its vfork has not called exec yet, a debugger holds it, or it is a worker of io_uring, which never does);
// an errno of /proc, which must be there; not_enough_memory, function_not_supported.
//
// Takes some tens of microseconds, and some ten more for each thread; every thread of the process stands still
// meanwhile. System calls that it interrupts go on, but for those that no signal handler lets go on (signal(7)): poll,
// epoll_wait, select, nanosleep and sockets with a time limit fail with EINTR, as for any other signal.
//
// From fibers and from any thread, with or without a runtime; two callers wait for each other. Not from a signal handler.
// The call must return at once and on all threads: no exit, no fork, nothing that waits. libc's own setuid() and its like
// may be called at the same time, but not for what this call changes: the last one wins on each thread.
GORT_API long all_threads_syscall(long nr, long a1 = 0, long a2 = 0, long a3 = 0, long a4 = 0,
                                  long a5 = 0, long a6 = 0);

// The program's arguments, its name first, from /proc/self/cmdline; empty where there is no /proc. From any thread. Throws
// std::bad_alloc.
[[nodiscard]] GORT_API std::vector<std::string> arguments();

// The auxiliary vector: tag (AT_HWCAP, AT_PAGESZ, AT_SYSINFO_EHDR, ... of <elf.h>) and value, as the kernel gave them.
// getauxval(3) differs: libc puts numbers of its own in the place of some. Empty where there is no /proc. From any thread. Throws
// std::bad_alloc.
[[nodiscard]] GORT_API std::map<unsigned long, unsigned long> auxv();

}  // namespace gort::os
