// check: the one way to stop on a broken invariant of gort itself.
//
// Checks stay on in release builds. The text names the invariant (R1, W2, ...) that the file's
// opening comment or docs/design states. fatal() writes with write(2) only: no allocation, no
// stdio, no lock.
#pragma once

#include <cerrno>

namespace gort {

// Writes "gort: fatal: <what>" with file and line to stderr and aborts. Async-signal-safe.
[[noreturn]] void fatal(const char* what, const char* file, int line) noexcept;

// The same with one number behind the text (an errno, an address, a count).
[[noreturn]] void fatal_value(const char* what, long value, const char* file, int line) noexcept;

}  // namespace gort

#define GORT_CHECK(cond, text)                                                 \
  do {                                                                         \
    if (__builtin_expect(!(cond), 0)) ::gort::fatal(text, __FILE__, __LINE__); \
  } while (0)
