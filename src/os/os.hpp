// os: everything the scheduler needs from an operating system, on one page.
//
// src/os/linux/*.cpp implement it. Another system is another set of .cpp files at link time, not an
// `#if`. Functions keep the names they have in the Go runtime's os_linux.go, so that whoever knows
// one finds the other. Errors come back as negative errno values unless a comment says otherwise.
// Nothing here knows a fiber, throws, or (but for the start-up functions) allocates.
#pragma once

#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "base/mem.hpp"

namespace gort::os {

// ---- Start-up (auxv.cpp, env.cpp) ---------------------------------------------------------------

// What osinit() learned. Written once before the first M exists, read-only afterwards.
struct SystemInfo {
  size_t page_bytes = 4096;
  size_t huge_page_bytes = 0;  // 0: none or unknown
  int cpus = 1;                // getproccount() at start-up
  size_t thread_limit = 0;     // RLIMIT_NPROC, 0: unlimited
  size_t map_limit = 65530;    // vm.max_map_count
  bool secure = false;         // AT_SECURE: settings that name files are ignored
};
const SystemInfo& system_info() noexcept;

void osinit() noexcept;              // idempotent and thread-safe
size_t descriptor_limit() noexcept;  // RLIMIT_NOFILE now, 0: unlimited
void sysargs(int argc, char** argv) noexcept;
int sysauxv(const unsigned long* auxv) noexcept;        // the number of pairs
void getRandomData(std::span<std::byte> out) noexcept;  // never blocks
const std::map<std::string, std::string>& goenvs();     // the environment
size_t getHugePageSize() noexcept;
int mincore(void* addr, size_t bytes, unsigned char* vec) noexcept;

// ---- Processors (cpu.cpp) -----------------------------------------------------------------------

int sched_getaffinity(int pid,
                      std::span<unsigned long> mask) noexcept;  // bytes filled in, or -errno
int getproccount() noexcept;  // affinity, then cgroup quota; at least 1
void osyield() noexcept;
void osyield_no_g() noexcept;
int getpid() noexcept;
int gettid() noexcept;

// ---- Places (place.cpp) --------------------------------------------------------------------------
//
// A thread that sleeps until another gives it something, wakes where that one runs, who sleeps then: the kernel would put
// it behind somebody else's thread. A Place is written by its thread, and by who wakes it (PC1).

struct CpuMask {
  static constexpr int kCpus = 1024;  // a machine with more has no places
  unsigned long words[kCpus / (8 * sizeof(unsigned long))] = {};
  friend bool operator==(const CpuMask&, const CpuMask&) = default;
};
struct Place {
  Plain<int> cpu =
      -1;  // the only one that the thread may use, until it has put `mask` back; -1: none
  CpuMask mask;
};
int getcpu() noexcept;         // of the caller; -1: unknown
void learn_places() noexcept;  // once; changes the calling thread's mask for a moment (PC3)
void pull_here(Place& place, int tid) noexcept;  // by who wakes it next and then sleeps
void settle_place(Place& place) noexcept;  // by the thread, once awake: it may run anywhere again

// ---- Clocks (clock.cpp) -------------------------------------------------------------------------

// The kernel's number for the clock of the processor time of a thread of this process.
constexpr int thread_cpu_clock(int tid) noexcept {
  constexpr unsigned kThreadsSchedClock = 6;  // CPUCLOCK_PERTHREAD and CPUCLOCK_SCHED
  return static_cast<int>(~static_cast<unsigned>(tid) << 3 | kThreadsSchedClock);
}
// Processor time that a thread of this process has used, in ns; -errno if it has ended. 0: the caller.
int64_t thread_cpu_ns(int tid) noexcept;
int64_t nanotime() noexcept;  // CLOCK_MONOTONIC in ns, the clock of every timer of gort

// ---- Sleeping and waking an M (futex.cpp) -------------------------------------------------------

inline constexpr int64_t kForever = -1;
long futex(const void* addr, int op, uint32_t val, const void* ts, const void* addr2,
           uint32_t val3) noexcept;
// Sleeps while *addr == val, at most ns (kForever: no limit). May return early for any reason.
void futexsleep(const Atomic<uint32_t>* addr, uint32_t val, int64_t ns) noexcept;
// Wakes at most n sleepers. An error is a broken invariant: message and abort.
void futexwakeup(const Atomic<uint32_t>* addr, uint32_t n) noexcept;

// ---- Fences that cost one side only (fence.cpp) -------------------------------------------------
//
// A light fence on the hot side and a heavy one on the rare side order a store before a load on
// both sides, as two seq_cst fences would (Dekker). The heavy one is membarrier(PRIVATE_EXPEDITED);
// where the kernel refuses it, light fences become real ones.

extern Atomic<bool> light_fence_is_real;  // true until osinit() can rely on membarrier
inline void fence_light() noexcept {
  // relaxed: FE2 in fence.cpp.
  if (__builtin_expect(light_fence_is_real.load(std::memory_order_relaxed), 0)) {
    Mem::fence(std::memory_order_seq_cst);
  } else {
    Mem::compiler_fence();  // the other side's heavy fence does the rest (FE1)
  }
}
void fence_heavy() noexcept;

// ---- Signals (signal.cpp) -----------------------------------------------------------------------
//
// As the kernel sees them: a set of signals is 64 bits, signal 1 the lowest; 32 and 33 are libc's own. Everything here may
// be called in a handler.

constexpr uint64_t signal_bit(int sig) noexcept {
  return uint64_t{1} << (sig - 1);
}
inline constexpr uint64_t kAllButLibcSignals = ~(signal_bit(32) | signal_bit(33));
// What says that a thread can not go on, SIGSYS where a filter refuses a system call by SECCOMP_RET_TRAP: blocked, it ends the
// process without a word.
inline constexpr uint64_t kFaultSignals = signal_bit(SIGSEGV) | signal_bit(SIGBUS) |
                                          signal_bit(SIGFPE) | signal_bit(SIGILL) |
                                          signal_bit(SIGTRAP) | signal_bit(SIGSYS);

// The kernel's struct sigaction. `handler` is also SIG_DFL or SIG_IGN, as a pointer.
struct SignalAction {
  void (*handler)(int sig, void* info, void* context) = nullptr;
  unsigned long flags = 0;
  void (*restorer)() = nullptr;
  uint64_t mask = 0;  // blocked while the handler runs, beside the signal itself
};
// The kernel's stack_t.
struct AltStack {
  void* low = nullptr;
  int flags = 0;  // of an old one: 1: the thread runs on it, 2: there is none
  size_t bytes = 0;
};

// Whether it is a function, and neither SIG_DFL nor SIG_IGN.
bool has_handler(const SignalAction& action) noexcept;

// 0 or -errno: -EINVAL for a signal that there is not, or that cannot be handled. A handler without a restorer gets ours
// where the processor needs one; null pointers leave out what they are for.
int rt_sigaction(int sig, const SignalAction* action, SignalAction* old) noexcept;
// SIG_IGN. What is pending of a signal that becomes ignored is gone, at every thread.
SignalAction ignoring() noexcept;
// Where handlers with SA_ONSTACK run on this thread. -EPERM: it runs there now; -ENOMEM: too small for this processor.
int sigaltstack(const AltStack* stack, AltStack* old) noexcept;
// `how` is SIG_BLOCK, SIG_UNBLOCK or SIG_SETMASK.
int rtsigprocmask(int how, const uint64_t* set, uint64_t* old) noexcept;
// Sets this thread's mask and returns the old one.
uint64_t sigprocmask(uint64_t mask) noexcept;
// To one thread of this process. -ESRCH: it has ended.
int tgkill(int tid, int sig) noexcept;
// The same, so that handlers can tell it from what the program sends itself.
int signal_thread(int tid, int sig) noexcept;
// Who has sent a signal, by its siginfo_t. unknown: signal_thread() where the kernel does not tell its signals from others,
// or others of this process.
enum class Sender : uint8_t { signal_thread, unknown, others };
Sender sender_of(const void* info) noexcept;
int raise(int sig) noexcept;      // to this thread
int raiseproc(int sig) noexcept;  // to the process, whichever of its threads may take it

// ---- What surrounds us (library.cpp) --------------------------------------------------------------

// Where gort is part of a shared library: that library stays loaded from now on, whatever dlclose() says. Handlers, the
// place that they return to, and destructors of other threads' variables are its code, and somebody may have kept their
// addresses. True: it is one, and stays.
bool pin_library() noexcept;
// Whether a sanitizer is in the program, in gort or elsewhere.
bool sanitizer_present() noexcept;
// What a handler's third argument says of the code that was interrupted (sigctxt.cpp).
struct SignalContext {
  uintptr_t pc;  // of the instruction that comes next
  uintptr_t sp;
  uintptr_t fp;  // where code is compiled with frame pointers
};
SignalContext signal_context(const void* context) noexcept;
// In a handler, with its third argument, of a signal that nobody has asked for: if it has cut short a system call that has done nothing
// yet, that call is made again once the handler has returned, instead of failing with EINTR (sigrestart.cpp). True: it will.
bool restart_cut_call(void* context) noexcept;
// Whether it ever does: elsewhere too little is known of the call.
#if defined(__x86_64__)
inline constexpr bool kRestartsCutCalls = true;
#else
inline constexpr bool kRestartsCutCalls = false;
#endif

// ---- Timers that send signals (timer.cpp) --------------------------------------------------------

using TimerId = int;
enum class TimerClock : uint8_t { monotonic, thread_cpu };

// A timer that sends `sig` to thread `tid` of this process, not armed; handlers find `value` in the signal's si_ptr.
// thread_cpu is the clock of thread `tid`, whoever calls, and ticks only while that thread runs. 0 or -errno: -EAGAIN,
// -ENOMEM: the user has no more (RLIMIT_SIGPENDING); -EINVAL: there is no such thread.
int timer_create(TimerClock clock, int tid, int sig, void* value, TimerId* timer) noexcept;
// First after `first_ns` (0: never), then every `period_ns` (0: no more). A tick that is late is one tick.
int timer_settime(TimerId timer, int64_t first_ns, int64_t period_ns) noexcept;
int timer_delete(TimerId timer) noexcept;
// The process's ITIMER_PROF: SIGPROF to whichever thread runs, each time the process has used so much processor
// time, precise to a microsecond; 0: off.
int setitimer(int64_t period_ns) noexcept;

// ---- Ticks (tick.cpp) ----------------------------------------------------------------------------

// What tells a thread by SIGURG that it has used so much processor time. timer: a timer of its processor time, looked at
// by the kernel at its own tick, some milliseconds apart; event: a perf event of the task clock, precise, where the
// kernel allows it; watchman: nothing, somebody else has to look and send the signal.
enum class TickSource : uint8_t { none, timer, event, watchman };

int64_t kernel_tick_ns() noexcept;
// The best for this period that the machine has; `wish` other than none is taken if there is such a thing. For `event` tries
// whether the kernel allows it, which costs two system calls.
TickSource choose_tick_source(int64_t tick_ns, TickSource wish) noexcept;
struct mOS;
// On the thread itself, by minit() and unminit(): mOS::tick_source as wished; nothing to be had is no error.
void begin_ticks(mOS& os) noexcept;
void end_ticks(mOS& os) noexcept;
// In the child of a fork, which inherits events, but no timers: closes its copy.
void forget_ticks(mOS& os) noexcept;
// Whether a signal (its siginfo_t) is a tick of this thread, whose record may be null.
bool is_tick(const mOS* os, const void* info) noexcept;
// Its address is the value of the signals that a thread's timer sends.
extern char tick_mark;

// ---- Threads (thread.cpp) -----------------------------------------------------------------------

enum class ThreadBackend : uint8_t { none, clone, pthread };

// The per-M record of this layer. Owner: the M, from the moment newosproc() is called until
// mdestroy() returns; `tid` may be read by others once it is not 0.
struct mOS {
  Atomic<int> tid{0};             // kernel thread id, written by minit()
  Atomic<void*> thread{nullptr};  // back end's handle (a pthread_t), set before start() runs
  ThreadBackend backend = ThreadBackend::none;  // who made the thread; none: a borrowed one
  void* mapping = nullptr;                      // back end's stack mapping, if it owns one
  size_t mapping_bytes = 0;
  void (*start)(void*) = nullptr;
  void* start_arg = nullptr;
  uint64_t creator_mask = 0;  // the creator's signal mask, which minit() restores
  int house = -1;             // of a thread that has called minitHouse()
  int timer_slack_ns = 0;     // of a borrowed thread, which unminit() restores
  // Preemption: what sends SIGURG to the thread, and after how much processor time each time. Where handlers run.
  TickSource tick_source = TickSource::none;
  int64_t tick_ns = 0;
  TimerId timer = -1;
  int tick_event = -1;
  void* signal_stack = nullptr;
  size_t signal_stack_bytes = 0;
  AltStack old_signal_stack;  // what the thread had before minit()
  uint64_t old_mask = 0;      // of a borrowed thread
  Place place;
};

// Before the thread exists, by who makes it: its signal stack, with a guard. -ENOMEM.
int mpreinit(mOS& os) noexcept;

// Makes M's thread; it runs start(arg) on a stack of stack_bytes (0: the default, 256 KiB) with all
// signals but libc's own (32 and 33) and SIGSYS blocked until it calls minit(). 0, or -EAGAIN/-ENOMEM after
// growing pauses of 0.2 s in all; -ENOTSUP: GORT_THREADS=clone and it cannot be had (the reason
// says why). After a failure `os` owns nothing. The thread must end by returning from `start`, and
// be released with mdestroy(). Takes malloc's and libc's locks: see docs/design/0002-threads.md.
int newosproc(mOS& os, void (*start)(void*), void* arg, size_t stack_bytes = 0) noexcept;
// The same without a scheduler context, always an ordinary pthread. Used for sysmon.
[[nodiscard]] int newosproc0(mOS& os, size_t stack_bytes, void (*start)(void*), void* arg) noexcept;
// What minit() and unminit() do about the signal stack (signal_stack.cpp). A thread's own one is kept if it is large enough.
void minitSignalStack(mOS& os) noexcept;
void unminitSignalStack(mOS& os) noexcept;
void setSignalstackSP(AltStack& stack, void* low, size_t bytes) noexcept;

// First call on the new thread: tid, signal mask, timer slack; signal stack, and timer if there shall be ticks, if
// mpreinit() was called.
void minit(mOS& os) noexcept;
// The same where no code of the program's shall run, so that nothing of it holds the thread up: all is blocked but faults. Ms
// that such a thread makes have the mask of who has made the thread.
inline constexpr uint64_t kBlockedInHouse = kAllButLibcSignals & ~kFaultSignals;
void minitHouse(mOS& os) noexcept;
void unminit(mOS& os) noexcept;  // before a borrowed thread goes back to its owner
// By which signal a timer may interrupt the calling thread, whose record that is, for a profile: SIGPROF; SIGURG where that is
// blocked, since then it is the program's, which may take it by sigwait() and have no handler; 0: by none.
int profiling_signal(const mOS& os) noexcept;
// In the child of a fork, which inherits it, and so would what it exec()s: the program's timer slack instead of ours. Nothing
// of gort's is called in children of vfork(), posix_spawn() and system(): they have an M's.
void forget_timer_slack() noexcept;
// In the child of a fork, which has none of the threads that called minitHouse().
void forget_house() noexcept;
// Waits for the thread's end in the kernel, releases what it owned. May be called as soon as
// start() has begun, even before newosproc() has returned to the creator; not by the thread itself.
void mdestroy(mOS& os) noexcept;
// True if the thread has ended in the kernel, so that mdestroy() does not wait. False may be old, or about another thread that has its
// number now. Behind minit().
[[nodiscard]] bool has_ended(const mOS& os) noexcept;
ThreadBackend thread_backend() noexcept;       // what newosproc uses; none before the first use
const char* thread_backend_reason() noexcept;  // why, in one line, for stats() and error messages
// Learns and checks the back end now. `forced`: "clone", "pthread" or empty. False with *error set
// when it cannot be had, or another one was chosen before. The first call (or newosproc) decides.
bool choose_thread_backend(std::string_view forced, std::string* error);
// What the kernel says of a thread of this process: 'R' it runs or could, 'S' and 'D' it waits in the kernel, and other
// letters (see proc(5)); 0: it has ended, or there is no /proc. About 4 us.
char thread_state(int tid) noexcept;
int count_threads() noexcept;  // threads of this process, one that is ending too; or -errno

// ---- The threads of the process, whoever made them (tasks.cpp) ----------------------------------
//
// For who has stopped all other threads, and so may use nothing that one of them may hold: no libc, and nothing that a
// sanitizer sees.

// The kernel's list of them. Owner: one thread.
struct TaskList {
  int dir = -1;
  int stat = -1;
  unsigned at = 0;  // in `entries`
  unsigned end = 0;
  alignas(8) char entries[4096] = {};
};
struct TaskCount {
  int threads = 0;            // that have not quite ended, the one below included
  bool leader_ended = false;  // the first thread, which stays on the list until all have ended
};

// 0 or -errno. -ENOTSUP: the /proc at hand counts processes otherwise than this process does.
int tasks_open(TaskList& list) noexcept;
void tasks_close(TaskList& list) noexcept;
int tasks_rewind(TaskList& list) noexcept;  // to the beginning: 0 or -errno
// The next thread's id, 0 behind the last, or -errno. A list that is read while threads end may lack some.
int tasks_next(TaskList& list) noexcept;
int tasks_count(const TaskList& list, TaskCount* count) noexcept;  // exact: 0 or -errno
// Sends a signal to a thread of this process, or with sig 0 asks whether it is there; handlers find `value` in si_ptr,
// and SI_QUEUE. -ESRCH: it has ended; -EAGAIN: RLIMIT_SIGPENDING.
int queue_signal(int tid, int sig, void* value) noexcept;
long system_call(long nr, const long (&args)[6]) noexcept;  // the kernel's result

// ---- Memory (mem.cpp) ---------------------------------------------------------------------------

void* mem_map(size_t bytes) noexcept;  // private, zeroed, readable and writable; nullptr: ENOMEM
// Address space for stacks: untouched pages cost nothing, never huge pages, not dumped to cores
// twice. `align` is a power of two. nullptr when refused.
void* mem_reserve(size_t bytes, size_t align) noexcept;
void mem_unmap(void* addr, size_t bytes) noexcept;
void mem_discard(void* addr, size_t bytes) noexcept;  // MADV_DONTNEED: guards survive, pages do not
int mem_guard_install(void* addr,
                      size_t bytes) noexcept;  // MADV_GUARD_INSTALL; -EINVAL: old kernel
// The same for `count` guards of `bytes`, `stride` apart; returns how many, from the first on.
size_t mem_guard_install_each(void* first, size_t stride, size_t count, size_t bytes) noexcept;
int mem_protect_none(void* addr, size_t bytes) noexcept;  // PROT_NONE guard; splits the mapping
size_t mem_resident(const void* addr, size_t bytes) noexcept;  // bytes resident, by mincore()

// ---- Descriptors (poll.cpp, pipe.cpp) -----------------------------------------------------------

// Layout of struct epoll_event, which the kernel packs on x86-64 only.
#if defined(__x86_64__)
struct __attribute__((packed)) PollEvent {
#else
struct PollEvent {
#endif
  uint32_t events;
  uint64_t data;
};

int epoll_create() noexcept;  // close-on-exec
int epoll_add(int epfd, int fd, uint32_t events, uint64_t data) noexcept;
int epoll_del(int epfd, int fd) noexcept;
// ns < 0: for ever, 0: do not wait. Nanosecond precision where the kernel has epoll_pwait2.
int epoll_wait(int epfd, std::span<PollEvent> out, int64_t ns) noexcept;
int eventfd() noexcept;                     // close-on-exec, non-blocking
int pipe2(int fds[2], int flags) noexcept;  // close-on-exec, non-blocking | flags
enum class FdWait : uint8_t { read, write };
// Blocks the thread in poll(2) until fd may be read or written. 1: ready, 0: time is up, < 0:
// -errno.
int poll_fd(int fd, FdWait what, int64_t ns) noexcept;
void fd_shutdown(int fd) noexcept;                   // both directions of a socket
long fd_read(int fd, void* buf, size_t n) noexcept;  // one read(2), -errno on error
long fd_write(int fd, const void* buf, size_t n) noexcept;
long pipe_write(int fd, const void* buf, size_t n) noexcept;  // the same without SIGPIPE
long sock_recv(int fd, void* to, size_t n) noexcept;          // one recv(2), -errno on error
long sock_send(int fd, const void* from, size_t n) noexcept;  // one send(2), no SIGPIPE
void fd_close(int fd) noexcept;

}  // namespace gort::os
