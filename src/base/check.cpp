#include "base/check.hpp"

#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "base/line.hpp"

namespace gort {
namespace {

[[noreturn]] void die(Line& out, const char* file, int line) noexcept {
  const char* slash = std::strrchr(file, '/');
  out.put(" (").put(slash != nullptr ? slash + 1 : file).put(":").put_number(line).put(")");
  out.write(STDERR_FILENO);
  std::abort();
}

}  // namespace

void fatal(const char* what, const char* file, int line) noexcept {
  Line out;
  out.put("gort: fatal: ").put(what);
  die(out, file, line);
}

void fatal_value(const char* what, long value, const char* file, int line) noexcept {
  Line out;
  out.put("gort: fatal: ").put(what).put(": ").put_number(value);
  die(out, file, line);
}

}  // namespace gort
