// Contexts: a tree of states, of which each knows its parent, and each parent its children.
//
//   CX1  A state ends once: who sets `err`, under its lock, does the rest, outside the lock: closes the channel, requests
//        the stop, ends the children. What is made later (the channel, the source of tokens, a child) looks at `err` under the
//        same lock, and is made as ended. So whoever sees err() sees the others soon, and who sees the others sees err().
//   CX2  A child keeps its parent; the parent's list does not keep the child. A child leaves the list in its destructor, and who
//        ends the children first takes handles of those that are still there, under the parent's lock. So what is dropped costs
//        its parent nothing any more.
//   CX3  A deadline's timer does not keep its state. The state's destructor stops it.
//   CX4  Locks are taken from the parent down, and no program's code runs under one: stop callbacks, destructors of causes. They
//        are the runtime's own, in whose regions nothing is allocated. So no use of a context parks, and a stop callback, which
//        must not, may end or ask one.
//   CX5  Nothing goes down or up a tree by recursion, for it may be a chain of thousands, and a fiber's stack is small. Who ends a
//        tree keeps what he has taken out of lists in a list of his own (`pending`), a parent before its children. Who destroys the
//        last one of a chain has the next one told to him, as a word in his G, which is set while he lets go of it and for nothing
//        else.
//
// Rejected: a watcher fiber per child, as Go has for parents that it does not know (a stack for each); a stop_callback in the child for its parent's
// end (two allocations more, and its destructor waits for a callback that runs); a child that its parent keeps until it
// is cancelled, as in Go (forgotten cancel calls leak; here handles end).
#include "gort/context.hpp"

#include "base/mem.hpp"
#include "gort/timer.hpp"
#include "os/os.hpp"
#include "sched/current.hpp"
#include "sched/g.hpp"
#include "sched/lock.hpp"
#include "sched/region.hpp"

namespace gort {
namespace detail {

struct context_state : std::enable_shared_from_this<context_state> {
  std::shared_ptr<context_state> above;       // CX5
  context_state* const parent = above.get();  // who destroys us keeps it until behind that
  int64_t deadline_ns = chan_forever;         // constant once the state is known

  mutable Lock lock;
  Plain<std::error_code> err;                 // CX1
  std::exception_ptr cause;                   // what the cancel function was given
  std::optional<chan<std::monostate>> done;   // made on first use
  std::stop_source source{std::nostopstate};  // the same
  // CX2. The parent's lock protects a child's links.
  Plain<context_state*> first = nullptr;
  Plain<context_state*> next = nullptr;
  Plain<Plain<context_state*>*> link = nullptr;  // what points to it; nullptr: in no list
  std::shared_ptr<context_state> pending;        // CX5; whoever has taken it out of that list
  func_timer timer;                              // CX3; set before the state is known

  explicit context_state(std::shared_ptr<context_state> p) noexcept : above(std::move(p)) {}
  context_state(const context_state&) = delete;
  context_state& operator=(const context_state&) = delete;
  ~context_state() {
    timer.stop();
    leave_parent();
    finish(errc::canceled, nullptr);
  }

