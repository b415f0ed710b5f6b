// glibc_thread: makes and reaps raw threads, once layout and proofs are there.
//
// The child enters glibc's start_thread with the descriptor as its argument, just as the child of
// pthread_create() does; everything from there to the end of the thread is glibc's own code. What
// is ours is the memory, the descriptor's first contents, the place on the list, and the system
// call. So pthread_join() reaps it, setuid() and dlopen() find it, gdb shows it.
#include "os/linux/glibc_thread.hpp"

#include <cerrno>

#include "os/linux/glibc_thread_layout.hpp"
#include "os/linux/thread.hpp"

#if GORT_GLIBC_THREADS

#include <pthread.h>
#include <sched.h>

#include <memory>

#include "base/check.hpp"

// glibc_thread_clone.cpp
extern "C" long gort_glibc_clone(unsigned long flags, void* stack, int* ptid, int* ctid, void* tls,
                                 int (*fn)(void*));

namespace gort::os {
namespace {

// As glibc's own, so that what knows one (ptrace tools, emulators, seccomp filters) knows the
// other.
constexpr unsigned long kCloneFlags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND |
                                      CLONE_SYSVSEM | CLONE_THREAD | CLONE_SETTLS |
                                      CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
// In flags: the caller's scheduling fields are valid, so they are inherited (ATTR_FLAG_SCHED_SET
// and ATTR_FLAG_POLICY_SET of glibc's internal header).
constexpr uint32_t kFlagsInherited = 0x20 | 0x40;
// From a mutex's list node to its lock word, in the pthread_mutex_t of the x86-64 ABI.
constexpr long kRobustFutexOffset =
    static_cast<long>(offsetof(pthread_mutex_t, __data.__lock)) -
    static_cast<long>(offsetof(pthread_mutex_t, __data.__list.__next));

GlibcLayout learned;

// The descriptor is zero (TS2); this writes what a new thread's has, and nothing else (TL2).
void fill_descriptor(const GlibcLayout& layout, const GlibcStack& stack, uint64_t signal_mask,
                     void* (*routine)(void*), void* arg) noexcept {
  void* tcb = stack.tcb(layout);
  void* self = reinterpret_cast<void*>(pthread_self());
  const GlibcOffsets& at = layout.at;
  glibc_field<void*>(tcb, kHeadTcb) = tcb;
  glibc_field<void*>(tcb, kHeadSelf) = tcb;
  glibc_field<int>(tcb, kHeadThreaded) = 1;
  for (const size_t offset : {kHeadCanary, kHeadPointerGuard}) {
    glibc_field<uintptr_t>(tcb, offset) = glibc_field<uintptr_t>(self, offset);
  }
  glibc_field<uint32_t>(tcb, kHeadShadowStack) = glibc_field<uint32_t>(self, kHeadShadowStack);

  void* robust = &glibc_field<void*>(tcb, at.robust_head);
  glibc_field<void*>(tcb, at.robust_prev) = robust;
  glibc_field<void*>(tcb, at.robust_head) = robust;
  glibc_field<long>(tcb, at.robust_head + sizeof(void*)) = kRobustFutexOffset;
  glibc_field<void*>(tcb, at.keys) = &glibc_field<std::byte>(tcb, at.first_keys);

  glibc_field<uint32_t>(tcb, at.flags) =
      (layout.flags & ~kFlagsInherited) | (glibc_field<uint32_t>(self, at.flags) & kFlagsInherited);
  for (const size_t offset : {at.sched_priority, at.sched_policy}) {
    glibc_field<int>(tcb, offset) = glibc_field<int>(self, offset);
  }
  glibc_field<bool>(tcb, at.user_stack) = true;
  glibc_field<void*>(tcb, at.stack) = stack.low();
  glibc_field<size_t>(tcb, at.stack_bytes) = stack.bytes();
  glibc_field<uint64_t>(tcb, at.signal_mask) = signal_mask;
  glibc_field<void* (*)(void*)>(tcb, at.start_routine) = routine;
  glibc_field<void*>(tcb, at.arg) = arg;
}

void list_add(GlibcListNode* head, GlibcListNode* node) noexcept {
  node->next = head->next;
  node->prev = head;
  head->next->prev = node;
  // release: as glibc does it; a fork in another thread copies a list that leads somewhere.
  std::atomic_ref<GlibcListNode*>(head->next).store(node, std::memory_order_release);
}

void list_del(GlibcListNode* node) noexcept {
  node->next->prev = node->prev;
  node->prev->next = node->next;
}

void count_thread(const GlibcLayout& layout, int change) noexcept {
  // relaxed: a count; glibc's last thread, which acts on reaching 0, is ordered by its own exit.
  std::atomic_ref<unsigned>(*layout.threads)
      .fetch_add(static_cast<unsigned>(change), std::memory_order_relaxed);
}

std::string learn_once() {
  GlibcLayout layout;
  std::string wrong = glibc_learn_symbols(layout);
  if (!wrong.empty()) return wrong;
  const GlibcStack stack = glibc_stack_take(layout, kThreadStackBytes);
  if (stack.mapping == nullptr) return "no memory for a probe";
  auto entry = std::make_unique<GlibcEntry>();
  entry->layout = &layout;
  wrong = glibc_probe(layout, stack, *entry);
  if (wrong.empty()) wrong = glibc_check(layout, stack, *entry);
  if (!wrong.empty()) {
    // A thread may still be on the stack and use the entry: both stay where they are.
    static_cast<void>(entry.release());
    return wrong;
  }
  glibc_stack_give(layout, stack);
  learned = layout;
  return "";
}

}  // namespace

const GlibcLayout& glibc_layout() noexcept {
  return learned;
}

bool glibc_thread_learn(std::string& why) {
  if (learned.start_thread != nullptr) return true;
  const uint64_t old_mask = sigprocmask(kBlockedAtBirth);  // probes run no user's handler
  why = learn_once();
  sigprocmask(old_mask);
  return why.empty();
}

int glibc_clone_thread(const GlibcLayout& layout, const GlibcStack& stack, uint64_t signal_mask,
                       void* (*routine)(void*), void* arg) noexcept {
  void* tcb = stack.tcb(layout);
  if (layout.allocate_tls(tcb) == nullptr) return -ENOMEM;
  fill_descriptor(layout, stack, signal_mask, routine, arg);
  GlibcListNode* node = &glibc_field<GlibcListNode>(tcb, layout.at.list);
  int* tid = &glibc_field<int>(tcb, layout.at.tid);
  count_thread(layout, +1);
  // The lock is held across clone: a thread that is on the list answers setuid()'s signal, and one
  // that does not exist yet could not.
  glibc_lock_take(layout.stack_lock);
  list_add(layout.stacks_user, node);
  const long rc =
      gort_glibc_clone(kCloneFlags, stack.top(layout), tid, tid, tcb, layout.start_thread);
  if (rc < 0) list_del(node);
  glibc_lock_give(layout.stack_lock);
  if (rc >= 0) return 0;
  count_thread(layout, -1);
  layout.deallocate_tls(tcb, false);
  return static_cast<int>(rc);
}

int glibc_thread_start(mOS& os, size_t stack_bytes) noexcept {
  const GlibcLayout& layout = glibc_layout();
  const GlibcStack stack = glibc_stack_take(layout, stack_bytes);
  if (stack.mapping == nullptr) return -ENOMEM;
  // All of os is written before the thread exists (TH2).
  os.mapping = stack.mapping;
  os.mapping_bytes = stack.mapping_bytes;
  os.thread.store(stack.tcb(layout), std::memory_order_relaxed);  // relaxed: clone orders it
  const int error = glibc_clone_thread(layout, stack, kBlockedAtBirth, thread_main, &os);
  if (error == 0) return 0;
  os.thread.store(nullptr, std::memory_order_relaxed);  // relaxed: no thread was made
  os.mapping = nullptr;
  os.mapping_bytes = 0;
  glibc_stack_give(layout, stack);  // TH3
  return error;
}

void glibc_thread_reap(mOS& os) noexcept {
  pthread_reap(os);
  glibc_stack_give(glibc_layout(), {static_cast<std::byte*>(os.mapping), os.mapping_bytes});
  os.mapping = nullptr;
  os.mapping_bytes = 0;
}

}  // namespace gort::os

#else

namespace gort::os {

bool glibc_thread_learn(std::string& why) {
  why = "only glibc on x86-64 is supported";
  return false;
}

int glibc_thread_start(mOS&, size_t) noexcept {
  return -ENOSYS;
}

void glibc_thread_reap(mOS&) noexcept {}

}  // namespace gort::os

#endif  // GORT_GLIBC_THREADS
