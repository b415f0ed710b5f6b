// mutate: small changes of an input, from a seed. Not a fuzzer: nobody watches what the changes reach.
// It keeps the targets' promises tested by every compiler and sanitizer, as far as the corpus leads.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace gort::fuzz {

class Mutator {
 public:
  explicit Mutator(uint64_t seed) : random_(seed) {}

  // One to eight changes of an input from `corpus`, which is not empty.
  [[nodiscard]] std::string next(const std::vector<std::string>& corpus);

 private:
  [[nodiscard]] size_t below(size_t n) { return n == 0 ? 0 : random_() % n; }
  void change(std::string& text, const std::vector<std::string>& corpus);

  std::mt19937_64 random_;
};

}  // namespace gort::fuzz
