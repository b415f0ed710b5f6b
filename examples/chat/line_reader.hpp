// line_reader: the lines that a client of chat_server sends.
#pragma once

#include <algorithm>
#include <cstddef>
#include <gort/gort.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace chat {

inline constexpr size_t kLineBytesMax = 512;  // what is longer is cut into several

class LineReader {
 public:
  explicit LineReader(gort::net::tcp_stream& peer) : peer_(peer) {}

  // The next one, without its end; nullopt at the end of the stream, or if it fails.
  std::optional<std::string> next() {
    size_t end = 0;
    while ((end = buffered_.find('\n')) == std::string::npos &&
           buffered_.size() < kLineBytesMax + kEndBytesMax) {
      char bytes[kLineBytesMax];
      std::error_code ec;
      const size_t n = peer_.read_some(bytes, ec);
      if (n == 0) return std::nullopt;
      buffered_.append(bytes, n);
    }
    const bool ends = end != std::string::npos;
    size_t length = ends ? end : buffered_.size();
    if (ends && length > 0 && buffered_[length - 1] == '\r') --length;
    const bool whole = ends && length <= kLineBytesMax;
    std::string line = buffered_.substr(0, std::min(length, kLineBytesMax));
    buffered_.erase(0, whole ? end + 1 : line.size());
    return without_controls(line);
  }

 private:
  // The bytes of the character of UTF-8 that `text` begins with; 0: it begins with none.
  static size_t character_bytes(std::string_view text) {
    const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char lead = byte(0);
    if (lead < 0x80) return 1;
    if (lead < 0xc2 || lead > 0xf4) return 0;
    const size_t n = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (text.size() < n) return 0;
    for (size_t i = 1; i < n; ++i) {
      if ((byte(i) & 0xc0) != 0x80) return 0;
    }
    // Longer than it need be, a half of a pair of UTF-16, or beyond the last one.
    const bool wrong = (lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xed && byte(1) >= 0xa0) ||
                       (lead == 0xf0 && byte(1) < 0x90) || (lead == 0xf4 && byte(1) >= 0x90);
    return wrong ? 0 : n;
  }

  // Nobody shall move the cursor on the others' terminals: control characters become '?'. Those from U+0080 to U+009F are some, too
  // (U+009B begins what ESC [ does): in UTF-8, and as single bytes, for terminals that are not set to it.
  static std::string without_controls(std::string_view line) {
    const auto is_c1 = [](char c) { return static_cast<unsigned char>(c) - 0x80U < 0x20; };
    std::string safe;
    while (!line.empty()) {
      const size_t n = character_bytes(line);
      const char first = line.front();
      const bool control = n == 1   ? static_cast<unsigned char>(first) < ' ' || first == 0x7f
                           : n == 2 ? first == '\xc2' && is_c1(line[1])
                           : n == 0 ? is_c1(first)
                                    : false;
      if (control) {
        safe += '?';
      } else {
        safe += line.substr(0, std::max<size_t>(n, 1));
      }
      line.remove_prefix(std::max<size_t>(n, 1));
    }
    return safe;
  }

  static constexpr size_t kEndBytesMax = 2;  // CR LF

  gort::net::tcp_stream& peer_;
  std::string buffered_;
};

}  // namespace chat
