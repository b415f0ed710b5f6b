// guest: a shared library that uses gort inside, as a plug-in would. Its host (host_test.cpp) knows nothing of gort.
#include <sys/syscall.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <memory>
#include <vector>

#include "gort/chan.hpp"
#include "gort/fiber.hpp"
#include "gort/os.hpp"
#include "gort/profile.hpp"
#include "gort/run.hpp"
#include "gort/signals.hpp"
#include "gort/spawn.hpp"
#include "gort/stats.hpp"

namespace {

gort::options options_of(int procs, int slice_ms) {
  gort::options o{.procs = procs};
  o.slice = std::chrono::milliseconds(slice_ms);
  return o;
}

// A fiber that never gives way while another one waits; on one P that one runs only if ticks come through.
int hogs() {
  std::atomic<bool> other_ran{false};
  gort::go([&other_ran] { other_ran = true; });
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!other_ran && std::chrono::steady_clock::now() < end) {
  }
  const int result = other_ran ? 0 : 1;
  while (!other_ran) gort::yield();
  return result;
}

// A fault that the host's handler puts right.
int touches(char* page) {
  return gort::spawn([page] {
           *static_cast<volatile char*>(page) = 7;
           return *static_cast<volatile char*>(page) == 7 ? 0 : 2;
         })
      .get();
}

std::unique_ptr<gort::runtime> embedded;

}  // namespace

#define GUEST_FUNCTION extern "C" __attribute__((visibility("default")))

// 0: well. On the calling thread, which becomes an M. slice_ms 0: no ticks.
GUEST_FUNCTION int guest_run(int slice_ms, void (*inside)()) {
  return gort::run(options_of(1, slice_ms), [&] {
    inside();
    return slice_ms == 0 ? 0 : hogs();
  });
}

GUEST_FUNCTION void guest_start(int slice_ms) {
  embedded = std::make_unique<gort::runtime>(options_of(1, slice_ms));
}
GUEST_FUNCTION int guest_hogs() {
  return embedded->run(hogs);
}
GUEST_FUNCTION int guest_touches(char* page) {
  return embedded->run([page] { return touches(page); });
}
GUEST_FUNCTION void guest_call(void (*function)()) {
  embedded->run([function] { function(); });
}
GUEST_FUNCTION void guest_stop() {
  embedded.reset();
}

// Without a runtime.
GUEST_FUNCTION void guest_notify() {
  const gort::chan<int> ch(1);
  gort::signals::notify(ch, {SIGUSR1});
  gort::signals::stop(ch);
}
GUEST_FUNCTION void guest_profile() {
  gort::profile::cpu_start("/dev/null");
  gort::profile::cpu_stop();
}
GUEST_FUNCTION void guest_all_threads() {
  (void)gort::os::all_threads_syscall(SYS_getpid);
}

// Where gort's own code is.
GUEST_FUNCTION const void* guest_place() {
  return reinterpret_cast<const void*>(&gort::version);
}
