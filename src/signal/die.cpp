// To this thread first: a core then shows it, and nobody can be faster. To the process, as a shell would see it, where this
// thread is refused it.
#include "signal/die.hpp"

#include <unistd.h>

#include <csignal>

#include "os/os.hpp"

namespace gort {

void dieFromSignal(int sig) noexcept {
  const os::SignalAction by_default;
  (void)os::rt_sigaction(sig, &by_default, nullptr);
  const uint64_t open = os::signal_bit(sig);
  os::rtsigprocmask(SIG_UNBLOCK, &open, nullptr);
  os::raise(sig);
  os::raiseproc(sig);
  // Process 1 of a container is not ended by signals that it sends to itself, and another thread may have put a handler
  // there in this moment. The status is what a shell makes of a signal.
  constexpr int kShellsStatus = 128;
  ::_exit(kShellsStatus + sig);
}

}  // namespace gort
