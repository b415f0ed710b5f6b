#include "sched/context.hpp"

namespace gort {

#if defined(GORT_CONTEXT_ASM)

namespace {
// What switch_context() says of each of its copies: two addresses, each counted from where it is written.
struct SwitchRange {
  int32_t first, end;
};
}  // namespace

// The linker's names for the ends of a section.
extern "C" {
// NOLINTNEXTLINE(bugprone-reserved-identifier): the linker chose it
__attribute__((visibility("hidden"))) extern const SwitchRange __start_gort_switches[];
// NOLINTNEXTLINE(bugprone-reserved-identifier): the same here
__attribute__((visibility("hidden"))) extern const SwitchRange __stop_gort_switches[];
}

bool in_switch(uintptr_t pc) noexcept {
  for (const SwitchRange* r = __start_gort_switches; r != __stop_gort_switches; ++r) {
    const auto first = reinterpret_cast<uintptr_t>(&r->first) + static_cast<uintptr_t>(r->first);
    const auto end = reinterpret_cast<uintptr_t>(&r->end) + static_cast<uintptr_t>(r->end);
    if (pc >= first && pc < end) return true;
  }
  return false;
}

#else

// Boost's assembly has no unwind tables, so that unwinders stop there by themselves.
bool in_switch(uintptr_t) noexcept {
  return false;
}

#endif

}  // namespace gort
