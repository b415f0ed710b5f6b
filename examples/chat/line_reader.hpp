// line_reader: the lines that a client of chat_server sends.
#pragma once

#include <algorithm>
#include <cstddef>
#include <gort/gort.hpp>
#include <optional>
#include <string>
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
    // Nobody shall move the cursor on the others' terminals.
    std::replace_if(
        line.begin(), line.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; }, '?');
    return line;
  }

 private:
  static constexpr size_t kEndBytesMax = 2;  // CR LF

  gort::net::tcp_stream& peer_;
  std::string buffered_;
};

}  // namespace chat
