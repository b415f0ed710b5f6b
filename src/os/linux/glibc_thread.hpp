// glibc_thread: the clone back end of newosproc(): a thread made by a raw clone(2) that enters
// glibc's own start_thread, so that glibc can not tell it from one of its own. This header is all
// that the rest of gort sees of it; without the glibc_thread*.cpp files nothing but `clone` would
// be missing.
#pragma once

#include <string>

#include "os/os.hpp"

namespace gort::os {

// Learns glibc's layout and proves that it is right: 2 to 9 ms, once. False with why. Not
// thread-safe: called under the lock of thread_choice.cpp.
bool glibc_thread_learn(std::string& why);

// As pthread_start() and pthread_reap() of thread.hpp. Only after glibc_thread_learn() was true.
int glibc_thread_start(mOS& os, size_t stack_bytes) noexcept;
void glibc_thread_reap(mOS& os) noexcept;

}  // namespace gort::os
