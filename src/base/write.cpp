#include "base/write.hpp"

#include <unistd.h>

#include <cerrno>

namespace gort {

void write_text(int fd, const char* text, size_t n) noexcept {
  while (n > 0) {
    const ssize_t put = ::write(fd, text, n);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return;
    text += put;
    n -= static_cast<size_t>(put);
  }
}

}  // namespace gort
