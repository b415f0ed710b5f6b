// fence: the heavy half of the asymmetric fence. Implements "Fences that cost one side only" of
// os.hpp.
//
//   FE1  After fence_heavy() returns, every thread of the process has executed a full barrier since
//        fence_heavy() began, or executes fence_light() as a real seq_cst fence.
//   FE2  light_fence_is_real is true until osinit() has registered the process; then it is false
//        for good, and a heavy fence follows at once for those who relied on real ones until then.
//
// Rejected: a seq_cst fence on both sides (about 5 ns on the hot side, at every entry into the
// runtime, to spare microseconds on a side that runs a few times a second); mprotect of a dummy
// page as a process-wide barrier (undocumented, and no barrier at all on processors that broadcast
// TLB shootdowns).
#include <linux/membarrier.h>

#include <cerrno>

#include "base/check.hpp"
#include "base/mem.hpp"
#include "os/linux/internal.hpp"
#include "os/linux/syscall.hpp"
#include "os/os.hpp"

namespace gort::os {

constinit Atomic<bool> light_fence_is_real{true};

namespace {

long membarrier(int command) noexcept {
  return raw_syscall(SYS_membarrier, command, 0, 0);
}

}  // namespace

void fence_init() noexcept {
  if (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) != 0) return;
  // relaxed: the heavy fence below orders it (FE2); foreign threads may be using locks already.
  light_fence_is_real.store(false, std::memory_order_relaxed);
  fence_heavy();
}

void fence_heavy() noexcept {
  // The kernel puts a full barrier on the calling thread only if another one runs; ours is cheap
  // beside the call, so it is always there. seq_cst: this is the Dekker fence of the rare side.
  Mem::fence(std::memory_order_seq_cst);
  // relaxed: behind the fence; while it is true, light fences are real ones (FE2).
  if (light_fence_is_real.load(std::memory_order_relaxed)) return;
  if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0) return;
  // ENOMEM: kernels for very many processors allocate a mask for each call. The barrier of all
  // processes needs none; it takes some milliseconds.
  const long rc = membarrier(MEMBARRIER_CMD_GLOBAL);
  if (rc != 0) fatal_value("FE1: membarrier failed", rc, __FILE__, __LINE__);
}

}  // namespace gort::os
