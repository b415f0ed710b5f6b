// report: what the scheduler can say about its fibers to people, from g0, without allocating.
#pragma once

#include <cstdint>

namespace gort {

// Writes the headline and a line for every fiber to fd.
void report_fibers(int fd, const char* headline) noexcept;

// Every fiber is asleep for ever (deadlock.cpp): says so and ends the process with status 2.
void report_deadlock() noexcept;

// Under which seed this process runs (chaos.hpp).
void report_chaos(uint64_t seed) noexcept;

// No OS thread could be made: once per shortage, with what to do about it.
void report_no_thread(int error, int threads) noexcept;

// options.max_threads are there and block: once until one more could be made.
void report_max_threads(int threads) noexcept;

}  // namespace gort
