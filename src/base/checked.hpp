// checked: whether this is a build for tests, which may cost something (CMake's GORT_CHECKED).
#pragma once

namespace gort {

#if defined(GORT_CHECKED)
inline constexpr bool kChecked = true;
#else
inline constexpr bool kChecked = false;
#endif

}  // namespace gort
