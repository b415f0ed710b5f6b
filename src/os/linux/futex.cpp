// futex: how an M sleeps and is woken. Implements the section "Sleeping and waking an M" of os.hpp.
//
// Called by lock and note, and by nothing else: everything above waits on those. Nothing here
// allocates, locks or touches errno, so all of it may run in a signal handler.
#include <linux/futex.h>

#include <cerrno>
#include <cstdio>

#include "base/check.hpp"
#include "base/mem.hpp"
#include "os/linux/syscall.hpp"
#include "os/os.hpp"

namespace gort::os {
namespace {

constexpr int kWait = FUTEX_WAIT | FUTEX_PRIVATE_FLAG;
constexpr int kWake = FUTEX_WAKE | FUTEX_PRIVATE_FLAG;
constexpr int64_t kNsPerSecond = 1'000'000'000;

// The kernel's own form (two 64-bit words on every 64-bit system), whatever libc's timespec is.
struct KernelTimespec {
  int64_t sec;
  int64_t nsec;
};

}  // namespace

// The operation goes to the kernel as it is given; FUTEX_PRIVATE_FLAG is the caller's to set. (The
// word that CLONE_CHILD_CLEARTID clears is woken as a shared one, so the flag can not be forced
// here.)
long futex(const void* addr, int op, uint32_t val, const void* ts, const void* addr2,
           uint32_t val3) noexcept {
  return raw_syscall(SYS_futex, addr, op, val, ts, addr2, val3);
}

// No error reaches the caller: EAGAIN (the word had changed), EINTR and ETIMEDOUT all mean "look
// again", which every caller does anyway because a sleep may end early for any reason.
void futexsleep(const Atomic<uint32_t>* addr, uint32_t val, int64_t ns) noexcept {
  if (ns < 0) {
    futex(addr, kWait, val, nullptr, nullptr, 0);
    return;
  }
  const KernelTimespec timeout{ns / kNsPerSecond, ns % kNsPerSecond};
  futex(addr, kWait, val, &timeout, nullptr, 0);
}

void futexwakeup(const Atomic<uint32_t>* addr, uint32_t n) noexcept {
  const long woken = futex(addr, kWake, n, nullptr, nullptr, 0);
  if (__builtin_expect(woken >= 0, 1)) return;
  // The word is unmapped or misaligned: somebody woke a note that no longer exists.
  char text[64];
  std::snprintf(text, sizeof text, "futexwakeup addr=%p returned", static_cast<const void*>(addr));
  fatal_value(text, woken, __FILE__, __LINE__);
}

}  // namespace gort::os
