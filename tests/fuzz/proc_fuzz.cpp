// /proc/self/cmdline and the records of /proc/self/task. The input is either; and a number of threads
// with it, from which records are made.
#include <dirent.h>

#include <cstring>

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

std::string record(const std::string& name) {
  constexpr size_t kHeadBytes = offsetof(dirent64, d_name);
  std::string out(kHeadBytes, '\0');
  out.append(name).push_back('\0');
  out.resize((out.size() + 7) / 8 * 8);  // the kernel's alignment
  const auto bytes = static_cast<unsigned short>(out.size());
  std::memcpy(out.data() + offsetof(dirent64, d_reclen), &bytes, sizeof bytes);
  return out;
}

void check_task(Input input) {
  const int threads = input.byte() % 64;  // two buffers of count_threads()
  const std::string_view garbage = input.rest();
  const int of_garbage = os::count_task_entries(garbage);
  require(of_garbage >= 0 && static_cast<size_t>(of_garbage) <= garbage.size() / 20,
          "no more threads than records have room", garbage);

  std::string good = record(".") + record("..");
  for (int i = 0; i < threads; ++i) good += record(std::to_string(1000 + i));
  require(os::count_task_entries(good) == threads, "every thread is counted once", good);
  // What follows whole records cannot take any of them away.
  require(os::count_task_entries(good + std::string(garbage)) == threads + of_garbage,
          "the records of both", garbage);
}

}  // namespace
}  // namespace gort::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  gort::fuzz::check_arguments({reinterpret_cast<const char*>(data), size});
  gort::fuzz::check_task({data, size});
  return 0;
}
