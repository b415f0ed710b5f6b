#include "sched/signal_m.hpp"

#include <cerrno>

#include "base/check.hpp"
#include "os/os.hpp"

namespace gort {

void signalM(const M* m, int sig) noexcept {
  // acquire: pairs with the release in minit(): the thread has its signal stack and its mask.
  const int tid = m->os.tid.load(std::memory_order_acquire);
  if (tid == 0) return;
  const int error = os::signal_thread(tid, sig);
  // EAGAIN: a real-time signal, and the user may have no more of them waiting.
  if (error != 0 && error != -ESRCH && error != -EAGAIN) {
    fatal_value("signalM: a signal can not be sent", error, __FILE__, __LINE__);
  }
}

}  // namespace gort
