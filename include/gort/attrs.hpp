// attrs: how a fiber is made, for go() and spawn().
#pragma once

#include <cstddef>
#include <string_view>

namespace gort {

// How a fiber is made. Zero and empty mean the default.
//
//     gort::go({.name = "reader", .stack_size = 65536}, read_all, path);
struct attrs {
  std::string_view name = {};  // shown in reports; copied, cut at 31 bytes
  size_t stack_size = 0;  // bytes of address space, at least 16 KiB; rounded up to a power of two
};

}  // namespace gort
