// Birth and death of fibers.
//
// A stack slot, from the top (high addresses) down: a few cache lines of colour, the control block G,
// the payload (the function, its arguments, a task's result), the first frame. All of it in one
// page, so that a fiber that parks early costs one resident page.
//
//   B1  A dead G keeps its slot; P::free holds up to kFreeMax of them, last in first out, so that
//       the next fiber gets a warm stack and starting it takes no lock and allocates nothing.
//   B2  refs counts the running fiber (1) and its task handle (1). Who drops the last one recycles
//       the slot. The fiber's own reference is dropped on the far side of its last switch, when
//       nobody stands on the stack any more.
//   B3  joiner is nullptr, the joiner's Wait, join_done() or join_never(); the end exchanges
//       join_done() in, a joiner compare-and-swaps its Wait in. So either the joiner sees the end
//       or the end sees the joiner. A handle that is let go puts join_never() in, unless the end
//       was faster.
//   B5  The later of end and letting go destroys a task's payload, on a stack where user code may
//       wait: the fiber's own before its last switch, or the handle's.
//   B6  Whoever takes the joiner's Wait out of the word wakes it: the end, a request to stop, or the joiner's time limit. The
//       limit's timer is armed before the Wait is in the word (complete_park()). One that fires so early comes again, kAgainNs
//       later.
#include "sched/spawn.hpp"

#include <cxxabi.h>

#include <cstdio>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <system_error>
#include <typeinfo>
#include <utility>

#include "base/thread_safety.hpp"
#include "gort/detail/fiber.hpp"
#include "gort/errors.hpp"
#include "sched/census.hpp"
#include "sched/chaos.hpp"
#include "sched/find.hpp"
#include "sched/idle.hpp"
#include "sched/locals.hpp"
#include "sched/loop.hpp"
#include "sched/park.hpp"
#include "sched/pools.hpp"
#include "sched/preempt.hpp"
#include "sched/region.hpp"
#include "sched/sched.hpp"
#include "sched/stop.hpp"
#include "sched/timer.hpp"

