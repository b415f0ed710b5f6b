// line: a line of text in a fixed buffer.
#include "base/line.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <climits>
#include <string>
#include <string_view>

namespace gort {
namespace {

std::string_view text_of(const Line& line) {
  return {line.text(), line.size()};
}

TEST(LineText, NumbersAndAddresses) {
  Line line;
  line.put("a ").put_number(0).put(" ").put_number(-17).put(" ").put_number(LONG_MIN);
  line.put(" ").put_address(0).put(" ").put_address(~uintptr_t{0}).put(" ").put_address(0xabc12);
  EXPECT_EQ(text_of(line),
            "a 0 -17 " + std::to_string(LONG_MIN) + " 0x0 0xffffffffffffffff 0xabc12");
}

TEST(LineText, ATextMayHaveNoEnd) {
  const char name[4] = {'w', 'x', 'y', 'z'};
  Line line;
  line.put(name, sizeof name).put("ab", 1).put("c", 9);
  EXPECT_EQ(text_of(line), "wxyzac");
}

TEST(LineText, WhatIsTooLongIsCutAndStillALine) {
  int fds[2];
  ASSERT_EQ(::pipe(fds), 0);
  Line line;
  for (int i = 0; i < 300; ++i) line.put("abcd");
  line.write(fds[1]);
  line.put("next").write(fds[1]);
  ::close(fds[1]);
  char got[2000];
  const ssize_t n = ::read(fds[0], got, sizeof got);
  ::close(fds[0]);
  ASSERT_EQ(n, 512 + 5);
  EXPECT_EQ(std::string_view(got + 508, 9), "abc\nnext\n");
}

}  // namespace
}  // namespace gort
