// task_group: a count of tasks that are left, and a list of those that have begun.
//
//   TG1  A task counts from before its fiber is made until the last that it does, behind the destructors of its function and of its
//        fiber_locals. Who brings the count to zero notifies under the lock, and touches nothing of the group behind it: the
//        group may be gone.
//   TG2  A request reaches each task, since its stop_callback is made on its fiber, before its function runs, and calls at
//        once where the group was asked before. The callback ends before the task is counted out.
//   TG3  Who waits does so without being cancellable, and hands requests on: it must not leave before the tasks have ended. Its own request stays
//        open for join() to deliver, or, in the destructor, for the next ordinary wait. With a limit it leaves at the limit or when
//        all have ended, asked or not.
//
// Rejected: a list of task handles (grows with every task that has ended); wait_group's wait (a request ends it).
#include "gort/task_group.hpp"

#include <new>
#include <system_error>

#include "base/check.hpp"
#include "gort/fiber.hpp"
#include "gort/fiber_local.hpp"
#include "sched/timer.hpp"

namespace gort {

task_group::member::member(task_group* group) : group_(group), g_(detail::this_g()) {
  {
    const std::lock_guard guard(group->lock_);
    next_ = group->first_;
    link_ = &group->first_;
    if (next_ != nullptr) next_->link_ = &next_;
    group->first_ = this;
  }
  asked_.emplace(group->stop_.get_token(), detail::stop_call{ask, g_});  // TG2
}

task_group::member::~member() {
  asked_.reset();
  detail::end_locals();  // TG1
  {
    const std::lock_guard guard(group_->lock_);
    *link_ = next_;
    if (next_ != nullptr) next_->link_ = link_;
  }
  group_->leave();
}

void task_group::member::failed(const stopped* stop) noexcept {
  if (stop != nullptr && (group_->stop_.stop_requested() || detail::fiber_stop_requested(g_))) {
    return;
  }
  {
    const std::lock_guard guard(group_->lock_);
    if (group_->failure_ == nullptr) group_->failure_ = std::current_exception();
  }
  group_->request_stop();
}

void task_group::enter() {
  const std::lock_guard guard(lock_);
  ++left_;
}

void task_group::leave() noexcept {
  const std::lock_guard guard(lock_);
  if (--left_ == 0) none_left_.notify_all();  // TG1
}

bool task_group::none_left_until_ns(int64_t until_ns) {
  using std::chrono::steady_clock;
  const steady_clock::time_point limit{std::chrono::nanoseconds(until_ns)};
  std::unique_lock guard(lock_);
  return none_left_.wait_until(guard, limit, [this] { return left_ == 0; });
}

// Throws std::bad_alloc before it waits.
task_group::ended task_group::wait_until_ns(int64_t until_ns) {
  {
    const std::lock_guard guard(lock_);
    if (left_ == 0 || has_passed(until_ns)) return {.all = left_ == 0, .waited = false};
  }
  // TG3.
  const detail::stop_call hand_on{
      [](void* group) noexcept { static_cast<task_group*>(group)->request_stop(); }, this};
  std::optional<detail::stop_hook> callback;
  if (detail::stop_may_come()) callback.emplace(this_fiber::stop_token(), hand_on);
  // Its end waits for a call under way, and so for callbacks of the program's, which may look at the group: not under the lock.
  return {.all = none_left_until_ns(until_ns), .waited = true};
}

bool task_group::runs_here() {
  const G* const me = detail::this_g();
  if (me == nullptr) return false;
  const std::lock_guard guard(lock_);
  const member* m = first_;
  while (m != nullptr && m->g_ != me) m = m->next_;
  return m != nullptr;
}

bool task_group::join_until_ns(int64_t until_ns) {
  if (runs_here()) {
    throw std::system_error(std::make_error_code(std::errc::resource_deadlock_would_occur),
                            "gort: a task can not join its own group");
  }
  const ended end = wait_until_ns(until_ns);
  if (end.all) {
    std::exception_ptr failure;
    {
      const std::lock_guard guard(lock_);
      failure = std::exchange(failure_, nullptr);
    }
    if (failure != nullptr) std::rethrow_exception(failure);
  }
  if (end.waited) detail::deliver_due_stop();
  return end.all;
}

task_group::~task_group() {
  if (std::uncaught_exceptions() > unwinding_) request_stop();
  if (runs_here()) {
    fatal("a task_group is destroyed by one of its own tasks", __FILE__, __LINE__);
  }
  try {
    (void)wait_until_ns(INT64_MAX);
  } catch (const std::bad_alloc&) {
    (void)none_left_until_ns(INT64_MAX);  // nothing is handed on
  }
}

}  // namespace gort
