// line: one line of text for people, made in a fixed buffer, so that it can be made anywhere: in a signal handler, on a
// full stack, with a broken heap. What does not fit is cut; the end of the line always fits.
//
// Used by check.cpp and by what speaks in handlers (src/signal/fault.cpp).
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/write.hpp"

namespace gort {

class Line {
 public:
  Line& put(const char* text) noexcept { return put(text, kRoom); }
  // At most `most` bytes of it.
  Line& put(const char* text, size_t most) noexcept {
    for (size_t i = 0; i < most && text[i] != '\0' && n_ < kRoom; ++i) text_[n_++] = text[i];
    return *this;
  }
  Line& put_number(long value) noexcept {
    if (value < 0) put("-");
    return put_digits(
        value < 0 ? 0UL - static_cast<unsigned long>(value) : static_cast<unsigned long>(value),
        10);
  }
  Line& put_address(uintptr_t value) noexcept { return put("0x").put_digits(value, 16); }

  [[nodiscard]] const char* text() const noexcept { return text_; }
  [[nodiscard]] size_t size() const noexcept { return n_; }

  // Ends the line and writes it.
  void write(int fd) noexcept {
    text_[n_++] = '\n';
    write_text(fd, text_, n_);
    n_ = 0;
  }

 private:
  static constexpr size_t kRoom = 511;  // and the end of the line

  Line& put_digits(unsigned long value, unsigned base) noexcept {
    char digits[24];  // 20 of the largest number
    size_t i = sizeof digits - 1;
    digits[i] = '\0';
    do {
      digits[--i] = "0123456789abcdef"[value % base];
      value /= base;
    } while (value != 0);
    return put(digits + i);
  }

  char text_[kRoom + 1];
  size_t n_ = 0;
};

}  // namespace gort
