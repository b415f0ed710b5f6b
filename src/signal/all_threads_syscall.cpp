// all_threads_syscall: the door to all_threads.hpp for programs. Implements include/gort/os.hpp.
#include <string>
#include <system_error>

#include "gort/os.hpp"
#include "os/os.hpp"
#include "sched/region.hpp"
#include "signal/all_threads.hpp"

namespace gort::os {

long all_threads_syscall(long nr, long a1, long a2, long a3, long a4, long a5, long a6) {
  const long args[6] = {a1, a2, a3, a4, a5, a6};
  (void)os::pin_library();  // as in libpreinit(): this needs no runtime
  Region in;
  const AllThreadsResult r = doAllThreadsSyscall(nr, args);
  in.leave();
  if (r.error == 0) return r.result;
  std::string what = "gort::os::all_threads_syscall: the threads of the process can not be stopped";
  if (r.tid != 0) what += "; thread " + std::to_string(r.tid) + " takes no signal";
  throw std::system_error(-r.error, std::generic_category(), what);
}

}  // namespace gort::os
