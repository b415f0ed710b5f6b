#include "base/check.hpp"

#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "base/write.hpp"

namespace gort {
namespace {

// A fixed buffer that is cut when full, so that a message can be made anywhere, also in a handler.
struct Line {
  char text[512];
  size_t n = 0;

  void put(const char* s) noexcept {
    while (*s != '\0' && n < sizeof text) text[n++] = *s++;
  }
  void put_number(long value) noexcept {
    char digits[24];
    int i = 0;
    unsigned long u =
        value < 0 ? 0UL - static_cast<unsigned long>(value) : static_cast<unsigned long>(value);
    do {
      digits[i++] = static_cast<char>('0' + u % 10);
      u /= 10;
    } while (u != 0);
    if (value < 0) digits[i++] = '-';
    while (i > 0 && n < sizeof text) text[n++] = digits[--i];
  }
  [[noreturn]] void die(const char* file, int line) noexcept {
    put(" (");
    const char* slash = std::strrchr(file, '/');
    put(slash != nullptr ? slash + 1 : file);
    put(":");
    put_number(line);
    put(")\n");
    write_text(STDERR_FILENO, text, n);
    std::abort();
  }
};

}  // namespace

void fatal(const char* what, const char* file, int line) noexcept {
  Line out;
  out.put("gort: fatal: ");
  out.put(what);
  out.die(file, line);
}

void fatal_value(const char* what, long value, const char* file, int line) noexcept {
  Line out;
  out.put("gort: fatal: ");
  out.put(what);
  out.put(": ");
  out.put_number(value);
  out.die(file, line);
}

}  // namespace gort
