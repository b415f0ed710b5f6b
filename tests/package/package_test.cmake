# See CMakeLists.txt beside this file for the variables that come in.
cmake_minimum_required(VERSION 3.25)

# Runs a command; its output is shown, and the test ends, when it fails.
function(check what)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE out ERROR_VARIABLE out)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${what}: status ${status}\n${out}")
  endif()
  message(STATUS "${what}: ok")
endfunction()

set(prefix ${WORK_DIR}/prefix)
file(REMOVE_RECURSE ${WORK_DIR})
file(MAKE_DIRECTORY ${WORK_DIR})

if(KIND STREQUAL "other")
  if(SHARED)
    set(other OFF)
  else()
    set(other ON)
  endif()
  set(BUILD_DIR ${WORK_DIR}/build)
  check("configure gort with BUILD_SHARED_LIBS=${other}"
    ${CMAKE_COMMAND} -S ${SOURCE_DIR} -B ${BUILD_DIR} -G ${GENERATOR}
    -DCMAKE_C_COMPILER=${CC} -DCMAKE_CXX_COMPILER=${CXX} -DCMAKE_BUILD_TYPE=Release
    -DBUILD_SHARED_LIBS=${other} -DCMAKE_INSTALL_LIBDIR=${LIBDIR}
    -DGORT_BUILD_TESTS=OFF -DGORT_BUILD_EXAMPLES=OFF -DGORT_BUILD_BENCH=OFF)
  check("build gort" ${CMAKE_COMMAND} --build ${BUILD_DIR})
endif()
check("install gort" ${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${prefix})

file(GLOB installed RELATIVE ${prefix}/include ${prefix}/include/*)
if(NOT installed STREQUAL "gort")
  message(FATAL_ERROR "only include/gort may be installed, found: ${installed}")
endif()

set(consumer ${CMAKE_CURRENT_LIST_DIR}/consumer)
check("configure a program that uses find_package"
  ${CMAKE_COMMAND} -S ${consumer} -B ${WORK_DIR}/consumer -G ${GENERATOR}
  -DCMAKE_CXX_COMPILER=${CXX} -DCMAKE_PREFIX_PATH=${prefix} -DGORT_VERSION_WANTED=${VERSION})
check("build it" ${CMAKE_COMMAND} --build ${WORK_DIR}/consumer)
check("run it" ${WORK_DIR}/consumer/consumer)

find_program(PKG_CONFIG NAMES pkg-config pkgconf REQUIRED)
set(ENV{PKG_CONFIG_PATH} ${prefix}/${LIBDIR}/pkgconfig)
execute_process(COMMAND ${PKG_CONFIG} --cflags --libs "gort = ${VERSION}" OUTPUT_VARIABLE flags
  OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
separate_arguments(flags UNIX_COMMAND "${flags}")
check("build a program with pkg-config"
  ${CXX} -std=c++20 ${consumer}/main.cpp -o ${WORK_DIR}/by_pkg_config ${flags})
set(ENV{LD_LIBRARY_PATH} ${prefix}/${LIBDIR})
check("run it" ${WORK_DIR}/by_pkg_config)

# Each header stands alone. Once is enough: the headers are the same for both kinds.
if(KIND STREQUAL "this")
  file(GLOB_RECURSE headers RELATIVE ${prefix}/include ${prefix}/include/*.hpp)
  foreach(header IN LISTS headers)
    file(WRITE ${WORK_DIR}/alone.cpp "#include <${header}>\n#include <${header}>\n")
    check("<${header}> alone" ${CXX} -std=c++20 -Wall -Wextra -Werror -fsyntax-only
      -I${prefix}/include ${WORK_DIR}/alone.cpp)
  endforeach()
endif()
