// file: reading the kernel's small text files without allocation.
#include <fcntl.h>

#include <cerrno>
#include <limits>

#include "os/linux/internal.hpp"
#include "os/linux/syscall.hpp"

namespace gort::os {

long read_file(const char* path, size_t offset, std::span<char> out) noexcept {
  const long fd = raw_syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return fd;
  size_t got = 0;
  long rc = 0;
  // Files of /proc give what they have piece by piece, so read to the end or to the buffer's.
  while (got < out.size()) {
    rc = raw_syscall(SYS_pread64, fd, out.data() + got, out.size() - got, offset + got);
    if (rc == -EINTR) continue;
    if (rc <= 0) break;
    got += static_cast<size_t>(rc);
  }
  raw_syscall(SYS_close, fd);
  return rc < 0 && got == 0 ? rc : static_cast<long>(got);
}

bool parse_decimal(std::string_view text, uint64_t& out) noexcept {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ' || text.back() == '\t')) {
    text.remove_suffix(1);
  }
  if (text.empty()) return false;
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    const auto digit = static_cast<uint64_t>(c - '0');
    if (value > (kMax - digit) / 10) return false;
    value = value * 10 + digit;
  }
  out = value;
  return true;
}

}  // namespace gort::os
