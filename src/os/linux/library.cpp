// library: what surrounds gort in the process: whether it lives in a shared library that might be unloaded, and whether a
// sanitizer is at work. Asked at a runtime's start, never in a handler: the loader takes its lock.
#include <dlfcn.h>
#include <link.h>

#include "os/linux/thread.hpp"
#include "os/os.hpp"

namespace gort::os {
namespace {

using Open = void*(const char*, int);

// Nothing to do in the program itself, or where the loader does not know us (a static program).
bool pin() noexcept {
  Dl_info info;
  void* extra = nullptr;
  static const char here = 0;
  if (::dladdr1(&here, &info, &extra, RTLD_DL_LINKMAP) == 0 || extra == nullptr) return false;
  const char* name = static_cast<const link_map*>(extra)->l_name;
  if (name == nullptr || name[0] == '\0') return false;
  // By dlsym(), since a static program that only names dlopen() gets a warning from its linker.
  const auto open = reinterpret_cast<Open*>(dlsym(RTLD_DEFAULT, "dlopen"));
  return open != nullptr && open(name, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE) != nullptr;
}

}  // namespace

bool pin_library() noexcept {
  static const bool pinned = pin();
  return pinned;
}

bool sanitizer_present() noexcept {
  static const bool present =
      kSanitized || dlsym(RTLD_DEFAULT, "__sanitizer_report_error_summary") != nullptr;
  return present;
}

}  // namespace gort::os
