// The public functions about the current fiber (gort/fiber.hpp), blocking and errors.
#include "gort/fiber.hpp"

#include <cstring>

#include "gort/blocking.hpp"
#include "gort/detail/fiber.hpp"
#include "gort/errors.hpp"
#include "sched/park.hpp"
#include "sched/stop.hpp"
#include "sched/syscall.hpp"
#include "sched/timer.hpp"

namespace gort {

closed_channel::closed_channel() : std::logic_error("gort: the channel is closed") {}
closed_channel::~closed_channel() = default;

namespace {

class ErrorCategory final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "gort"; }
  [[nodiscard]] std::string message(int value) const override {
    switch (static_cast<errc>(value)) {
      case errc::canceled:
        return "the context was cancelled";
      case errc::deadline_exceeded:
        return "the context's deadline has passed";
    }
    return "unknown error";
  }
  [[nodiscard]] std::error_condition default_error_condition(int value) const noexcept override {
    switch (static_cast<errc>(value)) {
      case errc::canceled:
        return std::errc::operation_canceled;
      case errc::deadline_exceeded:
        return std::errc::timed_out;
    }
    return {value, *this};
  }
};

}  // namespace

const std::error_category& error_category() noexcept {
  static const ErrorCategory category;
  return category;
}

void yield() noexcept {
  const Region in;
  yield_fiber();
}

void checkpoint() noexcept {
  M* m = current_m();
  // relaxed, both: a wish (WA3 in watch.hpp).
  if (m == nullptr || __builtin_expect(!m->yield_wanted.load(std::memory_order_relaxed), 1)) return;
  m->yield_wanted.store(false, std::memory_order_relaxed);
  yield();
}

namespace detail {

G* this_g() noexcept {
  return current_fiber();
}

void sleep_until_ns(int64_t steady_ns) {
  if (steady_ns <= os::nanotime()) return;
  const Region in;
  chaos_preempt();
  if (stop_pending()) deliver_stop();
  if (gort::sleep_until_ns(steady_ns) == WakeCause::stopped) deliver_stop();
}

void fiber_function_ended(G* g) noexcept {
  if (g->stop_state == StopState::open) g->stop_state = StopState::over;
}

bool stop_may_come() noexcept {
  const G* g = current_fiber();
  return g != nullptr && g->stop_state != StopState::delivered;
}

void deliver_due_stop() {
  const Region in;
  if (stop_pending()) deliver_stop();
}

// A requester reads the state under a Wait that was published behind our change, and is done with it before park() returns (S1).
stop_shield::stop_shield() noexcept : g_(current_fiber()) {
  if (g_ != nullptr && g_->stop_state != StopState::open) g_ = nullptr;
  if (g_ != nullptr) g_->stop_state = StopState::over;
}
stop_shield::~stop_shield() {
  // Not `over` any more: a select inside, with the fiber's own token among its cases, has had the request.
  if (g_ != nullptr && g_->stop_state == StopState::over) g_->stop_state = StopState::open;
}

bool enter_blocking() noexcept {
  const Region in;
  return gort::enter_blocking();
}
void leave_blocking() noexcept {
  const Region in;
  gort::leave_blocking();
}

}  // namespace detail

namespace this_fiber {

bool in_fiber() noexcept {
  return current_fiber() != nullptr;
}

uint64_t id() noexcept {
  const G* g = current_fiber();
  return g != nullptr ? g->id : 0;
}

std::string name() {
  const G* g = current_fiber();
  return g != nullptr ? std::string(static_cast<const char*>(g->name)) : std::string();
}

void name(std::string_view text) noexcept {
  if (G* g = current_fiber(); g != nullptr) set_name(g, text);
}

std::stop_token stop_token() {
  G* g = current_fiber();
  return g != nullptr ? token_of(g) : std::stop_token();
}

}  // namespace this_fiber
}  // namespace gort
