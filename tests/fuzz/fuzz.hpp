// fuzz: what the fuzz targets share.
//
// A target is one file NAME_fuzz.cpp with one LLVMFuzzerTestOneInput. It gives bytes that nobody has
// looked at to a parser, and requires what the parser promises: not that it survives, but that what
// it says is right. The same file is built twice (CMakeLists.txt): with libFuzzer, which looks for
// new inputs, and into gort_fuzz_tests, which runs the corpus and mutations of it in every preset.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace gort::fuzz {

// A promise that was not kept. libFuzzer takes an exception that nobody catches for a crash, and the
// test driver shows it with its input.
class Broken : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

// The text as it may stand in a terminal: everything but printable ASCII as \xNN.
std::string shown(std::string_view text);

inline void require(bool kept, std::string_view promise, std::string_view about = {}) {
  if (!kept) throw Broken(std::string(promise) + " [" + shown(about) + "]");
}

// Takes the input apart, from the front. At the end there are zeros and empty texts.
class Input {
 public:
  Input(const uint8_t* data, size_t size) noexcept
      : rest_(reinterpret_cast<const char*>(data), size) {}

  [[nodiscard]] uint8_t byte() noexcept {
    if (rest_.empty()) return 0;
    const auto first = static_cast<uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return first;
  }
  // Up to the next `separator`, which goes too. A separator that stands in a corpus file and on a
  // keyboard keeps the corpus readable.
  [[nodiscard]] std::string_view text(char separator) noexcept {
    const size_t at = rest_.find(separator);
    const std::string_view field = rest_.substr(0, at);
    rest_.remove_prefix(at == std::string_view::npos ? rest_.size() : at + 1);
    return field;
  }
  [[nodiscard]] std::string_view rest() const noexcept { return rest_; }
  [[nodiscard]] bool empty() const noexcept { return rest_.empty(); }

 private:
  std::string_view rest_;
};

// True if `part` lies within `whole`, as views that a parser gives out must.
[[nodiscard]] inline bool lies_in(std::string_view part, std::string_view whole) noexcept {
  return part.empty() ||
         (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

}  // namespace gort::fuzz

// The engine's interface, and each target's only function.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
