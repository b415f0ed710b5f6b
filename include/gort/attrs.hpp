// attrs: how a fiber is made, for go() and spawn().
#pragma once

#include <cstddef>
#include <string_view>

namespace gort {

// How a fiber is made. Zero and empty mean the default.
//
//     gort::go({.name = "reader", .stack_size = 65536}, read_all, path);
struct attrs {
  // Shown in reports; copied, cut at 31 bytes, and at a null character.
  std::string_view name = {};
  // Bytes of address space, rounded up to a power of two of at least 16 KiB (and four pages); at most 1 GiB: beyond that
  // std::invalid_argument is thrown.
  size_t stack_size = 0;
};

}  // namespace gort
