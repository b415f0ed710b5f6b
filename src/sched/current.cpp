#include "sched/current.hpp"

#include <cxxabi.h>

#include <cstdlib>
#include <new>

#include "base/check.hpp"
#include "base/thread_safety.hpp"
#include "sched/fork.hpp"
#include "sched/locals.hpp"

namespace gort {

extern "C" {
thread_local constinit Tls gort_tls{nullptr, nullptr};
// NOLINTNEXTLINE(bugprone-reserved-identifier): the linker calls it so
extern void* __dso_handle __attribute__((visibility("hidden")));
}

#if !defined(__x86_64__)
__attribute__((noinline)) M* current_m() noexcept {
  asm volatile("" ::: "memory");
  return gort_tls.m;
}
#endif

__attribute__((noinline)) void set_current_m(M* m) noexcept {
  gort_tls.m = m;
}

__attribute__((noinline)) ThreadRandom& thread_random() noexcept {
  asm volatile("" ::: "memory");
  return gort_tls.random;
}

__attribute__((noinline)) ProfileShare& profile_share() noexcept {
  asm volatile("" ::: "memory");
  return gort_tls.share;
}

namespace {

// Stand-ins of foreign threads are recycled and never freed: a waker may still look at the word of
// one whose thread has gone on and ended (a spurious futex wake at most).
struct ForeignPool {
  Lock lock;
  G* free GORT_GUARDED_BY(lock) = nullptr;
};
ForeignPool foreign_pool;

// FK2.
const bool forgets_pool = on_fork([]() noexcept {
  if (foreign_pool.lock.held()) new (&foreign_pool) ForeignPool;
});

G* take_foreign() noexcept {
  {
    LockGuard guard(foreign_pool.lock);
    if (G* g = foreign_pool.free; g != nullptr) {
      foreign_pool.free = g->link;
      g->link = nullptr;
      return g;
    }
  }
  void* memory = std::aligned_alloc(alignof(G), sizeof(G));
  GORT_CHECK(memory != nullptr, "out of memory for a foreign thread's record");
  G* g = new (memory) G;
  g->kind = GKind::thread;
  g->state.store(GState::running,
                 std::memory_order_relaxed);  // relaxed: not shared before it waits
  return g;
}

// Gives the stand-in back when its thread ends. Destructors that come behind it may take another.
void give_back_foreign(void* record) {
  G* const g = static_cast<G*>(record);
  end_locals_of(g);
  gort_tls.thread = nullptr;
  LockGuard guard(foreign_pool.lock);
  g->link = foreign_pool.free;
  foreign_pool.free = g;
}

}  // namespace

__attribute__((noinline)) G* foreign_g() noexcept {
  if (gort_tls.thread == nullptr) {
    G* g = take_foreign();
    gort_tls.thread = g;
    // As for a thread_local made now: one itself is destroyed once, and would be made no more.
    __cxxabiv1::__cxa_thread_atexit(give_back_foreign, g, &__dso_handle);
  }
  return gort_tls.thread;
}

__attribute__((noinline)) const void* this_thread_mark() noexcept {
  asm volatile("" ::: "memory");
  return &gort_tls;
}

void check_in_region() noexcept {
  const M* m = current_m();
  // relaxed: our own.
  GORT_CHECK(m == nullptr || m->in_runtime.load(std::memory_order_relaxed),
             "RG1: a lock of the runtime is taken outside a region");
}

G* current_g() noexcept {
  M* m = current_m();
  return m != nullptr ? m->cur : foreign_g();
}

}  // namespace gort
