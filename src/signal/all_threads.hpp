// all_threads: one system call on every thread of the process, once each, and on all of them or on none.
//
// The kernel keeps user ids, capabilities, seccomp filters and the like for each thread; a program means all of its
// threads, those that gort did not make too. So a caller stops all of them by a signal, makes the call itself, and if it
// went well has every thread make it in its handler, before any goes on. Used by all_threads_syscall.cpp.
//
//   AT1  All or nothing: no thread makes the call before every thread of the process stands in the handler but the
//        caller, and nobody else can make one any more. As many have come as the kernel counts threads; a list of them
//        can be short.
//   AT2  Nobody goes on from the handler before all have made the call with the same result. A result that differs ends
//        the process: its threads have different rights, and nobody can say who has which.
//   AT3  Of a thread that has not come in time and the caller that gives it up one wins, by the thread's record. Who was
//        given up goes on at once when its signal comes, and touches nothing.
//   AT4  From the first signal to the end of the call the caller uses system calls and its own memory only: whoever is
//        stopped may hold any lock there is.
//   AT5  A signal that is not ours goes to the action that was there before, whenever it comes. That action is back when
//        no signal of ours can be on its way: after a call for which every living thread has come.
//   AT6  One caller at a time, in the order in which they have come. Who waits for its turn can be stopped like anybody
//        else. In the child of a fork, where the holder of the turn does not exist, there is a queue of its own.
//
// Signal 33 is the one by which glibc does the same for setuid() and its like: no function of libc blocks it, and gort's
// masks do not either, so it also reaches Ms that sleep in the handler of a tick, and threads that block all they can.
// glibc's own use may go on at the same time: its signals are told from ours by what they carry (it sends by tgkill), and
// handed to its handler at once or when we let the thread go. Its caller waits for its handlers with a lock of its own
// held, and we wait for nothing of glibc's, so one of the two always goes on.
//
// Rejected: libc's own broadcast (for nine calls only, and where gort runs on musl there is another); the ticks' signal
// (threads that gort did not make may block it, and M's that sleep for a P do); ptrace (needs another process, and the
// right to); stopping only what gort has made, as Go does (a library's thread that is left with root's rights is a hole).
#pragma once

#include <cstdint>

#include "base/mem.hpp"

namespace gort {

// Of the call: its number and arguments.
struct perThreadSyscallArgs {
  Plain<long> nr{0};
  Plain<long> args[6] = {};
};

// A thread that the caller knows of. Its address is what its signal carries. State diagram, by who moves it (AT3):
//
//   none --caller--> sent --thread--> arrived
//    ^                |
//    +-----caller-----+  it has ended, or is given up
struct TaskRecord {
  static constexpr uint32_t kNone = 0;
  static constexpr uint32_t kSent = 1;
  static constexpr uint32_t kArrived = 2;

  Atomic<uint32_t> state{kNone};
  int tid = 0;             // the caller's; 0: free
  Plain<long> result = 0;  // the thread's, then the caller's
};

struct AllThreadsResult {
  long result = 0;  // of the caller's own call
  int error = 0;    // not 0: nobody has made the call; -errno
  int tid = 0;      // who did not come, if that is known
};

// How long nobody may come before the caller gives up. Threads that the kernel does not interrupt are waiting for a disk
// or for the exec of a child of vfork: milliseconds, but for a broken network file system.
inline constexpr int64_t kAllThreadsPatienceNs = 3'000'000'000;

// Not in a signal handler; on a fiber inside a region (its P must not be given to another M meanwhile).
[[nodiscard]] AllThreadsResult doAllThreadsSyscall(
    long nr, const long (&args)[6], int64_t patience_ns = kAllThreadsPatienceNs) noexcept;

// The handler's part, on the thread that the record is of.
void take_part(TaskRecord* record) noexcept;

// The handler of the signal.
void perThreadSyscallSignal(int sig, void* info, void* context) noexcept;

}  // namespace gort
