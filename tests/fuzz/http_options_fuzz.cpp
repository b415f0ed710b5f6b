// The example server's command line. The input is the arguments, each ended by a newline.
#include <string>
#include <vector>

#include "fuzz.hpp"
#include "http/settings.hpp"

namespace gort::fuzz {
namespace {

bool parse(std::vector<std::string> arguments, http::Settings& out) {
  arguments.insert(arguments.begin(), "http_server");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  return http::parse(static_cast<int>(arguments.size()), argv.data(), out);
}

std::vector<std::string> print(const http::Settings& s) {
  std::vector<std::string> out = {"--host", s.host, "--procs", std::to_string(s.procs)};
  if (s.port >= 0) out.insert(out.end(), {"--port", std::to_string(s.port)});
  if (s.quiet) out.emplace_back("--quiet");
  if (s.report) out.emplace_back("--report");
  return out;
}

void check(Input input) {
  std::vector<std::string> arguments;
  while (!input.empty()) {
    const std::string_view argument = input.text('\n');
    arguments.emplace_back(argument.substr(0, argument.find('\0')));  // as execve() would cut it
  }
  http::Settings settings;
  if (!parse(arguments, settings)) return;
  require(settings.port >= -1 && settings.port <= 65535, "a port, or none");
  require(settings.procs >= 0 && settings.procs <= 1024, "procs is in its range");
  http::Settings again;
  require(parse(print(settings), again) && again.host == settings.host &&
              again.port == settings.port && again.procs == settings.procs &&
              again.quiet == settings.quiet && again.report == settings.report,
          "print and parse", settings.host);
  arguments.emplace_back("--prot");
  require(!parse(arguments, again), "an unknown option is refused", "--prot");
}

}  // namespace
}  // namespace gort::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  gort::fuzz::check({data, size});
  return 0;
}
