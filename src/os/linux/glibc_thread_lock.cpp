// glibc_thread_lock: the lock of glibc's two lists of threads (dl_stack_cache_lock), in glibc's own
// protocol (lll_lock): 0 free, 1 taken, 2 taken and somebody sleeps on it.
//
// pthread_create, pthread_join, dlopen and setuid hold it for moments. A holder in setuid waits for
// every thread's answer to signal 33, so whoever waits here must have it open (TH4).
#include "os/linux/glibc_thread_layout.hpp"

#if GORT_GLIBC_THREADS

#include <linux/futex.h>

#include "os/os.hpp"

namespace gort::os {
namespace {
constexpr int kFree = 0, kTaken = 1, kContended = 2;
}  // namespace

void glibc_lock_take(int* word) noexcept {
  std::atomic_ref<int> lock(*word);
  int expected = kFree;
  // acquire: pairs with the release of whoever held it, glibc's or ours.
  if (lock.compare_exchange_strong(expected, kTaken, std::memory_order_acquire,
                                   std::memory_order_relaxed)) {
    return;
  }
  // acquire: as above.
  while (lock.exchange(kContended, std::memory_order_acquire) != kFree) {
    futex(word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, kContended, nullptr, nullptr, 0);
  }
}

void glibc_lock_give(int* word) noexcept {
  // release: pairs with the acquires above and in glibc; publishes the lists.
  if (std::atomic_ref<int>(*word).exchange(kFree, std::memory_order_release) > kTaken) {
    futex(word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, nullptr, nullptr, 0);
  }
}

}  // namespace gort::os

#endif  // GORT_GLIBC_THREADS