  // Under the lock.
  [[nodiscard]] bool ended() const noexcept {
    return static_cast<bool>(static_cast<std::error_code>(err));
  }
  void join_parent();
  void leave_parent() noexcept;
  void end(std::error_code why, std::exception_ptr what) noexcept;
  // Of itself alone. False: it had ended.
  bool finish(std::error_code why, std::exception_ptr what) noexcept;
  [[nodiscard]] std::shared_ptr<context_state> take_child() noexcept;
  void take_children(std::shared_ptr<context_state>& list) noexcept;
  static void take_out(context_state& child) noexcept;  // under its parent's lock
};

// In the parent's list, or ended, if the parent has.
void context_state::join_parent() {
  if (parent == nullptr) return;
  std::error_code why;
  std::exception_ptr what;
  {
    const Region in;
    const LockGuard guard(parent->lock);
    why = parent->err;
    what = parent->cause;
    if (!why) {
      next = parent->first;
      link = &parent->first;
      if (context_state* const behind = next; behind != nullptr) behind->link = &next;
      parent->first = this;
    }
  }
  if (why) finish(why, std::move(what));
}

void context_state::leave_parent() noexcept {
  if (parent == nullptr) return;
  const Region in;
  const LockGuard guard(parent->lock);
  if (link == nullptr) return;
  take_out(*this);
}

void context_state::take_out(context_state& child) noexcept {
  context_state* const behind = child.next;
  *child.link = behind;
  if (behind != nullptr) behind->link = child.link;
  child.link = nullptr;
}

bool context_state::finish(std::error_code why, std::exception_ptr what) noexcept {
  std::optional<chan<std::monostate>> channel;
  std::stop_source tokens(std::nostopstate);
  {
    const Region in;
    const LockGuard guard(lock);
    if (ended()) return false;  // CX1
    err = why;
    cause = std::move(what);
    channel = done;
    tokens = source;
  }
  // CX4.
  if (channel) channel->close();
  // NOLINTNEXTLINE(clang-analyzer-cplusplus.Move): a copy was assigned, which libstdc++ makes and moves
  tokens.request_stop();
  return true;
}

// One that is still there, taken out of the list; nullptr: there is none.
std::shared_ptr<context_state> context_state::take_child() noexcept {
  const Region in;
  const LockGuard guard(lock);
  while (context_state* const child = first) {
    take_out(*child);
    if (auto kept = child->weak_from_this().lock(); kept != nullptr) return kept;  // CX2
  }
  return nullptr;
}

void context_state::take_children(std::shared_ptr<context_state>& list) noexcept {
  while (auto child = take_child()) {
    child->pending = std::move(list);
    list = std::move(child);
  }
}

void context_state::end(std::error_code why, std::exception_ptr what) noexcept {
  if (!finish(why, std::move(what))) return;
  leave_parent();
  std::shared_ptr<context_state> list;  // CX5
  for (take_children(list); list != nullptr;) {
    const auto one = std::move(list);
    list = std::move(one->pending);
    one->timer.stop();  // it is set: it was in a list
    // cause is constant by now.
    if (one->finish(why, cause)) one->take_children(list);
  }
}

namespace {

// The deleter of what holds the next one `above` it (CX5). The inner call is that of the outer one's reset().
template <class Link>
void free_chain(Link* last) noexcept {
  G* const me = current_g();
  if (me->chain_rest != nullptr) {
    *me->chain_rest = last;
    return;
  }
  do {
    auto above = std::move(last->above);
    delete last;  // which runs destructors of the program's, and they may park
    void* rest = nullptr;
    me->chain_rest = &rest;
    above.reset();
    me->chain_rest = nullptr;
    last = static_cast<Link*>(rest);
  } while (last != nullptr);
}

std::shared_ptr<context_state> make_state(const context& parent) {
  const auto& above = context_access::state(parent);
  std::shared_ptr<context_state> state(new context_state(above), free_chain<context_state>);
  if (above != nullptr) state->deadline_ns = above->deadline_ns;
  return state;
}

context_and_cancel handles(const context& parent, const std::shared_ptr<context_state>& state) {
  return {context_access::make(state, context_access::values(parent)),
          context_access::make_cancel(state)};
}

}  // namespace

void context_value::free(context_value* last) noexcept {
  free_chain(last);
}

context_and_cancel context_make(const context& parent) {
  const auto state = make_state(parent);
  state->join_parent();
  return handles(parent, state);
}

context_and_cancel context_make_until(const context& parent, int64_t when_ns) {
  const auto state = make_state(parent);
  // A parent that ends earlier sees to it.
  if (when_ns < state->deadline_ns) {
    state->deadline_ns = when_ns;
    if (when_ns > os::nanotime()) {
      state->timer = func_timer_make(when_ns, [weak = std::weak_ptr(state)] {
        if (const auto s = weak.lock(); s != nullptr) s->end(errc::deadline_exceeded, nullptr);
      });
    } else {
      state->finish(errc::deadline_exceeded, nullptr);
    }
  }
  state->join_parent();
  return handles(parent, state);
}

}  // namespace detail

done_receiver context::done() const {
  if (state_ == nullptr) return chan<std::monostate>::nil();
  chan<std::monostate> fresh = chan<std::monostate>::nil();
  for (;;) {
    {
      const Region in;
      const LockGuard guard(state_->lock);
      if (state_->done) return *state_->done;
      if (fresh != chan<std::monostate>::nil()) {
        state_->done = fresh;
        if (!state_->ended()) return fresh;
        break;
      }
    }
    fresh = chan<std::monostate>();  // allocates, so not under the lock
  }
  fresh.close();
  return fresh;
}

std::error_code context::err() const noexcept {
  if (state_ == nullptr) return {};
  const Region in;
  const LockGuard guard(state_->lock);
  return state_->err;
}

std::exception_ptr context::cause() const noexcept {
  if (state_ == nullptr) return nullptr;
  std::error_code why;
  {
    const Region in;
    const LockGuard guard(state_->lock);
    if (state_->cause != nullptr || !state_->ended()) return state_->cause;
    why = state_->err;
  }
  try {
    return std::make_exception_ptr(std::system_error(why));
  } catch (...) {
    return std::current_exception();  // no memory
  }
}

std::stop_token context::stop_token() const {
  if (state_ == nullptr) return {};
  std::stop_source fresh(std::nostopstate);
  for (;;) {
    bool ended;
    std::optional<std::stop_source> source;
    {
      const Region in;
      const LockGuard guard(state_->lock);
      if (!state_->source.stop_possible()) state_->source.swap(fresh);
      source.emplace(state_->source);
      ended = state_->ended();
    }
    if (source->stop_possible()) {
      if (ended) source->request_stop();  // again, perhaps
      return source->get_token();
    }
    fresh = std::stop_source();  // allocates, so not under the lock
  }
}

std::optional<std::chrono::steady_clock::time_point> context::deadline() const noexcept {
  if (state_ == nullptr || state_->deadline_ns == detail::chan_forever) return std::nullopt;
  return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(state_->deadline_ns));
}

void cancel_function::operator()(std::exception_ptr cause) const noexcept {
  const auto keep = state_;  // a stop callback may let go of this function
  if (keep == nullptr) return;
  keep->timer.stop();
  keep->end(errc::canceled, std::move(cause));
}

}  // namespace gort
