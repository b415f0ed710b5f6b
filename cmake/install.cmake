# What `cmake --install` puts on a system: include/gort, the library, the CMake package, gort.pc.
include(CMakePackageConfigHelpers)

set(GORT_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/gort)

install(TARGETS gort EXPORT gort-targets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY include/gort DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.hpp")
install(EXPORT gort-targets NAMESPACE gort:: DESTINATION ${GORT_PACKAGE_DIR})

# Before 1.0 a minor version may break users, so only the same minor version is compatible.
configure_package_config_file(cmake/gort-config.cmake.in gort-config.cmake
  INSTALL_DESTINATION ${GORT_PACKAGE_DIR})
write_basic_package_version_file(gort-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/gort-config.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/gort-config-version.cmake DESTINATION ${GORT_PACKAGE_DIR})

# A static archive needs its private dependencies at the user's link; a shared library has them inside.
if(BUILD_SHARED_LIBS)
  set(GORT_PC_DEPENDENCIES "Requires.private: fmt, zlib\nLibs.private: -lboost_context -pthread")
  set(GORT_PC_LIBS "")
else()
  set(GORT_PC_DEPENDENCIES "Requires: fmt, zlib")
  set(GORT_PC_LIBS " -lboost_context -pthread")
  if(CMAKE_DL_LIBS)
    string(APPEND GORT_PC_LIBS " -l${CMAKE_DL_LIBS}")
  endif()
endif()
# Relative to the file itself, so that the tree may be installed anywhere and moved.
file(RELATIVE_PATH GORT_PC_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" GORT_PC_PREFIX ${GORT_PC_PREFIX})
configure_file(cmake/gort.pc.in gort.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/gort.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
