// library: what surrounds gort. tests/library has the other case, a gort inside of a shared library.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include "os/os.hpp"
#include "support/sanitized.hpp"

namespace gort::os {
namespace {

TEST(OsLibrary, TheProgramItselfNeedsNoPin) {
  EXPECT_FALSE(pin_library());
}

TEST(OsLibrary, ASanitizerIsSeen) {
  const bool ubsan = dlsym(RTLD_DEFAULT, "__ubsan_handle_add_overflow_abort") != nullptr;
  EXPECT_EQ(sanitizer_present(), test::kSanitizers || ubsan);
}

}  // namespace
}  // namespace gort::os
