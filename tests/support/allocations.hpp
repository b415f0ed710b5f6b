// allocations: how often the current thread has allocated, for tests of what must not.
#pragma once

#include <cstdint>
#include <optional>

namespace gort::test {

// Calls of malloc() and its relatives by this thread so far; operator new is among them. Nothing in programs whose
// malloc is a sanitizer's. Two implementations, chosen at link time.
[[nodiscard]] std::optional<uint64_t> allocations() noexcept;

// Those that a fiber has made inside a region, on whatever thread, so far (RG4 in region.hpp).
[[nodiscard]] uint64_t allocations_in_regions() noexcept;
// Calls of free() inside a region so far, by fibers and on the way from one to the next.
[[nodiscard]] uint64_t frees_in_regions() noexcept;

// While it lives, of the process's allocations `how_many` fail, behind the first `but` ones. Not where allocations() says nothing.
class NoMemory {
 public:
  NoMemory(int64_t but, int64_t how_many) noexcept;
  ~NoMemory();
  NoMemory(const NoMemory&) = delete;
  NoMemory& operator=(const NoMemory&) = delete;
  [[nodiscard]] static bool has_failed() noexcept;  // one of them, since the last was made
};

}  // namespace gort::test
