#include "signal/libpreinit.hpp"

#include "os/os.hpp"

namespace gort {

void libpreinit(Ticks ticks) noexcept {
  (void)os::pin_library();  // first: from here on somebody may save the address of a handler
  initsig(ticks);
}

}  // namespace gort
