#include "fuzz.hpp"

namespace gort::fuzz {

std::string shown(std::string_view text) {
  constexpr size_t kShown = 400;  // a terminal's few lines; the whole input is in a file
  constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (const char c : text.substr(0, kShown)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f && c != '\\') {
      out += c;
    } else {
      out += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  if (text.size() > kShown) out += "...";
  return out;
}

}  // namespace gort::fuzz
