// settings: what the GORT_* environment variables say.
//
// Called by runtime.cpp for the defaults of `options`; what the program sets in its options wins.
//
//   SE1  A variable that is unknown or malformed changes nothing and is reported once, with what is
//        accepted, so that a misspelt setting is not silently without effect.
//   SE2  What is read is never destroyed: a static object's destructor may start a runtime.
//   SE3  In a program that has more rights than who has started it (AT_SECURE: set-user-ID, file capabilities) no variable changes
//        anything: they are the words of somebody whom it must not trust.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace gort::os {

// More Ps than the machine has processors is legal and useful in tests; beyond this it is a typing
// error.
inline constexpr int kMaxProcs = 1024;
// A stack below this can not hold a signal-safe printf; one above is a typing error.
inline constexpr size_t kMinStackBytes = size_t{16} << 10;
inline constexpr size_t kMaxStackBytes = size_t{1} << 30;
// Go's debug.SetMaxThreads default is 10,000; the kernel's own pid_max ends at 4,194,304.
inline constexpr int kMaxThreadsLimit = 1'000'000;

struct Settings {
  int procs = 0;          // GORT_PROCS, 0: not set
  size_t stack_size = 0;  // GORT_STACK in bytes, 0: not set
  int max_threads = 0;    // GORT_MAX_THREADS, 0: not set
  std::string threads;    // GORT_THREADS: "clone", "pthread" or empty
  // GORT_DEBUG=key=value,...: only known keys with well-formed values. schedtrace=<milliseconds>,
  // deadlock=on|off|strict, asyncpreempt=0|1, updateprocs=0|1, slice=<microseconds>us, ticks=timer|event|watchman, chaos=<seed>|random (in checked builds).
  std::map<std::string, std::string> debug;
};

// Pure: takes what it knows from an environment; `complaints` gets one line, without "gort: ", per
// variable (or GORT_DEBUG entry) that was ignored.
Settings parse_settings(const std::map<std::string, std::string>& environment,
                        std::vector<std::string>& complaints);

// Whose words the environment's are: SE3.
enum class Rights : uint8_t { of_the_caller, more };
// Pure: what counts of an environment.
std::map<std::string, std::string> trusted(const std::map<std::string, std::string>& environment,
                                           Rights rights, std::vector<std::string>& complaints);

// The environment as it was at the first call, complaints on stderr. Thread-safe.
const Settings& settings();

// The environment as it is now; a complaint that was made before is not repeated. For options::from_env(), which programs
// may call behind setenv(). Not to be called while another thread calls setenv().
Settings read_settings();

}  // namespace gort::os
