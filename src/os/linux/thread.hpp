// thread: what the files of the section "Threads" of os.hpp share with each other and their tests.
//
// newosproc() (thread.cpp) is one loop over attempts; an attempt is made by one of two back ends:
//   pthread  thread_pthread.cpp: pthread_create(), everywhere
//   clone    glibc_thread*.cpp: raw clone(2) into glibc's own start_thread, where that is known to
//            work
// thread_choice.cpp decides between them, once. Rejected ways: docs/design/0002-threads.md.
//
//   TH1  A thread that newosproc() made is for libc a thread like any other. Whoever can not
//        promise this for the libc at hand must not be chosen.
//   TH2  Once a thread can run, mOS is its own: the creator reads and writes nothing of it any
//        more, so that another thread may mdestroy() it before newosproc() has returned.
//   TH3  A failed attempt leaves no thread, no mapping and no entry on libc's lists.
//   TH4  The thread starts with every signal blocked but libc's own (32 and 33) and SIGSYS; blocking 33
//        would stop a setuid() of another thread for ever while it waits for this one, and SIGSYS is
//        how a sandbox answers system calls, those that make a thread, too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "os/os.hpp"

namespace gort::os {

// The one place that asks the compiler for a sanitizer. All of them (but UBSan, which does not
// care) learn of threads by intercepting pthread_create. A sanitizer in the program but not in gort
// is seen at run time, by its symbols (thread_choice.cpp).
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define GORT_THREADS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define GORT_THREADS_SANITIZED 1
#endif
#endif
#if defined(GORT_THREADS_SANITIZED)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

// An M runs the scheduler, and whatever runs on its own stack: libc's start and exit, TLS and key
// destructors. The hungriest libc call that we measured is printf with a long precision (31 KiB);
// getaddrinfo() takes 12 KiB, iostream 6. The rest is margin for modules that we do not know (NSS,
// preloaded libraries); untouched pages cost address space only. Instrumented frames are larger.
inline constexpr size_t kThreadStackBytes = (kSanitized ? size_t{1024} : size_t{256}) << 10;

inline constexpr uint64_t kBlockedAtBirth = kAllButLibcSignals & ~signal_bit(SIGSYS);  // TH4

// One attempt, without retries: 0 or -errno (TH2, TH3). os.start and os.start_arg are set, the
// signals of TH4 are blocked. The new thread runs thread_main(&os).
int pthread_start(mOS& os, size_t stack_bytes) noexcept;
void pthread_reap(mOS& os) noexcept;

// Signals that minit() lets in on an M's thread, whatever its creator or owner has blocked.
uint64_t signals_for(const mOS& os) noexcept;

// The routine of every thread, in the form of pthread_create(); `arg` is its mOS.
void* thread_main(void* arg) noexcept;

// newosproc() with the back end given: for it, for newosproc0() and for tests of both.
int newosproc_on(ThreadBackend backend, mOS& os, void (*start)(void*), void* arg,
                 size_t stack_bytes) noexcept;

// Calls attempt(arg) until it returns something else than -EAGAIN, at most kAttempts times, with
// pause_ns(...) between attempts. The result is the last one's.
inline constexpr int kAttempts = 20;
inline constexpr int64_t kPauseStepNs = 1'000'000;  // 1, 2, ..., 19 ms: 0.19 s in all, as Go does
int retry_on_eagain(int (*attempt)(void*), void* arg, void (*pause_ns)(int64_t)) noexcept;

// What the choice depends on, apart from what glibc_thread_learn() finds out.
struct ThreadSurroundings {
  bool sanitized = false;
  bool valgrind = false;
  bool static_program = false;
};
ThreadSurroundings thread_surroundings() noexcept;
// Pure: "" when the clone back end may be tried, else why not.
const char* clone_obstacle(const ThreadSurroundings& around) noexcept;

}  // namespace gort::os
