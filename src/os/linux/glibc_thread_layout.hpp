// glibc_thread_layout: what the clone back end knows of glibc's insides, and how it learned it.
//
// Shared by the glibc_thread*.cpp files and their tests, nobody else.
//
//   TL1  An offset is used only if it stands in the table for this very version of glibc *and*
//        agrees with whatever glibc itself publishes for debuggers (_thread_db_*), *and* a probe
//        thread made by pthread_create() had there what had to be there.
//   TL2  Fields that are zero in a new thread are not in the table: a descriptor starts zeroed, and
//        the comparison of a real and a raw descriptor (glibc_thread_check.cpp) shows that no more
//        is needed.
#pragma once

#include <features.h>

// The one condition under which the clone back end is compiled at all.
#if defined(__x86_64__) && defined(__GLIBC__)
#define GORT_GLIBC_THREADS 1
#else
#define GORT_GLIBC_THREADS 0
#endif

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace gort::os {

// Where fields lie in glibc's struct pthread, in bytes from the descriptor (= thread pointer).
struct GlibcOffsets {
  size_t list, tid, robust_prev, robust_head, cancelhandling, flags, first_keys, keys,
      report_events, user_stack, sched_priority, sched_policy, start_routine, arg, stack,
      stack_bytes, signal_mask, rseq, rseq_bytes;
};

// The header of the descriptor, which the x86-64 ABI fixes: what compiled code reads from %fs:.
inline constexpr size_t kHeadTcb = 0x00, kHeadDtv = 0x08, kHeadSelf = 0x10, kHeadThreaded = 0x18,
                        kHeadCanary = 0x28, kHeadPointerGuard = 0x30, kHeadShadowStack = 0x48;

struct GlibcListNode {
  GlibcListNode* next;
  GlibcListNode* prev;
};

struct GlibcLayout {
  GlibcOffsets at{};
  size_t tcb_bytes = 0;  // sizeof(struct pthread)
  size_t tls_bytes = 0;  // static TLS with the descriptor at its end
  size_t tls_align = 0;
  void* (*allocate_tls)(void* tcb) = nullptr;
  void (*deallocate_tls)(void* tcb, bool with_tcb) = nullptr;
  unsigned* threads = nullptr;               // __nptl_nthreads
  GlibcListNode* stacks_used = nullptr;      // threads whose stacks are glibc's
  GlibcListNode* stacks_user = nullptr;      // threads whose stacks are not: main and ours
  int* stack_lock = nullptr;                 // of both lists
  int (*start_thread)(void* tcb) = nullptr;  // learned from the probe
  uint32_t flags = 0;                        // learned from the probe
};

// Written by glibc_thread_learn() before the first raw thread exists, constant afterwards.
const GlibcLayout& glibc_layout() noexcept;

template <class T>
T& glibc_field(void* tcb, size_t offset) noexcept {
  return *reinterpret_cast<T*>(static_cast<char*>(tcb) + offset);
}

// ---- glibc_thread_layout.cpp: version, symbols, descriptors. "" or what is wrong.
std::string glibc_learn_symbols(GlibcLayout& out);
// Pure: the table's row for a version ("2.36"), nullptr when we have none.
const GlibcOffsets* glibc_table(const char* version, size_t& tcb_bytes) noexcept;

// ---- glibc_thread_stack.cpp: stacks of raw threads. A mapping is a guard page, the stack, static
// TLS and the descriptor, from low to high.
struct GlibcStack {
  std::byte* mapping = nullptr;  // nullptr: none
  size_t mapping_bytes = 0;

  [[nodiscard]] std::byte* low() const noexcept;                    // above the guard
  [[nodiscard]] size_t bytes() const noexcept;                      // from low() to the end
  [[nodiscard]] void* tcb(const GlibcLayout&) const noexcept;       // where glibc too would put it
  [[nodiscard]] std::byte* top(const GlibcLayout&) const noexcept;  // where the first frame starts
};
GlibcStack glibc_stack_take(const GlibcLayout& layout, size_t stack_bytes) noexcept;
void glibc_stack_give(const GlibcLayout& layout, GlibcStack stack) noexcept;

// ---- glibc_thread_lock.cpp: the lock of glibc's lists of threads, taken as glibc takes it.
void glibc_lock_take(int* word) noexcept;
void glibc_lock_give(int* word) noexcept;

// ---- glibc_thread.cpp: one raw thread. 0 or -errno; after an error the stack is still the
// caller's.
int glibc_clone_thread(const GlibcLayout& layout, const GlibcStack& stack, uint64_t signal_mask,
                       void* (*routine)(void*), void* arg) noexcept;

// ---- glibc_thread_probe.cpp: learns start_thread and flags from an ordinary pthread, and verifies
// table, lists and lock with it. Leaves the probe's descriptor, as it was at the routine's entry,
// in `entry` for the comparison. "" or what is wrong.
inline constexpr size_t kTcbBytesMax = 4096;
struct GlibcSnapshot {
  std::byte bytes[kTcbBytesMax];
};

// The routine of both kinds of probes, and what it notes at its entry.
struct GlibcEntry {
  const GlibcLayout* layout;
  GlibcSnapshot snapshot;              // of the descriptor, first thing
  void* tcb;                           // pthread_self()
  void* fs_self;                       // %fs:0x10
  void* caller;                        // the return address of the routine
  int tid;                             // gettid(2)
  void (*then)(GlibcEntry&) noexcept;  // the rest of the routine
  void* context;                       // for `then`
};
void* glibc_entry_main(void* arg);  // a GlibcEntry

std::string glibc_probe(GlibcLayout& layout, const GlibcStack& stack, GlibcEntry& entry);

// ---- glibc_thread_check.cpp: raw threads against the real one. "" or what is wrong.
// `entry` is the probe's, because its address is part of the comparison. After an error a thread
// that hangs may still use stack and entry.
std::string glibc_check(const GlibcLayout& layout, const GlibcStack& stack, GlibcEntry& entry);
// Pure: the offset of the first word in which the two differ though nothing explains it; -1: none.
long glibc_unexplained_difference(const GlibcLayout& layout, const GlibcStack& stack,
                                  const GlibcSnapshot& real, const GlibcSnapshot& raw) noexcept;

// The signal mask of the probes: distinctive, and what the comparison expects in both.
uint64_t glibc_probe_mask() noexcept;

// Yields until done(context) or the time is over; whether it was done.
bool glibc_wait(bool (*done)(void*), void* context) noexcept;

}  // namespace gort::os
