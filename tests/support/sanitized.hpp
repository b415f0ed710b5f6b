// sanitized: whether this test runs under ASan or TSan, where memory and time are not what they are in life.
#pragma once

namespace gort::test {

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kAsan = true;
inline constexpr bool kTsan = false;
#elif defined(__SANITIZE_THREAD__)
inline constexpr bool kAsan = false;
inline constexpr bool kTsan = true;
#elif defined(__has_feature)
inline constexpr bool kAsan = __has_feature(address_sanitizer);
inline constexpr bool kTsan = __has_feature(thread_sanitizer);
#else
inline constexpr bool kAsan = false;
inline constexpr bool kTsan = false;
#endif
inline constexpr bool kSanitizers = kAsan || kTsan;

// How many fibers "many at once" means: TSan spends milliseconds on each, and ends at 8,128.
constexpr int many(int usual) {
  return kTsan ? 400 : usual;
}

}  // namespace gort::test
