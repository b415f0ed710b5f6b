// Numbers as the kernel writes them: a decimal number, the size of huge pages in both of its places,
// a mask of processors. The input is the text, and the bytes of the mask.
#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <vector>

#include "fuzz.hpp"
#include "os/linux/internal.hpp"

namespace gort::fuzz {
namespace {

// The number in a text of digits, slowly.
std::optional<uint64_t> decimal(std::string_view text) {
  const size_t last = text.find_last_not_of(" \t\n");
  if (last == std::string_view::npos) return std::nullopt;
  unsigned __int128 value = 0;
  for (const char c : text.substr(0, last + 1)) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<unsigned>(c - '0');
    if (value > ~uint64_t{0}) return std::nullopt;
  }
  return static_cast<uint64_t>(value);
}

void check_decimal(std::string_view text) {
  constexpr uint64_t kUntouched = 0x5eed;
  uint64_t n = kUntouched;
  const bool good = os::parse_decimal(text, n);
  const std::optional<uint64_t> expected = decimal(text);
  require(good == expected.has_value(), "a decimal number and nothing else is accepted", text);
  require(n == (good ? *expected : kUntouched), "its value; or nothing is written", text);
  if (!good) return;
  uint64_t again = 0;
  require(os::parse_decimal(std::to_string(n), again) && again == n, "print and parse", text);
}

bool has_line_that_starts_with(std::string_view text, std::string_view start) {
  Input lines(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  while (!lines.empty()) {
    if (lines.text('\n').starts_with(start)) return true;
  }
  return false;
}

void check_huge_pages(std::string_view text) {
  const size_t bytes = os::parse_huge_page_size(text);
  require(bytes == 0 || std::has_single_bit(bytes), "a power of two, or none", text);
  require(bytes == 0 || decimal(text) == bytes, "the number that stands there", text);

  const size_t found = os::parse_meminfo_huge_page_size(text);
  require(found == 0 || (std::has_single_bit(found) && found >= 1024), "KiB, a power of two", text);
  require(found == 0 || has_line_that_starts_with(text, "Hugepagesize:"), "of its own line", text);
  // Whatever the other lines say, the one line is found.
  if (has_line_that_starts_with(text, "Hugepagesize:")) return;
  const std::string meminfo = std::string(text) + "\nHugepagesize:    2048 kB\nDirectMap4k: 4 kB\n";
  require(os::parse_meminfo_huge_page_size(meminfo) == 2048u << 10, "the line is found", text);
}

void check_mask(std::string_view text) {
  std::vector<unsigned long> mask(text.size() / sizeof(unsigned long));
  if (!mask.empty()) std::memcpy(mask.data(), text.data(), mask.size() * sizeof mask[0]);
  int bits = 0;
  for (const char c : text.substr(0, mask.size() * sizeof(unsigned long))) {
    bits += std::popcount(static_cast<unsigned char>(c));
  }
  require(os::count_cpus(mask) == std::max(bits, 1), "the bits of the mask, at least one", text);
}

}  // namespace
}  // namespace gort::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  gort::fuzz::check_decimal(text);
  gort::fuzz::check_huge_pages(text);
  gort::fuzz::check_mask(text);
  return 0;
}
