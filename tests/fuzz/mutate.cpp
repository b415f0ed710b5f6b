#include "mutate.hpp"

#include <algorithm>
#include <iterator>
#include <string_view>

namespace gort::fuzz {
namespace {

constexpr size_t kInputBytesMax = 4096;  // as libFuzzer's default
constexpr size_t kChangesMax = 8;

// What parsers stumble over: limits of numbers, separators, ends of lines and of texts.
constexpr std::string_view kTokens[] = {"0",
                                        "-1",
                                        "65535",
                                        "65536",
                                        "4294967296",
                                        "18446744073709551615",
                                        "18446744073709551616",
                                        "\r\n",
                                        "\n",
                                        " ",
                                        "\t",
                                        ":",
                                        "::",
                                        ",",
                                        "=",
                                        "%",
                                        "/",
                                        "/../",
                                        "\\000",
                                        "\\777",
                                        "\xff",
                                        "\x80",
                                        "+",
                                        "k",
                                        "g",
                                        ".",
                                        "\r",
                                        "\x01\xff"};

}  // namespace

std::string Mutator::next(const std::vector<std::string>& corpus) {
  std::string text = corpus[below(corpus.size())];
  for (size_t left = 1 + below(kChangesMax); left > 0; --left) change(text, corpus);
  if (text.size() > kInputBytesMax) text.resize(kInputBytesMax);
  return text;
}

void Mutator::change(std::string& text, const std::vector<std::string>& corpus) {
  const size_t at = below(text.size() + 1);
  const size_t length = std::min(text.size() - at, 1 + below(16));
  switch (below(8)) {
    case 0:  // a bit
      if (at < text.size()) text[at] = static_cast<char>(text[at] ^ (1 << below(8)));
      break;
    case 1:  // a byte
      if (at < text.size()) text[at] = static_cast<char>(below(256));
      break;
    case 2:
      text.insert(at, 1, static_cast<char>(below(256)));
      break;
    case 3:
      text.insert(at, kTokens[below(std::size(kTokens))]);
      break;
    case 4:
      text.replace(at, length, kTokens[below(std::size(kTokens))]);
      break;
    case 5:
      text.erase(at, length);
      break;
    case 6:  // a piece of it again, somewhere
      text.insert(below(text.size() + 1), text.substr(at, length));
      break;
    default: {  // the end of another one
      const std::string& other = corpus[below(corpus.size())];
      text.replace(at, std::string::npos, other, below(other.size() + 1), std::string::npos);
    }
  }
}

}  // namespace gort::fuzz
