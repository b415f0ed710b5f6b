// sanitizer: tells ASan and TSan of every switch of stacks. The one file whose job is that `#if`.
//
// ASan wants to know the bounds of the stack that is entered, and keeps a fake stack per fiber.
// TSan keeps a shadow thread per fiber and takes each switch as a happens-before edge. Without a
// sanitizer every function here is empty and SanitizerState has no members.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define GORT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GORT_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define GORT_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define GORT_TSAN 1
#endif
#endif

#if defined(GORT_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(GORT_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

namespace gort {

struct SanitizerState {
#if defined(GORT_ASAN)
  void* fake_stack = nullptr;
  const void* bottom = nullptr;
  size_t bytes = 0;
#endif
#if defined(GORT_TSAN)
  void* fiber = nullptr;
  int lives = 0;  // of fibers that this shadow has served
#endif
};

#if defined(GORT_TSAN)
// Making a shadow costs TSan some 100 us, so a dead fiber keeps it for the next one in its slot: the
// two are ordered anyway. Each life leaves the frames that it did not return from on the shadow's
// call stack, which holds 64 Ki of them.
inline constexpr int kShadowLives = 1000;
#endif

// Threads that a sanitizer's own runtime keeps, and whether it calls the handler of ticks later than they come, as a function
// and with every signal blocked.
#if defined(GORT_TSAN)
inline constexpr int kSanitizerThreads = 1;
inline constexpr bool kPutsTicksOff = true;
#else
inline constexpr int kSanitizerThreads = 0;
inline constexpr bool kPutsTicksOff = false;
#endif

enum class SwitchKind : unsigned char { returns, final };

inline void sanitizer_fiber_init([[maybe_unused]] SanitizerState& s, [[maybe_unused]] void* bottom,
                                 [[maybe_unused]] size_t bytes) noexcept {
#if defined(GORT_ASAN)
  s.fake_stack = nullptr;
  s.bottom = bottom;
  s.bytes = bytes;
  // Frames that the slot's former fiber never returned from have left their red zones behind.
  __asan_unpoison_memory_region(bottom, bytes);
#endif
#if defined(GORT_TSAN)
  if (s.fiber == nullptr) {
    s.fiber = __tsan_create_fiber(0);
    s.lives = 0;
  }
#endif
}

// For g0: the thread's own stack and identity. Its bounds are learned at the first switch.
inline void sanitizer_thread_init([[maybe_unused]] SanitizerState& s) noexcept {
#if defined(GORT_TSAN)
  s.fiber = __tsan_get_current_fiber();
#endif
}

// The slot goes back to the pool. Not for the fiber that runs.
inline void sanitizer_fiber_retire([[maybe_unused]] SanitizerState& s) noexcept {
#if defined(GORT_TSAN)
  if (s.fiber != nullptr) __tsan_destroy_fiber(s.fiber);
  s.fiber = nullptr;
#endif
}

// The fiber is dead; its slot may serve another one.
inline void sanitizer_fiber_end([[maybe_unused]] SanitizerState& s) noexcept {
#if defined(GORT_TSAN)
  if (++s.lives == kShadowLives) sanitizer_fiber_retire(s);
#endif
}

inline void sanitizer_before_switch([[maybe_unused]] SanitizerState& from,
                                    [[maybe_unused]] SanitizerState& to,
                                    [[maybe_unused]] SwitchKind kind) noexcept {
#if defined(GORT_ASAN)
  __sanitizer_start_switch_fiber(kind == SwitchKind::final ? nullptr : &from.fake_stack, to.bottom,
                                 to.bytes);
#endif
#if defined(GORT_TSAN)
  __tsan_switch_to_fiber(to.fiber, 0);
#endif
}

// First thing on the stack that was entered. `from` is the state of the one that was left.
inline void sanitizer_after_switch([[maybe_unused]] SanitizerState& self,
                                   [[maybe_unused]] SanitizerState& from) noexcept {
#if defined(GORT_ASAN)
  const void* bottom = nullptr;
  size_t bytes = 0;
  __sanitizer_finish_switch_fiber(self.fake_stack, &bottom, &bytes);
  if (from.bottom == nullptr) {  // a g0 left its stack for the first time
    from.bottom = bottom;
    from.bytes = bytes;
  }
#endif
}

}  // namespace gort
