// fork: what the child of a fork() finds of gort. docs/design/0019-fork-and-shutdown.md
//
// The child has one thread, the one that has called fork(), and the memory of all. Called by the C library in the child
// (pthread_atfork); not for vfork(), posix_spawn(), system() and popen(), whose children share the parent's memory until exec.
//
//   FK1  If there was a runtime at the fork, begun or ending, the child has none, and never again: no M, no fiber, no P. The code that
//        forked goes on as on a thread of the program. What has to wait ends the process ("gort: fatal", fatal_after_fork()), what
//        starts something throws std::logic_error; what needs nobody else works. Nothing hangs, so each wait that relies on other
//        threads looks at after_fork where it begins to take long.
//   FK2  If there was none, the child is as good as new. What is kept from run to run, and was in another thread's hands at the
//        fork, is forgotten there (on_fork).
//   FK3  The parent notices nothing: the child touches no thread of it, none of its descriptors but to close its own copies, and
//        writes to its memory nowhere.
//   FK4  A socket or another descriptor that others used at the fork is the child's own copy, with the handle alone: its use and its close wait for
//        nobody, and shut nothing down, since the connection is the parent's, too; a release that was under way leaves it open or closes it. Counts of users and of threads in poll(2)
//        are put right where the child begins, before anybody looks at them.
//
// Rejected: taking every lock of gort before the fork, as libc does with malloc's (the child could do no more: its
// fibers' threads are gone; and every fork would stop the scheduler while the kernel copies page tables); comparing process ids at
// every call, or a page that the kernel clears in the child (a look in every call, for what happens in no program that
// works); a runtime that starts anew in the child (its fibers stand in the middle of what the parent does).
#pragma once

#include "sched/sched.hpp"

namespace gort {

// `forget` is called in the child of each fork, on its only thread, where nothing may wait. By initialisers of variables;
// the value is true.
bool on_fork(void (*forget)() noexcept) noexcept;

}  // namespace gort
