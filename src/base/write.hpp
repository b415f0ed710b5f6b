// write: text for people on a descriptor, whole. For what must be said in any state of the program:
// no allocation, no stdio, no lock; async-signal-safe.
#pragma once

#include <cstddef>

namespace gort {

// Goes on after interruptions and short writes; gives up on any other error, since there is nobody to
// tell.
void write_text(int fd, const char* text, size_t n) noexcept;

}  // namespace gort
