// profile: which code, and which fiber, uses the processor.
#pragma once

#include <string>

#include "gort/export.hpp"

namespace gort::profile {

// Begins a CPU profile of the whole process: all fibers, and all threads. `hz` times in every second of processor time,
// the stack of what runs is noted. cpu_stop() writes them to the file `path`, which is made (or emptied) now, in the
// format of pprof, gzipped: `pprof -top PROGRAM FILE`. Samples of a fiber have the label "fiber": its name, or its number
// if it has none (`pprof -tags`).
//
// Needs no runtime, and goes on over the end of one and the start of the next. Any fiber or thread may call it.
//
// While it runs, SIGPROF and ITIMER_PROF are taken: a program's own ITIMER_PROF stops for good. Its SIGPROF handler stays,
// gets all SIGPROF that are not the profile's, and is back afterwards; without one, SIGPROF sent by others is ignored
// meanwhile. A thread that blocks SIGPROF is not seen, unless it runs fibers and they are interrupted (options.slice). A process that ends, or that replaces itself by exec, has to call
// cpu_stop() before: what was not stopped is not written.
//
// Errors: std::invalid_argument if hz is not from 1 to 1000; std::logic_error if a profile runs already;
// std::system_error if the file cannot be made, or if the system gives no thread or memory. Under ThreadSanitizer:
// std::errc::not_supported, since its own code must not be interrupted. Nothing is left of a profile that did not begin.
GORT_API void cpu_start(const std::string& path, int hz = 100);

// Ends the profile and writes it. Does nothing if none runs. The calling fiber's P goes on with others while it writes.
// Errors: std::system_error if the file cannot be written; the profile has ended all the same.
GORT_API void cpu_stop();

}  // namespace gort::profile
