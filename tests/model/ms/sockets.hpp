// Sockets: what they hold, whether they have been shut down or closed; also for threads that wait in poll(2).
#pragma once

#include <cstdint>

namespace gort {

struct ModelSocket {
  // Of a run: each number is that of an open socket, in which there is nothing.
  static void begin();
  // So many bytes arrive, as an edge, for sock_recv() to take.
  static void arrive(int fd, int bytes);
  static bool is_open(int fd);
  // Data arrives, of which nobody reads anything.
  static void data(int fd);
  static bool is_shut(int fd);
};

}  // namespace gort
