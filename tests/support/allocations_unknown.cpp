// In place of allocations_counted.cpp where malloc is a sanitizer's.
#include "support/allocations.hpp"

namespace gort::test {

std::optional<uint64_t> allocations() noexcept {
  return std::nullopt;
}

uint64_t frees_in_regions() noexcept {
  return 0;
}

uint64_t allocations_in_regions() noexcept {
  return 0;
}

NoMemory::NoMemory(int64_t /*but*/, int64_t /*how_many*/) noexcept {}
NoMemory::~NoMemory() = default;
bool NoMemory::has_failed() noexcept {
  return false;
}

}  // namespace gort::test
