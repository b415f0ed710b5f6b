// pinned: the calling thread, and those that it starts meanwhile, on the first few of the CPUs that it may use.
#pragma once

#include <sched.h>

namespace bench {

class Pinned {
 public:
  explicit Pinned(int cpus) {
    sched_getaffinity(0, sizeof before_, &before_);
    cpu_set_t some;
    CPU_ZERO(&some);
    for (int cpu = 0; cpu < CPU_SETSIZE && cpus > 0; ++cpu) {
      if (!CPU_ISSET(cpu, &before_)) continue;
      CPU_SET(cpu, &some);
      --cpus;
    }
    sched_setaffinity(0, sizeof some, &some);
  }
  ~Pinned() { sched_setaffinity(0, sizeof before_, &before_); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

 private:
  cpu_set_t before_;
};

}  // namespace bench
