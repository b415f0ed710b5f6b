// thread_pthread: the back end that works everywhere. glibc owns the stack, with its guard page,
// and keeps it in its own cache between threads.
#include "os/linux/thread.hpp"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>

#include <algorithm>

#include "base/check.hpp"

namespace gort::os {
namespace {

// glibc takes static TLS and its thread descriptor out of the stack that one asks for. The function
// is private to glibc, but what the Java and Rust runtimes use for this; 0 where there is none.
size_t libc_share_of_stack() noexcept {
  using GetMinStack = size_t (*)(const pthread_attr_t*);
  static const size_t bytes = [] {
    const auto get = reinterpret_cast<GetMinStack>(dlsym(RTLD_DEFAULT, "__pthread_get_minstack"));
    pthread_attr_t attr;
    if (get == nullptr || pthread_attr_init(&attr) != 0) return size_t{0};
    const size_t min = get(&attr);
    pthread_attr_destroy(&attr);
    return min;
  }();
  return bytes;
}

}  // namespace

int pthread_start(mOS& os, size_t stack_bytes) noexcept {
  const size_t page = system_info().page_bytes;
  const size_t min_bytes = std::max(stack_bytes, static_cast<size_t>(PTHREAD_STACK_MIN));
  const size_t bytes = (min_bytes + libc_share_of_stack() + page - 1) & ~(page - 1);
  pthread_attr_t attr;
  if (const int error = pthread_attr_init(&attr)) return -error;
  int error = pthread_attr_setstacksize(&attr, bytes);
  if (error == 0) error = pthread_attr_setguardsize(&attr, page);
  // The handle is the thread's to publish (TH2): pthread_create() may store it late.
  pthread_t unused;
  if (error == 0) error = pthread_create(&unused, &attr, thread_main, &os);
  pthread_attr_destroy(&attr);
  return -error;
}

void pthread_reap(mOS& os) noexcept {
  // relaxed: mdestroy() has acquired it.
  const auto thread = reinterpret_cast<pthread_t>(os.thread.load(std::memory_order_relaxed));
  const int error = pthread_join(thread, nullptr);
  if (error != 0) fatal_value("TH1: an M can not be joined", error, __FILE__, __LINE__);
}

}  // namespace gort::os
