// signal: the handlers that gort installs, and what they do.
#pragma once

namespace gort {

// For the life of a runtime with preemption: SIGURG is ours. What was there before is called for signals that are not,
// and is back afterwards. By runtime.cpp. 0 or -errno.
[[nodiscard]] int initsig() noexcept;
void finisig() noexcept;

}  // namespace gort
