// sanitizer: tells ASan and TSan what this layer does behind their backs, and is nothing otherwise.
//
// This is one of the few files whose job it is to know the sanitizer; src/sched/sanitizer.hpp, for
// switches of stacks, is another.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define GORT_OS_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define GORT_OS_TSAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GORT_OS_ASAN 1
#elif __has_feature(thread_sanitizer)
#define GORT_OS_TSAN 1
#endif
#endif

#if defined(GORT_OS_ASAN)
#include <sys/mman.h>

#include "os/linux/syscall.hpp"

extern "C" void __asan_unpoison_memory_region(const volatile void*, size_t);
extern "C" void __asan_get_shadow_mapping(size_t* scale, size_t* offset);
#endif
#if defined(GORT_OS_TSAN)
extern "C" void __tsan_acquire(void*);
extern "C" void __tsan_release(void*);
#endif

namespace gort::os {

// An order between threads that goes through the kernel alone: everything before release(x) happens
// before everything after a later acquire(x).
inline void tsan_acquire([[maybe_unused]] void* order) noexcept {
#if defined(GORT_OS_TSAN)
  __tsan_acquire(order);
#endif
}
inline void tsan_release([[maybe_unused]] void* order) noexcept {
#if defined(GORT_OS_TSAN)
  __tsan_release(order);
#endif
}

#if defined(GORT_OS_TSAN)
inline constexpr bool kUnderTsan = true;
#else
inline constexpr bool kUnderTsan = false;
#endif

// Memory that is about to be unmapped: whoever maps something at this address next must not find
// the red zones of fibers that lived there. A whole slab's shadow is dropped (zero means usable)
// rather than written, which would make 8 MiB resident.
inline void asan_forget([[maybe_unused]] void* addr, [[maybe_unused]] size_t bytes) noexcept {
#if defined(GORT_OS_ASAN)
  constexpr size_t kLarge = size_t{1} << 20;
  constexpr size_t kShadowPage = 4096;
  size_t scale = 0;
  size_t offset = 0;
  __asan_get_shadow_mapping(&scale, &offset);
  const size_t shadow = (reinterpret_cast<size_t>(addr) >> scale) + offset;
  if (bytes >= kLarge && shadow % kShadowPage == 0 && (bytes >> scale) % kShadowPage == 0) {
    raw_syscall(SYS_madvise, shadow, bytes >> scale, MADV_DONTNEED);
  } else {
    __asan_unpoison_memory_region(addr, bytes);
  }
#endif
}

}  // namespace gort::os
