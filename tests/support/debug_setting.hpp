// debug_setting: a test under a GORT_DEBUG setting of its own. gort reads its settings once in a process, so this is for the
// first run of one: ctest gives each case a process, and where many share one, as under chaos, such a case is skipped.
#pragma once

#include <cstdlib>
#include <string>

#include "gort/run.hpp"
#include "gort/stats.hpp"

namespace gort::test {

// Adds "key=value", and says what stats().ticks is in a run from then on: the caller knows whether it was in time. The
// environment is as before afterwards: a process that a later case starts again is to read what this one did.
inline std::string ticks_with(const std::string& setting) {
  const char* now = std::getenv("GORT_DEBUG");
  const std::string before = now == nullptr ? "" : now;
  ::setenv("GORT_DEBUG", before.empty() ? setting.c_str() : (before + "," + setting).c_str(), 1);
  std::string ticks = run([] { return std::string(stats().ticks); });
  if (now == nullptr) {
    ::unsetenv("GORT_DEBUG");
  } else {
    ::setenv("GORT_DEBUG", before.c_str(), 1);
  }
  return ticks;
}

// Fibers are not interrupted in this process. False: it was too late to say so.
inline bool without_preemption() {
  return ticks_with("asyncpreempt=0") == "off";
}

}  // namespace gort::test
