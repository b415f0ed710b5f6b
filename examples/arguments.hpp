// arguments: the command lines of the small examples, which are numbers.
#pragma once

#include <charconv>
#include <stdexcept>
#include <string>
#include <string_view>

namespace examples {

struct number {
  const char* name;
  int least;
  int most;
  int fallback;  // if it is not given
};

// The number in argv[i]. Throws std::invalid_argument, which says what is wrong with it.
inline int parse(int argc, char** argv, int i, const number& n) {
  if (i >= argc) return n.fallback;
  const std::string_view text = argv[i];
  int value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || stop != text.data() + text.size() || value < n.least ||
      value > n.most) {
    throw std::invalid_argument(std::string(n.name) + " must be a number from " +
                                std::to_string(n.least) + " to " + std::to_string(n.most) +
                                ", not '" + std::string(text) + "'");
  }
  return value;
}

// Throws if there are more arguments than `usage` names.
inline void check_count(int argc, int most, const char* usage) {
  if (argc - 1 > most) throw std::invalid_argument(std::string("usage: ") + usage);
}

}  // namespace examples
