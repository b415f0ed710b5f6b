// mem: address space. Implements the section "Memory" of os.hpp.
//
// Called by the stack pool (src/sched/stack.cpp) and by everything that needs memory where malloc
// is forbidden. No lock is taken that user code can hold; the kernel's own is mmap_lock.
#include "base/mem.hpp"

#include <sys/mman.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>

#include "base/check.hpp"
#include "os/linux/sanitizer.hpp"
#include "os/linux/syscall.hpp"
#include "os/os.hpp"

namespace gort::os {
namespace {

// linux/mman.h has them since 6.13 and 5.18; Debian 12's headers do not.
constexpr int kMadvGuardInstall = 102;
constexpr int kMadvDontneedLocked = 24;
// linux/pidfd.h's PIDFD_SELF_THREAD, since 6.14: stands for the caller without a descriptor.
constexpr int kPidfdSelf = -10000;

// MAP_STACK: since Linux 6.7 it means "no huge pages" from the start, so that a new reservation has
// its neighbour's flags at once and becomes one mapping with it.
constexpr int kReserveFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK;

// Where the last reservation began: the next one is asked for just below it, so that reservations
// lie side by side and the kernel merges them. Only a hint; a stale value costs a mapping, not
// correctness.
Atomic<uintptr_t> lowest_reservation{0};

[[gnu::noinline]] std::byte* map(void* hint, size_t bytes, int flags) noexcept {
  void* p = ::mmap(hint, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  return p == MAP_FAILED ? nullptr : static_cast<std::byte*>(p);
}

bool aligned(const std::byte* p, size_t align) noexcept {
  return (reinterpret_cast<uintptr_t>(p) & (align - 1)) == 0;
}

// Reserves more than needed and gives back what sticks out.
std::byte* map_aligned(size_t bytes, size_t align) noexcept {
  if (bytes + align < bytes) return nullptr;
  std::byte* raw = map(nullptr, bytes + align, kReserveFlags);
  if (raw == nullptr) return nullptr;
  const auto address = reinterpret_cast<uintptr_t>(raw);
  std::byte* base = raw + (((address + align - 1) & ~(align - 1)) - address);
  const auto tail = static_cast<size_t>((raw + bytes + align) - (base + bytes));
  if (base != raw) mem_unmap(raw, static_cast<size_t>(base - raw));
  if (tail != 0) mem_unmap(base + bytes, tail);
  return base;
}

}  // namespace

void* mem_map(size_t bytes) noexcept {
  return map(nullptr, bytes, MAP_PRIVATE | MAP_ANONYMOUS);
}

void* mem_reserve(size_t bytes, size_t align) noexcept {
  GORT_CHECK(align != 0 && (align & (align - 1)) == 0, "mem_reserve: align is no power of two");
  // relaxed: a hint, it publishes nothing.
  const uintptr_t lowest = lowest_reservation.load(std::memory_order_relaxed);
  const uintptr_t hint = lowest > bytes ? (lowest - bytes) & ~(align - 1) : 0;
  std::byte* base = map(reinterpret_cast<void*>(hint), bytes, kReserveFlags);
  if (base != nullptr && !aligned(base, align)) {
    mem_unmap(base, bytes);
    base = nullptr;
  }
  if (base == nullptr) base = map_aligned(bytes, align);
  if (base == nullptr) return nullptr;
  // relaxed: the same; of two threads one gives the next hint.
  lowest_reservation.store(reinterpret_cast<uintptr_t>(base), std::memory_order_relaxed);
  // Refused by kernels that have no huge pages at all, which is as good.
  raw_syscall(SYS_madvise, base, bytes, MADV_NOHUGEPAGE);
  return base;
}

[[gnu::noinline]] void mem_unmap(void* addr, size_t bytes) noexcept {
  asan_forget(addr, bytes);
  const int rc = ::munmap(addr, bytes) == 0 ? 0 : -errno;
  // ENOMEM: cutting a hole would exceed max_map_count. The memory is then given back, the address
  // space is not; anything else means that addr was not ours.
  if (rc == -ENOMEM) {
    mem_discard(addr, bytes);
    return;
  }
  if (rc != 0) fatal_value("munmap failed", rc, __FILE__, __LINE__);
}

void mem_discard(void* addr, size_t bytes) noexcept {
  const long rc = raw_syscall(SYS_madvise, addr, bytes, MADV_DONTNEED);
  // EINVAL: the program has called mlockall. If this too is refused the pages stay, which costs
  // memory and nothing else: no caller may count on zeroes.
  if (rc == -EINVAL) raw_syscall(SYS_madvise, addr, bytes, kMadvDontneedLocked);
}

int mem_guard_install(void* addr, size_t bytes) noexcept {
  return static_cast<int>(raw_syscall(SYS_madvise, addr, bytes, kMadvGuardInstall));
}

// One system call for many guards where the kernel takes it: 0.15 to 0.8 us per guard against 1.5.
size_t mem_guard_install_each(void* first, size_t stride, size_t count, size_t bytes) noexcept {
  constexpr size_t kBatch = 64;  // 1 KiB of stack
  iovec ranges[kBatch];
  auto* const base = static_cast<std::byte*>(first);
  size_t done = 0;
  while (done < count) {
    const size_t n = std::min(kBatch, count - done);
    for (size_t i = 0; i < n; i++) ranges[i] = {base + (done + i) * stride, bytes};
    const long rc =
        raw_syscall(SYS_process_madvise, kPidfdSelf, &ranges[0], n, kMadvGuardInstall, 0);
    if (rc <= 0) break;
    done += static_cast<size_t>(rc) / bytes;
  }
  while (done < count && mem_guard_install(base + done * stride, bytes) == 0) done++;
  return done;
}

int mem_protect_none(void* addr, size_t bytes) noexcept {
  return static_cast<int>(raw_syscall(SYS_mprotect, addr, bytes, PROT_NONE));
}

size_t mem_resident(const void* addr, size_t bytes) noexcept {
  // One byte per page comes back; 2,048 pages are 8 MiB, and the buffer half a page of stack.
  constexpr size_t kBatchPages = 2048;
  const size_t page = system_info().page_bytes;
  const uintptr_t begin = reinterpret_cast<uintptr_t>(addr) & ~(page - 1);
  const uintptr_t end = reinterpret_cast<uintptr_t>(addr) + bytes;
  unsigned char resident[kBatchPages];
  size_t pages = 0;
  for (uintptr_t at = begin; at < end; at += kBatchPages * page) {
    const size_t n = std::min<size_t>(kBatchPages, (end - at + page - 1) / page);
    if (mincore(reinterpret_cast<void*>(at), n * page, resident) != 0) continue;  // a hole in it
    for (size_t i = 0; i < n; i++) pages += resident[i] & 1U;  // the other bits are reserved
  }
  return pages * page;
}

}  // namespace gort::os
