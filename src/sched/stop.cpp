// The requester's side of stopping: S1 and S2 in park.hpp are the invariants.
//
//   ST1  A fiber's stop record is let go of where its last reference is, which may be in a region, where nothing can be freed
//        (RG4): malloc's lock may be held by a fiber that was interrupted and waits for this very P. So it goes to a list.
//        Who makes the next one frees those, and so does the end of the runtime: there are never more of them than there
//        were fibers with tokens at a time.
#include "sched/stop.hpp"

#include <exception>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "gort/errors.hpp"
#include "sched/census.hpp"
#include "sched/fork.hpp"
#include "sched/park.hpp"
#include "sched/pools.hpp"
#include "sched/region.hpp"
#include "sched/sched.hpp"

namespace gort {
namespace {

// ST1.
struct RetiredRecords {
  Lock lock;
  StopRecord* first GORT_GUARDED_BY(lock) = nullptr;
};
RetiredRecords retired;

// FK2.
const bool forgets_records = on_fork([]() noexcept {
  if (retired.lock.held()) new (&retired) RetiredRecords;
});

// The fiber's stop source, if a token was ever asked for.
std::stop_source source_of(G* g) noexcept {
  const Region in;
  LockGuard guard(g->stop_lock);
  return g->stop_record != nullptr ? g->stop_record->source : std::stop_source(std::nostopstate);
}

// Sources that stop_all() has taken along, to ask them where no lock is held and no region stands (RG4).
class Sources {
 public:
  // Outside of regions. Without memory there is room for one.
  void make_room(size_t n) noexcept {
    try {
      many_.reserve(n);
    } catch (const std::bad_alloc&) {
    }
  }
  [[nodiscard]] bool full() const noexcept {
    return many_.size() == many_.capacity() && one_.stop_possible();
  }
  // Allocates nothing. Not while full.
  void add(const std::stop_source& source) noexcept {
    if (many_.size() != many_.capacity()) {
      many_.push_back(source);
    } else {
      one_ = source;
    }
  }
  // Runs the program's callbacks, and is empty then.
  void request_stop() noexcept {
    one_.request_stop();
    one_ = std::stop_source(std::nostopstate);
    for (std::stop_source& source : many_) source.request_stop();
    many_.clear();
  }

