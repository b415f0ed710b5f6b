// Wrappers of what gort asks the kernel itself, without libc.
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>

#include "layer/faults.hpp"
#include "layer/real.hpp"

namespace gort::faults {
namespace {

constexpr long kMadvGuardInstall = 102;  // as in src/os/linux/mem.cpp
#ifndef SYS_epoll_pwait2
constexpr long SYS_epoll_pwait2 = 441;
#endif

Call call_of(long nr, long a1, long a2, long a3, long a4) noexcept {
  switch (nr) {
    case SYS_futex:
      return (a2 & FUTEX_CMD_MASK) == FUTEX_WAIT ? Call::futex_wait : Call::futex_wake;
    case SYS_madvise:
      return a3 == kMadvGuardInstall ? Call::guard : Call::discard;
    case SYS_process_madvise:
      return a4 == kMadvGuardInstall ? Call::guard : Call::discard;
    case SYS_mprotect:
      return Call::protect;
    case SYS_mincore:
      return Call::mincore;
    case SYS_mmap:
      return Call::map;
    case SYS_membarrier:
      return Call::membarrier;
    case SYS_epoll_pwait2:
      return Call::epoll_wait;
    case SYS_write:
      return a1 > 2 ? Call::write : Call::say;
    case SYS_recvfrom:
      return Call::recv;
    case SYS_sendto:
      return Call::send;
    case SYS_sched_getaffinity:
      return Call::affinity;
    case SYS_sched_setaffinity:
      return Call::place;
    case SYS_openat:
      return Call::open;
    case SYS_pread64:
      return Call::pread;
    case SYS_getrandom:
      return Call::random;
    case SYS_prlimit64:
      return Call::limit;
    case SYS_prctl:
      return Call::prctl;
    case SYS_timer_create:
      return Call::timer_create;
    default:
      return Call::other;
  }
}

// FA3: the barrier of all processes allocates nothing, so it can not be out of memory.
bool impossible(Call call, long command, const Fault& fault) noexcept {
  return call == Call::membarrier && command == MEMBARRIER_CMD_GLOBAL &&
         fault.kind == Fault::Kind::error && fault.value == ENOMEM;
}

}  // namespace
}  // namespace gort::faults

using namespace gort::faults;

extern "C" long __wrap_gort_raw_syscall6(long nr, long a1, long a2, long a3, long a4, long a5,
                                         long a6) noexcept {
  const Call call = call_of(nr, a1, a2, a3, a4);
  if (call == Call::other) return __real_gort_raw_syscall6(nr, a1, a2, a3, a4, a5, a6);
  const Fault fault = decide(call);
  if (fault.kind == Fault::Kind::error && !impossible(call, a1, fault)) return -fault.value;
  if (fault.kind == Fault::Kind::early) return fault.value;
  const bool shortened = fault.kind == Fault::Kind::shortened && a3 > fault.value;
  const long rc = __real_gort_raw_syscall6(nr, a1, a2, shortened ? fault.value : a3, a4, a5, a6);
  if (shortened && (call == Call::recv || call == Call::send)) raise_edge(static_cast<int>(a1));
  if (fault.after_ns > 0) sleep_ns(fault.after_ns);
  return rc;
}

extern "C" long __wrap_gort_glibc_clone(unsigned long flags, void* stack, int* ptid, int* ctid,
                                        void* tls, int (*fn)(void*)) {
  const Fault fault = decide(Call::thread);
  if (fault.kind == Fault::Kind::error) return -fault.value;
  const long rc = __real_gort_glibc_clone(flags, stack, ptid, ctid, tls, fn);
  if (fault.after_ns > 0) sleep_ns(fault.after_ns);
  return rc;
}
