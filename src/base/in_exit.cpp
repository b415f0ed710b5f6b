#include "base/in_exit.hpp"

#include <dlfcn.h>
#include <unwind.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace gort {
namespace {

// The address of exit() may be that of a stub in this program; its name may be gone in a program that is linked statically.
bool is_exit(uintptr_t pc) noexcept {
  void* const at = reinterpret_cast<void*>(pc);
  if (_Unwind_FindEnclosingFunction(at) == reinterpret_cast<void*>(&std::exit)) return true;
  Dl_info info{};
  return dladdr(at, &info) != 0 && info.dli_sname != nullptr &&
         std::strcmp(info.dli_sname, "exit") == 0;
}

_Unwind_Reason_Code step(_Unwind_Context* frame, void* found) noexcept {
  const uintptr_t return_address = _Unwind_GetIP(frame);
  if (return_address == 0) return _URC_END_OF_STACK;
  // exit() ends in a call that does not return: what stands behind it may be another function.
  if (!is_exit(return_address - 1)) return _URC_NO_REASON;
  *static_cast<bool*>(found) = true;
  return _URC_END_OF_STACK;
}

}  // namespace

bool in_exit() noexcept {
  bool found = false;
  (void)_Unwind_Backtrace(step, &found);
  return found;
}

}  // namespace gort
