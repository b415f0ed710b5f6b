// prof: the CPU profiler's signals. Each tick of processor time interrupts the thread that has used it, and the handler
// notes whose stack that is. Called by src/observe/profile.cpp, which says where the notes go.
//
// A tick comes from one of two clocks. Each M has a timer of its thread's processor time (roll.hpp), precise and sent to
// that thread. Threads that gort did not make share the process's ITIMER_PROF, which counts the Ms' time too.
//
// The kernel means a tick of the process for the thread that runs, but if that has the signal blocked by then (a handler of
// another signal, whose tick came at the same time) it hands it on to any other thread, mostly one that sleeps. Without
// care, the profile of a program that computes for a minute on two Ms said that sysmon used a tenth of it. So SIGPROF is
// not blocked in its own handler, and a tick of the process counts as many periods as its thread has used.
//
//   PF5  What an M uses is counted once: by the ticks of its own timer if it has one, and then the process's ticks that
//        meet it are ignored; else by those. What other threads use is counted by the process's ticks (validSIGPROF), each
//        as much as its thread has used by its clock since the last. A thread's first tick counts one period.
//   PF6  A program's own SIGPROF handler stays: it gets every signal that is not from our clocks, and is there again
//        afterwards. If the program has put another one over ours meanwhile, that one stays. It is called as chain.hpp
//        says: by the kernel's rules (CH4 too), and none that comes in between is lost (CH2).
//   PF7  Behind setProcessCPUProfiler(0) no tick of ours can end the process. Behind set_samples(nullptr) no handler uses
//        the queue: a handler raises `inside`, then looks where the queue is; who ends it takes the queue away, then
//        waits until nobody is inside.
//   PF8  The handler may interrupt the runtime anywhere, and itself. It allocates nothing, takes no lock, calls no function that was not called before, and leaves errno
//        alone.
//   PF9  A program that blocks SIGPROF may take it by sigwait() and have no handler, so Ms leave it blocked where they have
//        found it so: there a profile's ticks are SIGURGs (PF1), which handler.cpp hands on. The process gets no ticks of ITIMER_PROF
//        then, which such a sigwait() would return: its threads that are no Ms are not sampled.
//
// Rejected: unblocking it in Ms while a profile runs (from another thread only by a signal, and again at its end; a tick of the
// program's in between ends the process).
#pragma once

#include <cstdint>

#include "os/os.hpp"
#include "signal/samples.hpp"

namespace gort {

struct M;

// Whose tick a SIGPROF is: a sample; one whose time another tick counts; or not from our clocks.
enum class ProfTick : uint8_t { counts, counted_elsewhere, not_ours };
// `info` is the siginfo_t.
[[nodiscard]] ProfTick validSIGPROF(const M* m, const void* info) noexcept;

// Whether a SIGURG is an M's tick of a profile; counts it then. In its handler; m is nullptr on a thread that is no M any more.
bool profile_tick(const M* m, const void* info, const void* context) noexcept;

// Starts `hz` ticks per second of processor time, in all threads that there are and will be; 0 ends them. By one caller at
// a time. 0 or -errno; nothing has begun then.
[[nodiscard]] int setProcessCPUProfiler(int hz) noexcept;

// By unsetsigstacks() of chain.hpp: if that is what stood before ours, it loses SA_ONSTACK.
void unsetprofstack(const os::SignalAction& put) noexcept;

// Where samples go from now on, or nullptr: then it returns when no handler uses the queue any more.
void set_samples(Samples* to) noexcept;
// How many periods of processor time no queue had room for, since the last call.
[[nodiscard]] uint64_t take_lost() noexcept;

}  // namespace gort