 private:
  std::stop_source one_{std::nostopstate};
  std::vector<std::stop_source> many_;
};

enum class Asked : uint8_t { yes, no_room };

// stop_all() asks whoever is there, without a reference. So both under the lock: a fiber that sees that it has been asked
// may end at once, and drops its source under the lock, too.
Asked ask(G* g, Sources& sources) noexcept {
  LockGuard guard(g->stop_lock);
  StopRecord* const record = g->stop_record;
  if (record != nullptr && sources.full()) return Asked::no_room;
  g->stop_requested.store(true, std::memory_order_relaxed);  // relaxed: before the heavy fence (S2)
  if (record != nullptr) sources.add(record->source);
  return Asked::yes;
}

template <class F>
void for_each_g(F&& what) {
  for_each_slot([&what](std::byte* top) {
    G* g = slot_g(top);
    // acquire: pairs with g_of_slot() (spawn.cpp); memory of a slot without a G is all zeros.
    if (g->state.load(std::memory_order_acquire) != GState::none) what(g);
  });
}

}  // namespace

void cancel_wait(G* g) noexcept {
  // acquire: pairs with the publication in complete_park() (park.cpp); the Wait's fields.
  Wait* w = g->wait.load(std::memory_order_acquire);
  chaos_point(ChaosPoint::stop_wait_seen);
  // The request may have been delivered without a wait meanwhile (stop_pending), and this be a
  // later one. The Wait that we have acquired orders our look behind that. modelled in SpawnModel.
  const bool won = w != nullptr && !Mem::recheck(g->stop_state != StopState::open) && w->cancel(w);
  if (won) w->cause = WakeCause::stopped;  // W2
  chaos_point(ChaosPoint::stop_wait_taken);
  // release: our accesses to the Wait come before the fiber may leave park() (S1).
  g->inspectors.fetch_sub(1, std::memory_order_release);
  if (won) ready(g);
}

void request_stop(G* g) noexcept {
  Region in;
  g->inspectors.fetch_add(1, std::memory_order_relaxed);  // relaxed: before the heavy fence (S1)
  chaos_point(ChaosPoint::stop_requesting);
  g->stop_requested.store(true, std::memory_order_relaxed);  // relaxed: the same (S2)
  chaos_point(ChaosPoint::stop_requested);
  os::fence_heavy();  // S1, S2
  cancel_wait(g);
  in.leave();  // callbacks are the program's
  source_of(g).request_stop();
}

namespace {

// Asks all that nobody has asked yet and for whose sources there is room; returns for how many there was none. One heavy
// fence for all fibers instead of one each. Every slot that may hold a fiber is marked, dead ones too: a slot that is
// reborn meanwhile waits in its first park until the second walk has passed.
size_t ask_all(Sources& sources) noexcept {
  const Region in;
  size_t no_room = 0;
  for_each_g([&sources, &no_room](G* g) {
    // Whoever has asked it wakes it, too; and one that is born from now on finds the phase. relaxed: a dead one's is old, but
    // then its birth clears the flag behind this, and so behind the fence.
    if (g->stop_requested.load(std::memory_order_relaxed)) return;
    g->inspectors.fetch_add(1, std::memory_order_relaxed);  // relaxed: before the heavy fence (S1)
    if (ask(g, sources) == Asked::yes) {
      g->stop_marked = true;
    } else {
      // relaxed: nothing of it was looked at.
      g->inspectors.fetch_sub(1, std::memory_order_relaxed);
      ++no_room;
    }
  });
  chaos_point(ChaosPoint::stop_all_walked);
  os::fence_heavy();  // S1, S2
  for_each_g([](G* g) {
    if (std::exchange(g->stop_marked, false)) cancel_wait(g);
  });
  return no_room;
}

}  // namespace

void stop_all() noexcept {
  if (after_fork) fatal_after_fork();  // FK1: the main fiber has returned
  {
    const Region in;
    Sched& s = sched();
    {
      LockGuard guard(s.lock);
      s.phase.store(Phase::stopping,
                    std::memory_order_relaxed);  // relaxed: the heavy fence follows
    }
    chaos_point(ChaosPoint::stop_requesting);
    // Pairs with the light fences of fibers being born and of ends being counted (spawn.cpp, census.hpp).
    os::fence_heavy();
  }
  constexpr size_t kSourcesAtFirst = Mem::tries(64);
  Sources sources;
  for (size_t room = kSourcesAtFirst; room != 0;) {
    sources.make_room(room + room / 2);  // some may be made meanwhile
    room = ask_all(sources);
    sources.request_stop();  // runs callbacks: no lock is held
  }
  const Region again;
  exit_if_last();
}

void retire_stop_record(G* g) noexcept {
  StopRecord* record;
  {
    LockGuard guard(g->stop_lock);  // stop_all() may be looking at it
    record = std::exchange(g->stop_record, nullptr);
  }
  LockGuard guard(retired.lock);
  record->link = std::exchange(retired.first, record);
}

void free_stop_records() noexcept {
  StopRecord* first;
  {
    const Region in;
    LockGuard guard(retired.lock);
    first = std::exchange(retired.first, nullptr);
  }
  while (first != nullptr) delete std::exchange(first, first->link);
}

std::stop_token token_of(G* g) {
  std::stop_source source = source_of(g);
  if (!source.stop_possible()) {
    free_stop_records();
    auto fresh = std::make_unique<StopRecord>();  // allocates, so before the lock
    const Region in;
    LockGuard guard(g->stop_lock);
    if (g->stop_record == nullptr) g->stop_record = fresh.release();
    source = g->stop_record->source;
  }
  // A request that came before there was a source; one that comes after finds the source. relaxed: a requester
  // sets the flag, then looks for a source under the lock; so if it came before us there we see the flag.
  if (g->stop_requested.load(std::memory_order_relaxed)) source.request_stop();
  // NOLINTNEXTLINE(clang-analyzer-cplusplus.Move): a copy was assigned, which libstdc++ makes and moves
  return source.get_token();
}

bool is_own_token(const std::stop_token& token) noexcept {
  G* g = current_fiber();
  return g != nullptr && token.stop_possible() && source_of(g).get_token() == token;
}

bool stop_pending() noexcept {
  const G* g = current_fiber();
  if (g == nullptr || __builtin_expect(!stop_due(g), 1)) return false;
  return std::uncaught_exceptions() == 0;
}

void mark_stop_delivered() noexcept {
  G* g = current_fiber();
  if (g != nullptr) g->stop_state = StopState::delivered;
}

void deliver_stop() {
  mark_stop_delivered();
  leave_region();
  ask_own_token();
  throw stopped();
}

void ask_own_token() noexcept {
  // The requester ends the wait before it asks the source, and may not have come so far.
  if (G* const g = current_fiber(); g != nullptr) source_of(g).request_stop();
}

}  // namespace gort
