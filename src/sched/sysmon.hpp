// sysmon: the watchman, a thread without a P that looks after what nobody else would.
#pragma once

namespace gort {

[[nodiscard]] int start_sysmon() noexcept;  // 0 or -errno
void stop_sysmon() noexcept;

// Ends sysmon's deep sleep, if it is in one: some M has got a P. One load when it is not.
void wake_sysmon() noexcept;

// Makes sysmon look at the phase: the runtime exits.
void wake_sysmon_to_exit() noexcept;

}  // namespace gort
