// /proc/self/cmdline and /proc/self/stat. The input is either; and a number of threads with a program's name, from
// which a text of stat is made.
#include <cerrno>

#include "fuzz.hpp"
#include "os/linux/internal.hpp"

namespace gort::fuzz {
namespace {

void check_arguments(std::string_view text) {
  const std::vector<std::string> arguments = os::split_arguments(text);
  std::string joined;
  for (const std::string& argument : arguments) {
    require(argument.find('\0') == std::string::npos, "no zero within an argument", argument);
    joined.append(argument).push_back('\0');
  }
  // The last zero may be missing.
  std::string expected(text);
  if (!text.empty() && text.back() != '\0') expected.push_back('\0');
  require(joined == expected, "the arguments are the text", text);
  require(os::split_arguments(joined) == arguments, "join and split", text);
}

// What stands behind the name can be cut anywhere, and the name can be anything.
void check_stat(Input input) {
  const int threads = 1 + input.byte();
  const std::string_view garbage = input.rest();
  const int of_garbage = os::parse_stat_threads(garbage);
  require(of_garbage > 0 || of_garbage == -EINVAL, "a number of threads, or none", garbage);

  std::string name(garbage.substr(0, 64));
  std::string good = "1234 (" + name + ") S";
  for (int i = 0; i < 16; ++i) good += " -" + std::to_string(i);
  good += " " + std::to_string(threads);
  const std::string whole = good + " 0 123456 18446744073709551615 0";
  require(os::parse_stat_threads(whole) == threads, "the 18th field behind the name", whole);
  require(os::parse_stat_threads(good) == -EINVAL, "a number that may have been cut", good);
}

}  // namespace
}  // namespace gort::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  gort::fuzz::check_arguments({reinterpret_cast<const char*>(data), size});
  gort::fuzz::check_stat({data, size});
  return 0;
}
