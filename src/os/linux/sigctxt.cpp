// sigctxt: registers of the code that a signal has interrupted. Called by handlers (src/signal/).
#include <ucontext.h>

#include "os/os.hpp"

namespace gort::os {

SignalContext signal_context(const void* context) noexcept {
  const auto& registers = static_cast<const ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  return {static_cast<uintptr_t>(registers.gregs[REG_RIP]),
          static_cast<uintptr_t>(registers.gregs[REG_RSP]),
          static_cast<uintptr_t>(registers.gregs[REG_RBP])};
#elif defined(__aarch64__)
  constexpr int kFramePointer = 29;
  return {registers.pc, registers.sp, registers.regs[kFramePointer]};
#endif
}

}  // namespace gort::os
