# Compiler settings that gort's own targets share; never exported to users of the library.
add_library(gort_settings INTERFACE)
target_compile_features(gort_settings INTERFACE cxx_std_20)
target_compile_options(gort_settings INTERFACE -Wall -Wextra $<$<BOOL:${GORT_WERROR}>:-Werror>)
# GCC 12 sees overlaps in std::string concatenation that are not there (GCC PR 105651).
target_compile_options(gort_settings INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
# Frame pointers cost next to nothing here and let perf and the fiber dump unwind cheaply.
target_compile_options(gort_settings INTERFACE -fno-omit-frame-pointer)
# TSan does not model fences; every fence of gort is beside atomic accesses that it does see.
if(GORT_SANITIZE STREQUAL "thread")
  target_compile_options(gort_settings INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-tsan>)
endif()
if(GORT_SANITIZE)
  add_compile_options(-fsanitize=${GORT_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${GORT_SANITIZE})
endif()
