// What the tests of net share: a body that runs inside gort::run with one and with two procs, a
// connected pair of streams, and the number of open descriptors.
#pragma once

#include <dirent.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "gort/fiber.hpp"
#include "gort/net.hpp"
#include "gort/run.hpp"
#include "gort/spawn.hpp"

namespace gort::net::testing {

inline constexpr auto kLong = std::chrono::seconds(30);  // a limit that no test reaches
inline constexpr auto kSoon = std::chrono::milliseconds(20);

inline time_point in(std::chrono::steady_clock::duration d) {
  return std::chrono::steady_clock::now() + d;
}

inline int open_descriptors() {
  DIR* dir = ::opendir("/proc/self/fd");
  int n = 0;
  while (::readdir(dir) != nullptr) ++n;
  ::closedir(dir);
  return n;
}

// The parameter is the number of procs. A test that leaks a descriptor fails.
class NetTest : public ::testing::TestWithParam<int> {
 protected:
  template <class F>
  void in_fibers(F&& f) {
    gort::run(options{.procs = GetParam()}, std::forward<F>(f));
  }
  void SetUp() override { descriptors_ = open_descriptors(); }
  void TearDown() override { EXPECT_EQ(open_descriptors(), descriptors_) << "descriptors leaked"; }

 private:
  int descriptors_ = 0;
};

struct Pair {
  tcp_stream client;
  tcp_stream server;
};

inline Pair connected_pair() {
  auto listener = tcp_listener::listen("127.0.0.1", 0);
  auto client = tcp_stream::connect(listener.local_endpoint());
  return {std::move(client), listener.accept()};
}

// Lets every other fiber run until it waits (with one proc; with more, most likely).
inline void let_others_run() {
  for (int i = 0; i < 100; ++i) gort::yield();
}

// Whether a thread waits in the kernel.
inline bool sleeps(pid_t thread) {
  std::ifstream in("/proc/self/task/" + std::to_string(thread) + "/stat");
  std::string text;
  std::getline(in, text);
  const size_t name_end = text.rfind(')');
  return name_end != std::string::npos && text.substr(name_end + 2, 1) == "S";
}

inline std::string read_string(tcp_stream& s, size_t n) {
  std::string text(n, '\0');
  text.resize(s.read(std::span<char>(text)));
  return text;
}

// Writes until the kernel takes no more within a moment. Leaves no deadline behind.
inline size_t fill(tcp_stream& s) {
  const std::string block(256 * 1024, 'x');
  size_t total = 0;
  std::error_code ec;
  while (!ec) {
    s.set_write_deadline(in(kSoon));
    total += s.write_some(block, ec);
  }
  s.set_write_deadline(time_point::max());
  return total;
}

// Writes until it fails. After fill() nearly always at once a write that waits; but a kernel that is late to
// acknowledge makes room later.
inline std::error_code write_on(tcp_stream& s) {
  const std::string block(256 * 1024, 'x');
  std::error_code ec;
  while (!ec) s.write(block, ec);
  return ec;
}

}  // namespace gort::net::testing
