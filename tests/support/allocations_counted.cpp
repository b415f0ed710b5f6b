// The counting malloc of programs without a sanitizer: in front of glibc's own, which goes by a second name.
#include <atomic>
#include <cerrno>
#include <cstddef>

#include "sched/current.hpp"
#include "support/allocations.hpp"

namespace {

thread_local constinit uint64_t own = 0;
constinit std::atomic<uint64_t> in_regions{0};
constinit std::atomic<uint64_t> freed_in_regions{0};

void count() noexcept {
  ++own;
  const gort::G* const g = gort::current_fiber();
  if (g != nullptr && gort::current_m()->in_runtime.load(std::memory_order_relaxed)) ++in_regions;
}

}  // namespace

extern "C" {

void* __libc_malloc(size_t bytes) noexcept;
void* __libc_calloc(size_t n, size_t bytes) noexcept;
void* __libc_realloc(void* memory, size_t bytes) noexcept;
void* __libc_memalign(size_t align, size_t bytes) noexcept;
void __libc_free(void* memory) noexcept;

void* malloc(size_t bytes) noexcept {
  count();
  return __libc_malloc(bytes);
}
void* calloc(size_t n, size_t bytes) noexcept {
  count();
  return __libc_calloc(n, bytes);
}
void* realloc(void* memory, size_t bytes) noexcept {
  count();
  return __libc_realloc(memory, bytes);
}
void free(void* memory) noexcept {
  const gort::M* const m = gort::current_m();
  if (memory != nullptr && m != nullptr && m->in_runtime.load(std::memory_order_relaxed)) {
    ++freed_in_regions;
  }
  __libc_free(memory);
}
void* aligned_alloc(size_t align, size_t bytes) noexcept {
  count();
  return __libc_memalign(align, bytes);
}
int posix_memalign(void** out, size_t align, size_t bytes) noexcept {
  count();
  void* const memory = __libc_memalign(align, bytes);
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

}  // namespace gort::test
