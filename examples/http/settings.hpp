// settings: the command line of http_server.
#pragma once

#include <charconv>
#include <string>
#include <string_view>

namespace http {

struct Settings {
  std::string host = "127.0.0.1";
  int port = -1;  // -1: 8080, or another if that is taken
  int procs = 0;  // 0: as many as the machine gives us
  bool quiet = false;
  bool report = false;
};

inline constexpr const char* kUsage = "[--host H] [--port N] [--procs N] [--quiet] [--report]";

// False: the command line is wrong.
inline bool parse(int argc, char** argv, Settings& out) {
  const auto number = [&](int i, int max, int& to) {
    if (i >= argc) return false;
    const std::string_view text = argv[i];
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), to);
    return error == std::errc() && stop == text.data() + text.size() && to >= 0 && to <= max;
  };
  for (int i = 1; i < argc; ++i) {
    const std::string_view arg = argv[i];
    if (arg == "--quiet") {
      out.quiet = true;
    } else if (arg == "--report") {
      out.report = true;
    } else if (arg == "--host" && i + 1 < argc) {
      out.host = argv[++i];
    } else if (arg == "--port") {
      if (!number(++i, 65535, out.port)) return false;
    } else if (arg == "--procs") {
      if (!number(++i, 1024, out.procs)) return false;
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace http
