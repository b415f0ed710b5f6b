// Sockets that threads wait for in poll(2): whether they are readable, and whether they have been shut down.
#pragma once

#include <cstdint>

namespace gort {

struct ModelSocket {
  // Data arrives, of which nobody reads anything.
  static void data(int fd);
  static bool is_shut(int fd);
};

}  // namespace gort
