// The models' cpu_pause(): takes the place of src/base/pause.hpp. A loop that waits says so.
#pragma once

#include "checker/checker.hpp"

namespace gort {

inline void cpu_pause() noexcept {
  if (model::running()) model::pause();
}

}  // namespace gort
