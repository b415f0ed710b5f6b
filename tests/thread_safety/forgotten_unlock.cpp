// must not compile: mutex 's.lock' is not held on every path through here
#include "sched/sched.hpp"

void count(gort::Sched& s, int n) {
  s.lock.lock();
  s.m_count += n;
  if (n == 0) return;
  s.lock.unlock();
}