namespace gort {
namespace {

constexpr uint32_t kFreeBatch = 2 * Mem::tries(16);  // dead fibers moved to or from the pool
constexpr uint32_t kFreeMax = 2 * kFreeBatch;        // dead fibers that a P keeps
constexpr uint64_t kIdBlock = 256;                   // numbers that a P takes at a time
constexpr int64_t kAgainNs = 10'000;  // B6: many times what a joiner takes to come into the word

Wait* join_done() noexcept {
  return reinterpret_cast<Wait*>(uintptr_t{1});
}
Wait* join_never() noexcept {
  return reinterpret_cast<Wait*>(uintptr_t{2});
}

// The G of a slot, made there if the slot is cold (its page is all zeros, or fresh).
G* g_of_slot(std::byte* top, const StackPool& pool) noexcept {
  G* g = slot_g(top);
  if (g->get_state() == GState::none) {
    g = new (g) G;
    g->stack_top = top;
    g->stack_bytes = pool.stack_bytes();
    g->stack_low = top - pool.slot_bytes() + pool.guard_bytes();
    // release: from here on walks over all slots (stop_all, dumps) see a G.
    g->state.store(GState::dead, std::memory_order_release);
  }
  return g;
}

G* take_from_pool(P* p, StackPool& pool) noexcept {
  std::byte* tops[kFreeBatch];
  const size_t want = p != nullptr ? kFreeBatch : 1;
  const size_t n = pool.take({tops, want});
  if (n == 0) return nullptr;
  if (p == nullptr) return g_of_slot(tops[0], pool);
  for (size_t i = 1; i < n; ++i) {
    G* g = g_of_slot(tops[i], pool);
    g->link = p->free;
    p->free = g;
    ++p->free_count;
  }
  return g_of_slot(tops[0], pool);
}

void give_to_pool(G* g) noexcept {
  sanitizer_fiber_retire(g->sanitizer);
  std::byte* top = g->stack_top;
  pool_for(g->stack_bytes)->give({&top, 1});
}

// The current P, if this thread holds one and may use its drawers.
P* current_p() noexcept {
  M* m = current_m();
  return m != nullptr ? m->p : nullptr;
}

// The size of stack that a fiber wishes, as pools have it; 0: the default.
size_t wished_bytes(const attrs* a) {
  if (a == nullptr || a->stack_size == 0) return 0;
  if (a->stack_size > kStackBytesMax) {
    throw std::invalid_argument("gort: attrs.stack_size must be at most 1 GiB");
  }
  return StackPool::stack_bytes_for(a->stack_size);
}

StackPool* pool_of(size_t wished) noexcept {
  return wished == 0 ? sched().stacks : pool_for(wished);
}

// nullptr, as where there is no pool: no memory.
G* take_dead(StackPool* pool) noexcept {
  if (pool == nullptr) return nullptr;
  if (pool != sched().stacks) return take_from_pool(nullptr, *pool);
  P* p = current_p();
  if (p == nullptr || p->free == nullptr) return take_from_pool(p, *pool);
  G* g = p->free;
  p->free = g->link;
  --p->free_count;
  return g;
}

// Not checked: only the fiber itself makes the record, and it has ended.
bool has_stop_record(const G* g) noexcept GORT_NO_THREAD_SAFETY_ANALYSIS {
  return g->stop_record != nullptr;
}

// B1. The slot of a dead fiber, whose last reference is gone, on whatever thread we are.
void recycle(G* g) noexcept {
  g->payload_destroy = nullptr;
  if (has_stop_record(g)) retire_stop_record(g);
  P* p = current_p();
  if (p == nullptr || g->stack_bytes != sched().stack_bytes) return give_to_pool(g);
  g->link = p->free;
  p->free = g;
  if (++p->free_count < kFreeMax) return;
  std::byte* tops[kFreeBatch];
  for (std::byte*& top : tops) {
    top = p->free->stack_top;
    sanitizer_fiber_retire(p->free->sanitizer);
    p->free = p->free->link;
  }
  p->free_count -= kFreeBatch;
  sched().stacks->give({tops, kFreeBatch});
}

void drop_ref(G* g) noexcept {
  // acq_rel: the last one sees all that the other did (B2). A lone reference needs no atomic
  // operation.
  if (g->refs.load(std::memory_order_acquire) == 1 ||
      g->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    recycle(g);
  }
}

uint64_t next_fiber_id(P* p) noexcept {
  // relaxed: uniqueness is all.
  if (p == nullptr) return sched().next_gid.fetch_add(1, std::memory_order_relaxed);
  if (p->next_id == p->end_id) {
    // relaxed: as above.
    p->next_id = sched().next_gid.fetch_add(kIdBlock, std::memory_order_relaxed);
    p->end_id = p->next_id + kIdBlock;
  }
  return p->next_id++;
}

enum class Birth : uint8_t { on_p, foreign };

Birth count_spawn(G* g) noexcept {
  if (std::exchange(g->counted, false)) return Birth::foreign;
  if (P* p = current_p(); p != nullptr) {
    p->counters.spawned.add();
    return Birth::on_p;
  }
  // Made by a fiber that is inside blocking() by now: it keeps the runtime.
  return admit_foreign() ? Birth::foreign : Birth::on_p;
}

// The far side of a fiber's last switch.
void end_after(M* m, G* g, void*) noexcept {
  sanitizer_fiber_end(g->sanitizer);
  set_state(g, GState::dead);
  if (__builtin_expect(g->bound_to != nullptr, 0)) end_lock(m, g);
  drop_ref(g);
  chaos_point(ChaosPoint::fiber_dead);
  count_end(m->p);
}

// The end of a fiber that has, or had, a handle.
void end_joinable(G* g) noexcept {
  chaos_point(ChaosPoint::fiber_ending);
  // acq_rel: B3; publishes the result, learns the joiner's Wait.
  Wait* w = g->joiner.exchange(join_done(), std::memory_order_acq_rel);
  if (w == join_never()) {
    leave_region();
    g->payload_destroy(g->payload);              // B5
    if (g->locals != nullptr) end_locals_of(g);  // which that has made
    enter_region();
  } else if (w != nullptr) {
    ready(w->g);
  }
}

// A fiber's first frame.
void fiber_main(void* data) {
  // Unwinders (gdb, perf, exceptions, the fiber dump) stop here.
#if defined(__x86_64__)
  asm volatile(".cfi_undefined rip");
#elif defined(__aarch64__)
  asm volatile(".cfi_undefined x30");
#endif
  auto* first = static_cast<M*>(data);
  G* g = first->cur;
  arrive(first);
  leave_region();
  g->entry(g->payload);
  if (after_fork) fatal_after_fork();  // FK1: there is nobody to go on
  if (__builtin_expect(g->locals != nullptr, 0)) end_locals_of(g);
  enter_region();
  if (g->payload_destroy != nullptr) end_joinable(g);
  M* m = current_m();
  if (m->p == nullptr) fatal("B2: a fiber ended without a P", __FILE__, __LINE__);
  switch_final(m, g, next_or_g0(m), end_after);
}

struct JoinWait : Wait {
  G* target = nullptr;
};

bool cancel_join(Wait* w) noexcept {
  Wait* expected = w;
  // relaxed: B6; one takes the Wait out. We have it from G::wait, or it is our own, and the joiner hears of us by ready().
  return static_cast<JoinWait*>(w)->target->joiner.compare_exchange_strong(
      expected, nullptr, std::memory_order_relaxed, std::memory_order_relaxed);
}

bool commit_join(Wait* w) noexcept {
  Wait* none = nullptr;
  // release: B3; publishes our Wait. relaxed: who finds that the fiber has ended looks again
  // (fiber_done), and learns the result there.
  return static_cast<JoinWait*>(w)->target->joiner.compare_exchange_strong(
      none, w, std::memory_order_release, std::memory_order_relaxed);
}

// B6, under the heap's lock, so before the joiner goes on.
G* join_limit(Timer* t) noexcept {
  auto* w = static_cast<JoinWait*>(t->arg);
  Wait* expected = w;
  // relaxed, both: as in cancel_join(); the heap's lock orders the Wait's fields.
  if (w->target->joiner.compare_exchange_strong(expected, nullptr, std::memory_order_relaxed,
                                                std::memory_order_relaxed)) {
    w->cause = WakeCause::timeout;
    return w->g;
  }
  if (Mem::recheck(expected == nullptr)) {
    t->when_ns = os::nanotime() + kAgainNs;
    t->again = true;
  }
  return nullptr;
}

WakeCause join(G* g, bool (*cancel)(Wait*) noexcept, int64_t until_ns) noexcept {
  JoinWait w;
  w.target = g;
  w.cancel = cancel;
  w.commit = commit_join;
  w.reason = WaitReason::join;
  if (until_ns == kNever) return park(w);
  Timer limit;
  limit.when_ns = until_ns;
  limit.fire = join_limit;
  limit.arg = &w;
  w.timer = &limit;
  w.expire = cancel_join;
  const WakeCause cause = park(w);
  TimerHeap::stop(&limit);
  return cause;
}

}  // namespace

void drain_free(P* p) noexcept {
  while (p->free != nullptr) {
    G* g = p->free;
    p->free = g->link;
    give_to_pool(g);
  }
  p->free_count = 0;
}

// ---- What the templates of spawn.hpp call ----

namespace detail {

namespace {

// For the payload, below the G; the first frame follows.
void make_room(G* g, size_t payload_bytes, size_t payload_align) noexcept {
  auto at = reinterpret_cast<uintptr_t>(g) - payload_bytes;
  at &= ~(uintptr_t{payload_align < 16 ? 16 : payload_align} - 1);
  g->payload = reinterpret_cast<void*>(at);
  g->stack_start = reinterpret_cast<void*>(at);
}

// A stack for a thread that has no P, counted. nullptr: no memory. A fiber's has its pool already.
G* take_dead_foreign(StackPool* pool, size_t wished) {
  const Visitor visit;
  if (!runtime_alive() || !admit_foreign()) {
    leave_region();
    if (after_fork) throw std::logic_error("gort: no fiber can be started in the child of a fork");
    throw std::logic_error("gort: no runtime is alive (start one with gort::run), or it is ending");
  }
  G* g = take_dead(current_m() != nullptr ? pool : pool_of(wished));
  if (g == nullptr) {
    dismiss_foreign();
  } else {
    g->counted = true;
  }
  return g;
}

}  // namespace

new_fiber fiber_create(const attrs* a, size_t payload_bytes, size_t payload_align) {
  const size_t wished = wished_bytes(a);
  // RG4: a pool's first use allocates. A thread is in no region, and has no runtime before it is admitted.
  StackPool* pool = current_m() != nullptr ? pool_of(wished) : nullptr;
  const Region in;
  G* g = current_p() != nullptr ? take_dead(pool) : take_dead_foreign(pool, wished);
  if (g == nullptr) {
    leave_region();
    throw std::system_error(ENOMEM, std::system_category(), "gort: no memory for a fiber's stack");
  }
  make_room(g, payload_bytes, payload_align);
  set_name(g, a != nullptr ? a->name : std::string_view{});
  return {g, g->payload};
}

void fiber_abandon(G* g) noexcept {
  const Region in;
  const Visitor visit;  // rare: the function or an argument threw while it was moved in
  const bool counted = std::exchange(g->counted, false);
  g->payload_destroy = nullptr;
  recycle(g);
  if (counted) dismiss_foreign();
}

namespace {

// All of a birth but ready().
Birth give_birth(G* g, void (*entry)(void*), void (*destroy)(void*), uint32_t refs) noexcept {
  Sched& s = sched();
  g->entry = entry;
  g->payload_destroy = destroy;
  // relaxed, all of these: published with the fiber by ready().
  g->refs.store(refs, std::memory_order_relaxed);
  g->joiner.store(nullptr, std::memory_order_relaxed);
  g->stop_state = StopState::open;
  g->eh = EhGlobals{};
  g->reason = WaitReason::none;
  M* m = current_m();
  g->parent_id = m != nullptr ? m->cur->id : 0;
  g->id = next_fiber_id(m != nullptr ? m->p : nullptr);
  const Birth birth = count_spawn(g);
  chaos_point(ChaosPoint::spawn_counted);
  // A fiber born while stop_all() walks over the slots is asked by it or finds the phase here:
  // store, light fence, load against its store of the phase, heavy fence, stores to every slot.
  // relaxed, both: the fences order them.
  g->stop_requested.store(false, std::memory_order_relaxed);
  chaos_point(ChaosPoint::spawn_phase);
  os::fence_light();
  if (__builtin_expect(s.phase.load(std::memory_order_relaxed) != Phase::running, 0)) {
    g->stop_requested.store(true, std::memory_order_relaxed);  // relaxed: published by ready()
  }
  prepare_context<fiber_main>(g->context, g->stack_start,
                              static_cast<size_t>(static_cast<std::byte*>(g->stack_start) -
                                                  static_cast<std::byte*>(g->stack_low)));
  sanitizer_fiber_init(g->sanitizer, g->stack_low,
                       static_cast<size_t>(static_cast<std::byte*>(g->stack_start) -
                                           static_cast<std::byte*>(g->stack_low)));
  return birth;
}

void launch(G* g, void (*entry)(void*), void (*destroy)(void*), uint32_t refs) noexcept {
  const Region in;
  if (give_birth(g, entry, destroy, refs) == Birth::on_p) return ready(g);
  const Visitor
      visit;  // the fiber may end, and the runtime behind it, before we have counted it as born
  ready(g);
  end_birth();
}

}  // namespace

void fiber_start(G* g, void (*entry)(void*)) noexcept {
  launch(g, entry, nullptr, 1);
}

void fiber_start_joinable(G* g, void (*entry)(void*), void (*destroy)(void*)) noexcept {
  launch(g, entry, destroy, 2);
}

bool fiber_done(const G* g) noexcept {
  // acquire: pairs with the end's exchange; the result is readable.
  return g->joiner.load(std::memory_order_acquire) == join_done();
}

bool fiber_join(G* g, int64_t until_ns) {
  const Region in;
  chaos_preempt();
  if (fiber_done(g)) return true;
  if (after_fork) throw std::logic_error("gort: no fiber can be joined in the child of a fork");
  if (current_fiber() == g) {
    leave_region();
    throw std::system_error(std::make_error_code(std::errc::resource_deadlock_would_occur),
                            "gort: a fiber can not join itself");
  }
  if (has_passed(until_ns)) return false;
  if (stop_pending()) deliver_stop();
  const WakeCause cause = join(g, cancel_join, until_ns);
  if (cause == WakeCause::stopped) deliver_stop();
  if (cause == WakeCause::timeout) return false;
  // The place in B3's word was taken by somebody else's Wait.
  leave_region();
  if (!fiber_done(g)) throw std::logic_error("gort::task: two fibers join one task");
  return true;
}

void fiber_join_always(G* g) noexcept {
  const Region in;
  if (fiber_done(g) || after_fork) return;  // FK1: a handle's destructor, perhaps at exit()
  if (current_fiber() == g)
    fatal("a task's handle is destroyed by its own fiber", __FILE__, __LINE__);
  join(g, nullptr, kNever);
  if (!fiber_done(g))
    fatal("a task's handle is destroyed while somebody joins", __FILE__, __LINE__);
}

void fiber_request_stop(G* g) noexcept {
  if (after_fork) return;  // FK1
  request_stop(g);
}

void fiber_release(G* g) noexcept {
  if (after_fork) return;  // FK1: its result stays where it is
  Wait* none = nullptr;
  chaos_point(ChaosPoint::fiber_released);
  // B5: of the end and this the later one destroys the payload. release: what we have done with it;
  // acquire: what the end did. modelled in SpawnModel.
  if (!g->joiner.compare_exchange_strong(none, join_never(), std::memory_order_release,
                                         std::memory_order_acquire)) {
    if (none != join_done()) {
      fatal("a task is detached while somebody joins it", __FILE__, __LINE__);
    }
    g->payload_destroy(g->payload);
  }
  const Region in;
  drop_ref(g);
}

uint64_t fiber_id(const G* g) noexcept {
  return g->id;
}

std::stop_token fiber_stop_token(G* g) {
  return token_of(g);
}

bool fiber_stop_requested(const G* g) noexcept {
  return g->stop_requested.load(std::memory_order_relaxed);  // relaxed: as in token_of()
}

void fiber_uncaught(const G* g) noexcept {
  const char* const quote = g->name[0] != '\0' ? "\"" : "";
  std::fprintf(stderr, "gort: fatal: an exception left fiber %llu%s%s%s%s",
               static_cast<unsigned long long>(g->id), *quote != '\0' ? " " : "", quote, g->name,
               quote);
  try {
    throw;
  } catch (const std::exception& e) {
    std::fprintf(stderr, ": %s\n", e.what());
  } catch (...) {
    const std::type_info* type = abi::__cxa_current_exception_type();
    std::fprintf(stderr, " (type %s)\n", type != nullptr ? type->name() : "unknown");
  }
  std::terminate();
}

}  // namespace detail

// ---- What timers start ----

G* timed_fiber_create(void* arg) noexcept {
  if (!admit_foreign()) return nullptr;
  G* g = take_dead(sched().stacks);
  if (g == nullptr) {
    dismiss_foreign();
    return nullptr;
  }
  g->counted = true;
  detail::make_room(g, sizeof(void*), alignof(void*));
  *static_cast<void**>(g->payload) = arg;
  set_name(g, {});
  return g;
}

void timed_fiber_abandon(G* g) noexcept {
  detail::fiber_abandon(g);
}

// Behind end_birth() and before it is queued it is on its way from an M that is not idle, or the poller (D1, D6 in deadlock.cpp).
void timed_fiber_launch(G* g, void (*entry)(void*), uint64_t parent_id) noexcept {
  (void)detail::give_birth(g, entry, nullptr, 1);
  g->parent_id = parent_id;
  end_birth();
}

}  // namespace gort
