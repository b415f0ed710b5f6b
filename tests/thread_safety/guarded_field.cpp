// must not compile: reading variable 'm_count' requires holding lock 's.lock'
#include "sched/sched.hpp"

int threads(const gort::Sched& s) {
  return s.m_count;
}
