// The models' clock: stands still, or moves when it is looked at, so that waiters become overdue.
#include "os/os.hpp"
#include "port/port.hpp"

namespace gort {

namespace {

struct ModelClock {
  uint64_t run = 0;
  int64_t now_ns = 0;
  int64_t step_ns = 0;
} model_clock;

}  // namespace

int64_t os::nanotime() noexcept {
  if (model_clock.run != model::run_number()) model_clock = {model::run_number(), 0, 0};
  return model_clock.now_ns += model_clock.step_ns;
}

// The looks alone move it, also the one before a wait (has_passed()): who has slept looks next, and sleeps again if its limit is not reached.
void os::futexsleep(const Atomic<uint32_t>* addr, uint32_t val, int64_t ns) noexcept {
  model::futex_sleep(addr->location(), val, ns != kForever);
}

void let_looks_take(int64_t ns) {
  model_clock = {model::run_number(), 0, ns};
}

}  // namespace gort
