// schedtrace: GORT_DEBUG=schedtrace=MS prints a line of scheduler state every MS milliseconds, as
// in Go.
#pragma once

namespace gort {

void print_schedtrace() noexcept;

}  // namespace gort
