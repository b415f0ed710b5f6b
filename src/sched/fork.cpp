#include "sched/fork.hpp"

#include <pthread.h>

#include "base/check.hpp"
#include "base/mem.hpp"
#include "os/os.hpp"
#include "sched/current.hpp"
#include "sched/lock.hpp"
#include "sched/netpoll_internal.hpp"

namespace gort {
namespace {

constexpr int kForgettersMax = 16;

// Written before main(), or while a library is loaded.
using Forget = void (*)() noexcept;
constinit Forget forgetters[kForgettersMax] = {};
constinit int forgetters_used = 0;

// FK1. The thread is no M any more.
void forget_runtime() noexcept {
  after_fork = true;
  if (M* const m = current_m(); m != nullptr) {
    os::forget_ticks(m->os);
    set_current_m(nullptr);
  }
  // Whether the poller is whole. relaxed, both: there is one thread.
  if (open_for_visitors.load(std::memory_order_relaxed)) netpoll_forget();
  open_for_visitors.store(false, std::memory_order_relaxed);  // relaxed: as above
}

void in_child() noexcept {
  forked = true;
  // relaxed: as above.
  if (runtime_taken.load(std::memory_order_relaxed)) forget_runtime();
  os::forget_timer_slack();
  os::forget_house();
  Visitor::forget_all();
  foreign_parked.forget();
  house_threads.forget();
  outside_wakers.store(0, std::memory_order_relaxed);  // relaxed: as above
  // One too many costs a needless wake-up at every release. relaxed: as above.
  for (Atomic<uint32_t>& sleepers : lock_sleepers) sleepers.store(0, std::memory_order_relaxed);
  for (int i = 0; i < forgetters_used; ++i) forgetters[i]();
}

}  // namespace

bool on_fork(Forget forget) noexcept {
  if (forgetters_used == 0 && ::pthread_atfork(nullptr, nullptr, in_child) != 0) {
    fatal("no memory to be told of forks", __FILE__, __LINE__);
  }
  GORT_CHECK(forgetters_used < kForgettersMax, "FK2: room for all who forget");
  forgetters[forgetters_used++] = forget;
  return true;
}

}  // namespace gort
