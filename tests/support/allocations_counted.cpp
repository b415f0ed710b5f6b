// The counting malloc of programs without a sanitizer: in front of glibc's own, which goes by a second name.
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "sched/current.hpp"
#include "support/allocations.hpp"

namespace {

thread_local constinit uint64_t own = 0;
constinit std::atomic<uint64_t> in_regions{0};
constinit std::atomic<uint64_t> freed_in_regions{0};

// NoMemory: allocations until the first that fails, and until the first behind it that does not. Below `first` none does.
constexpr int64_t kNever = INT64_MAX;
constinit std::atomic<int64_t> made{0};
constinit std::atomic<int64_t> first{kNever};
constinit std::atomic<int64_t> last{kNever};
constinit std::atomic<bool> failed{false};

bool fails() noexcept {
  if (first.load(std::memory_order_relaxed) == kNever) return false;
  const int64_t n = made.fetch_add(1);
  if (n < first || n >= last) return false;
  failed = true;
  errno = ENOMEM;
  return true;
}

// False: there is no memory.
bool count() noexcept {
  ++own;
  const gort::G* const g = gort::current_fiber();
  if (g != nullptr && gort::current_m()->in_runtime.load(std::memory_order_relaxed)) ++in_regions;
  return !fails();
}

}  // namespace

extern "C" {

void* __libc_malloc(size_t bytes) noexcept;
void* __libc_calloc(size_t n, size_t bytes) noexcept;
void* __libc_realloc(void* memory, size_t bytes) noexcept;
void* __libc_memalign(size_t align, size_t bytes) noexcept;
void __libc_free(void* memory) noexcept;

void* malloc(size_t bytes) noexcept {
  return count() ? __libc_malloc(bytes) : nullptr;
}
void* calloc(size_t n, size_t bytes) noexcept {
  return count() ? __libc_calloc(n, bytes) : nullptr;
}
void* realloc(void* memory, size_t bytes) noexcept {
  return count() ? __libc_realloc(memory, bytes) : nullptr;
}
void free(void* memory) noexcept {
  const gort::M* const m = gort::current_m();
  if (memory != nullptr && m != nullptr && m->in_runtime.load(std::memory_order_relaxed)) {
    ++freed_in_regions;
  }
  __libc_free(memory);
}
void* aligned_alloc(size_t align, size_t bytes) noexcept {
  return count() ? __libc_memalign(align, bytes) : nullptr;
}
int posix_memalign(void** out, size_t align, size_t bytes) noexcept {
  void* const memory = count() ? __libc_memalign(align, bytes) : nullptr;
  if (memory == nullptr) return ENOMEM;
  *out = memory;
  return 0;
}
}

namespace gort::test {

std::optional<uint64_t> allocations() noexcept {
  return own;
}

uint64_t allocations_in_regions() noexcept {
  return in_regions.load();
}

uint64_t frees_in_regions() noexcept {
  return freed_in_regions.load();
}

NoMemory::NoMemory(int64_t but, int64_t how_many) noexcept {
  failed = false;
  made = 0;
  last = but > kNever - how_many ? kNever : but + how_many;
  first = but;
}
NoMemory::~NoMemory() {
  first = kNever;
}
bool NoMemory::has_failed() noexcept {
  return failed;
}

}  // namespace gort::test
