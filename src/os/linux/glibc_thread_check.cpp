// glibc_thread_check: raw threads before anyone relies on them.
//
// First a raw thread on the very stack on which the real probe ran, with the same routine, argument
// and mask: its descriptor must be the same word for word, but for what is known to differ. Then
// one that does what C++ programs do. Both are joined with a time limit; a thread that hangs is
// left alone with its stack, and pthread is used.
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <memory>
#include <stdexcept>

#include "os/linux/glibc_thread_layout.hpp"
#include "os/linux/thread.hpp"

#if GORT_GLIBC_THREADS

namespace gort::os {
namespace {

constexpr int kJoinSecondsMax = 1;

void no_more(GlibcEntry&) noexcept {}

bool join_in_time(void* tcb) noexcept {
  timespec deadline{};
  clock_gettime(CLOCK_MONOTONIC, &deadline);
  deadline.tv_sec += kJoinSecondsMax;
  return pthread_clockjoin_np(reinterpret_cast<pthread_t>(tcb), nullptr, CLOCK_MONOTONIC,
                              &deadline) == 0;
}

void* zeroed_tcb(const GlibcLayout& layout, const GlibcStack& stack) noexcept {
  std::byte* top = stack.top(layout);
  std::fill(top, stack.mapping + stack.mapping_bytes, std::byte{0});
  return stack.tcb(layout);
}

// What the second raw thread saw. It outlives a thread that hangs.
struct Exercise {
  void* tcb = nullptr;
  int tid = 0;
  bool errno_is_own = false;
  bool caught = false;
  bool knows_cpu = false;
  bool thread_local_destroyed = false;
  bool key_destroyed = false;
  pthread_key_t key{};
};

struct TellsItsEnd {
  Exercise* exercise = nullptr;
  ~TellsItsEnd() {
    if (exercise != nullptr) exercise->thread_local_destroyed = true;
  }
};
// For the exercise alone, the only way to see that destructors run; fibers never touch it.
thread_local TellsItsEnd tells_its_end;

void key_destructor(void* arg) {
  static_cast<Exercise*>(arg)->key_destroyed = true;
}

void* exercise_main(void* arg) {
  Exercise& x = *static_cast<Exercise*>(arg);
  x.tcb = reinterpret_cast<void*>(pthread_self());
  x.tid = gettid();
  tells_its_end.exercise = &x;
  pthread_setspecific(x.key, &x);
  errno = 0;
  x.knows_cpu = sched_getcpu() >= 0;
  errno = EDOM;
  try {
    throw std::runtime_error("gort: a raw thread's first exception");
  } catch (const std::exception&) {
    x.caught = true;
  }
  x.errno_is_own = errno == EDOM;
  return nullptr;
}

std::string judge(const Exercise& x, void* tcb) {
  if (x.tcb != tcb) return "pthread_self is wrong on a raw thread";
  if (!x.errno_is_own) return "errno is wrong on a raw thread";
  if (!x.caught) return "an exception was lost on a raw thread";
  if (!x.knows_cpu) return "sched_getcpu fails on a raw thread";
  if (!x.thread_local_destroyed) return "a thread_local was not destroyed at a raw thread's end";
  if (!x.key_destroyed) return "a key was not destroyed at a raw thread's end";
  return "";
}

std::string compare_with_real(const GlibcLayout& layout, const GlibcStack& stack,
                              GlibcEntry& entry) {
  const auto real = std::make_unique<GlibcSnapshot>(entry.snapshot);
  entry.then = no_more;
  void* tcb = zeroed_tcb(layout, stack);
  if (glibc_clone_thread(layout, stack, glibc_probe_mask(), glibc_entry_main, &entry) != 0) {
    return "no raw thread can be made";
  }
  if (!join_in_time(tcb)) return "a raw thread does not end";
  if (glibc_field<int>(&entry.snapshot, layout.at.tid) != entry.tid || entry.tcb != tcb) {
    return "tid or pthread_self is wrong on a raw thread";
  }
  const long differs = glibc_unexplained_difference(layout, stack, *real, entry.snapshot);
  if (differs < 0) return "";
  return "struct pthread of a raw thread differs at offset " + std::to_string(differs);
}

std::string exercise(const GlibcLayout& layout, const GlibcStack& stack) {
  auto x = std::make_unique<Exercise>();
  if (pthread_key_create(&x->key, key_destructor) != 0) return "no key is free for the self-check";
  void* tcb = zeroed_tcb(layout, stack);
  const int error = glibc_clone_thread(layout, stack, glibc_probe_mask(), exercise_main, x.get());
  std::string wrong;
  if (error != 0) {
    wrong = "no raw thread can be made";
  } else if (!join_in_time(tcb)) {
    wrong = "a raw thread that throws and has thread_locals does not end";
    (void)x.release();  // the thread may still write to it
    return wrong;
  }
  if (wrong.empty()) wrong = judge(*x, tcb);
  pthread_key_delete(x->key);
  return wrong;
}

}  // namespace

long glibc_unexplained_difference(const GlibcLayout& layout, const GlibcStack& stack,
                                  const GlibcSnapshot& real, const GlibcSnapshot& raw) noexcept {
  const GlibcOffsets& at = layout.at;
  const struct {
    size_t begin, end;
  } explained[] = {
      {kHeadDtv, kHeadDtv + sizeof(void*)},        // from malloc
      {at.list, at.list + sizeof(GlibcListNode)},  // neighbours
      {at.tid, at.tid + sizeof(void*)},            // the kernel's
      {at.rseq, at.rseq + at.rseq_bytes},          // the processor it runs on
  };
  const auto low = reinterpret_cast<uintptr_t>(stack.low());
  const auto high = reinterpret_cast<uintptr_t>(stack.top(layout));
  for (size_t i = 0; i < layout.tcb_bytes; i += sizeof(uintptr_t)) {
    uintptr_t a = 0;
    uintptr_t b = 0;
    std::memcpy(&a, &real.bytes[i], sizeof a);
    std::memcpy(&b, &raw.bytes[i], sizeof b);
    bool same = a == b;
    for (const auto& range : explained) same = same || (i >= range.begin && i < range.end);
    // Where start_thread's frame lies (cleanup_jmp_buf) depends on what called it.
    const bool both_on_stack = a >= low && a < high && b >= low && b < high;
    if (!same && !both_on_stack) return static_cast<long>(i);
  }
  return -1;
}

std::string glibc_check(const GlibcLayout& layout, const GlibcStack& stack, GlibcEntry& entry) {
  std::string wrong = compare_with_real(layout, stack, entry);
  return wrong.empty() ? exercise(layout, stack) : wrong;
}

}  // namespace gort::os

#endif  // GORT_GLIBC_THREADS
