// cpu: how many processors there are for us, and the calls that name or yield one.
// Implements the section "Processors" of os.hpp.
#include <algorithm>
#include <bit>
#include <cerrno>

#include "base/mem.hpp"
#include "os/linux/cgroup.hpp"
#include "os/linux/internal.hpp"
#include "os/linux/syscall.hpp"
#include "os/os.hpp"

namespace gort::os {
namespace {

// The largest mask we ask for; the kernel's own limit (CONFIG_NR_CPUS) is 8,192 today.
constexpr size_t kMaxCpus = 65'536;
constexpr size_t kBitsPerWord = 8 * sizeof(unsigned long);

// A changed limit takes effect after at most this long; reading it costs some ten system calls.
constexpr int64_t kQuotaAgeNsMax = 1'000'000'000;

int affinity_count() noexcept {
  unsigned long mask[kMaxCpus / kBitsPerWord];  // 8 KiB
  const int bytes = sched_getaffinity(0, mask);
  if (bytes <= 0) return 1;
  return count_cpus(std::span(mask).first(static_cast<size_t>(bytes) / sizeof mask[0]));
}

// The cgroup's quota in processors, 0: no limit. Read again when it is older than kQuotaAgeNsMax.
uint64_t quota_cached() noexcept {
  static Atomic<int64_t> read_at_ns{0};
  static Atomic<uint64_t> cpus{0};
  const int64_t now_ns = nanotime();
  // acquire: pairs with the release below; whoever sees the time sees a quota at least as new.
  const int64_t last_ns = read_at_ns.load(std::memory_order_acquire);
  if (last_ns == 0 || now_ns - last_ns >= kQuotaAgeNsMax) {
    // relaxed: ordered by the release that follows. Two threads may both read; either is right.
    cpus.store(cgroup_cpu_quota(), std::memory_order_relaxed);
    read_at_ns.store(now_ns, std::memory_order_release);
  }
  // relaxed: see the acquire above.
  return cpus.load(std::memory_order_relaxed);
}

}  // namespace

int getproccount() noexcept {
  const auto affinity = static_cast<uint64_t>(affinity_count());
  const uint64_t quota = quota_cached();
  return static_cast<int>(quota == 0 ? affinity : std::min(affinity, quota));
}

int count_cpus(std::span<const unsigned long> mask) noexcept {
  int count = 0;
  for (const unsigned long word : mask) count += std::popcount(word);
  return std::max(count, 1);
}

int sched_getaffinity(int pid, std::span<unsigned long> mask) noexcept {
  return static_cast<int>(raw_syscall(SYS_sched_getaffinity, pid, mask.size_bytes(), mask.data()));
}

void osyield() noexcept {
  raw_syscall(SYS_sched_yield);
}

// The same call: nothing here looks for a current fiber. Two names, so that a caller says which it
// needs.
void osyield_no_g() noexcept {
  raw_syscall(SYS_sched_yield);
}

int getpid() noexcept {
  return static_cast<int>(raw_syscall(SYS_getpid));
}

int gettid() noexcept {
  return static_cast<int>(raw_syscall(SYS_gettid));
}

}  // namespace gort::os
