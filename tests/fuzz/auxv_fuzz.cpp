// The auxiliary vector. The input is the content of /proc/self/auxv, whole or cut.
#include <elf.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <vector>

#include "fuzz.hpp"
#include "os/linux/internal.hpp"

namespace gort::fuzz {
namespace {

constexpr size_t kPairBytes = 2 * sizeof(unsigned long);

// As read_auxv() would leave it in a buffer of `words`, which is at least a pair.
std::vector<unsigned long> vector_of(std::string_view text, size_t words, int& pairs) {
  std::vector<unsigned long> out(words, ~0ul);
  const size_t bytes = std::min(text.size(), words * sizeof(unsigned long));
  if (bytes != 0) std::memcpy(out.data(), text.data(), bytes);
  pairs = os::terminate_auxv(out, bytes);
  return out;
}

bool contains(const std::vector<unsigned long>& words, int pairs, unsigned long tag,
              unsigned long value) {
  for (size_t i = 0; i < 2 * static_cast<size_t>(pairs); i += 2) {
    if (words[i] == tag && words[i + 1] == value) return true;
  }
  return false;
}

void check(std::string_view text, size_t words) {
  int whole = 0;
  const std::vector<unsigned long> vector = vector_of(text, words, whole);
  require(whole >= 0 && static_cast<size_t>(whole) <= text.size() / kPairBytes, "whole pairs only");
  require(2 * static_cast<size_t>(whole) + 2 <= words, "room for the end");
  require(vector[2 * static_cast<size_t>(whole)] == AT_NULL, "the vector ends");

  const os::AuxvFacts facts = os::parse_auxv(vector.data());
  require(facts.pairs >= 0 && facts.pairs <= whole, "not read beyond the end");
  const size_t page = facts.page_bytes;
  require(page == 0 || (std::has_single_bit(page) && page >= 4096), "a page size that can be one");
  const struct {
    unsigned long tag, value;
  } given[] = {{AT_PAGESZ, page},
               {AT_HWCAP, facts.hwcap},
               {AT_HWCAP2, facts.hwcap2},
               {AT_RANDOM, reinterpret_cast<unsigned long>(facts.random)},
               {AT_SYSINFO_EHDR, reinterpret_cast<unsigned long>(facts.vdso)}};
  for (const auto& [tag, value] : given) {
    require(value == 0 || contains(vector, facts.pairs, tag, value), "every fact was said");
  }
}

// The other direction: a vector that says something, and garbage behind its end.
void check_written(Input input) {
  const unsigned long page = 4096ul << input.byte() % 8;
  const unsigned long secure = input.byte() % 2;
  const unsigned long hwcap = input.byte() * 0x0101010101010101ul;
  const std::array<unsigned long, 8> words = {AT_PAGESZ, page,  AT_SECURE, secure,
                                              AT_HWCAP,  hwcap, AT_NULL,   0};
  std::string text(reinterpret_cast<const char*>(words.data()), sizeof words);
  text.append(input.rest());
  int pairs = 0;
  const std::vector<unsigned long> vector = vector_of(text, os::kAuxvWords, pairs);
  const os::AuxvFacts facts = os::parse_auxv(vector.data());
  require(facts.pairs == 3 && facts.page_bytes == page && facts.hwcap == hwcap &&
              facts.secure == (secure != 0),
          "what was written is read");
}

}  // namespace
}  // namespace gort::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  gort::fuzz::check(text, gort::os::kAuxvWords);
  gort::fuzz::check(text, 6);  // the file is longer than the buffer
  gort::fuzz::check_written({data, size});
  return 0;
}
