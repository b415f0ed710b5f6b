// die: the end of the process by a signal's default action.
#pragma once

namespace gort {

// So that whoever waits for the process sees that signal, and a core is written where there would be one. In a handler too.
[[noreturn]] void dieFromSignal(int sig) noexcept;

}  // namespace gort
