// file: a file that a fiber reads, on a disk that may be slow.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <gort/gort.hpp>
#include <memory>
#include <span>
#include <string>
#include <system_error>

namespace examples {

class File {
 public:
  // Opens it. If `ec` says that it can not be opened, nothing may be read.
  File(const std::string& path, std::error_code& ec)
      : file_(gort::blocking([&] { return open_here(path.c_str(), ec); })) {}

  // Fills `to` from where it stopped, while other fibers go on elsewhere. Less than its size: the end, or an
  // error, which `ec` says.
  size_t read(std::span<char> to, std::error_code& ec) {
    return gort::blocking([&] { return read_here(file_.get(), to, ec); });
  }

 private:
  // errno is the thread's, and a compiler keeps its address for a whole function, though the fiber may wait in there and go on
  // on another thread. So who uses errno does not wait, and is not inlined into one who does
  // (docs/guide/threads-and-fibers.md).
  [[gnu::noinline]] static FILE* open_here(const char* path, std::error_code& ec) {
    FILE* file = std::fopen(path, "rb");
    ec.assign(file == nullptr ? errno : 0, std::generic_category());
    return file;
  }
  [[gnu::noinline]] static size_t read_here(FILE* file, std::span<char> to, std::error_code& ec) {
    const size_t n = std::fread(to.data(), 1, to.size(), file);
    ec.assign(std::ferror(file) != 0 ? errno : 0, std::generic_category());
    return n;
  }

  struct Close {
    void operator()(FILE* file) const { std::fclose(file); }
  };
  std::unique_ptr<FILE, Close> file_;
};

}  // namespace examples
