#include "signal/unwind.hpp"

#include <dlfcn.h>
#include <unwind.h>

#include "sched/g.hpp"

namespace gort {
namespace {

enum class By : uint8_t { frame_pointers, tables };
By by = By::frame_pointers;  // written by prepare_unwind() before the first handler is installed

struct Walk {
  uintptr_t from;  // the interrupted instruction
  std::span<uintptr_t> out;
  size_t n = 0;
};

_Unwind_Reason_Code step(_Unwind_Context* at, void* arg) noexcept {
  Walk& walk = *static_cast<Walk*>(arg);
  int interrupted = 0;
  const uintptr_t pc = _Unwind_GetIPInfo(at, &interrupted);
  if (walk.n == 0 && (interrupted == 0 || pc != walk.from)) return _URC_NO_REASON;  // still ours
  if (pc == 0) return _URC_END_OF_STACK;  // PF4, where nothing else says so
  walk.out[walk.n++] = interrupted != 0 ? pc : pc - 1;
  return walk.n == walk.out.size() ? _URC_END_OF_STACK : _URC_NO_REASON;
}

}  // namespace

// A frame is a pair: the caller's frame, and where to go on in it. Frames lie above each other, in the fiber's stack.
size_t unwind_frame_pointers(const os::SignalContext& from, const G& g,
                             std::span<uintptr_t> out) noexcept {
  const auto low = reinterpret_cast<uintptr_t>(g.stack_low);
  const auto high = reinterpret_cast<uintptr_t>(g.stack_start);
  uintptr_t least = from.sp < low ? low : from.sp;
  uintptr_t frame = from.fp;
  out[0] = from.pc;
  size_t n = 1;
  while (n < out.size() && frame >= least && frame % alignof(uintptr_t) == 0 &&
         frame <= high - 2 * sizeof(uintptr_t)) {
    const auto* pair = reinterpret_cast<const uintptr_t*>(frame);
    if (pair[1] == 0) break;
    out[n++] = pair[1] - 1;
    least = frame + 2 * sizeof(uintptr_t);
    frame = pair[0];
  }
  return n;
}

void prepare_unwind() noexcept {
  const bool lock_free = dlsym(RTLD_DEFAULT, "_dl_find_object") != nullptr;
  const bool of_llvm = dlsym(RTLD_DEFAULT, "__unw_getcontext") != nullptr;
  by = lock_free && !of_llvm ? By::tables : By::frame_pointers;
  uintptr_t frames[4];
  Walk walk{UINTPTR_MAX, frames};  // no frame is that one
  if (by == By::tables) (void)_Unwind_Backtrace(step, &walk);
}

size_t unwind(const void* context, const G* g, std::span<uintptr_t> out) noexcept {
  const os::SignalContext from = os::signal_context(context);
  out[0] = from.pc;
  if (in_switch(from.pc)) return 1;  // PF3
  if (by == By::tables) {
    Walk walk{from.pc, out};
    (void)_Unwind_Backtrace(step, &walk);
    return walk.n == 0 ? 1 : walk.n;
  }
  return g != nullptr && g->kind == GKind::fiber ? unwind_frame_pointers(from, *g, out) : 1;
}

}  // namespace gort
