// G: a fiber's control block. It stands at the top of the fiber's stack slot, so that a parked
// fiber costs one resident page; the memory stays valid as long as the runtime lives.
//
// Also used for two things that are no fibers: g0, an M's own stack, and a foreign thread that
// waits in one of our objects (ForeignThread): wakers need not know the difference.
//
//            new ----> runnable <-----> running ----> dead ----> (runnable, reborn)
//                          ^               |
//                          +--- waiting <--+
//
//   state     whose stack               on which queue             who moves it on
//   runnable  nobody's                  one run queue, or none     loop: the M that takes it
//                                       while ready() holds it
//   running   the M's that runs it      none                       itself
//   waiting   nobody's (far side done)  what it waits in (Wait)    the one winner of its Wait
//   dead      nobody's                  a free list                spawn
//
//   G1  A fiber's state moves along these arrows only. set_state() is the one function that moves
//       it, and checks that the move is legal: a fiber woken twice ends here.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stop_token>
#include <string_view>

#include "base/check.hpp"
#include "base/mem.hpp"
#include "base/thread_safety.hpp"
#include "sched/context.hpp"
#include "sched/lock.hpp"
#include "sched/sanitizer.hpp"
#include "sched/wait.hpp"

namespace gort {

struct M;
struct G;
namespace detail {
struct local_table;
}

enum class GState : uint8_t { none, runnable, running, waiting, dead };
const char* state_name(GState s) noexcept;

// An atomic state whose construction writes nothing. Walks over all slots look at the state in a slot where
// a G is being made (g_of_slot() in spawn.cpp): there it must go from the zeros of fresh memory, which
// mean none, to dead, at once and by an atomic store.
class StateWord {
 public:
  StateWord() noexcept {}
  [[nodiscard]] GState load(std::memory_order order) const noexcept {
    return std::atomic_ref<GState>(const_cast<GState&>(word_)).load(order);
  }
  void store(GState s, std::memory_order order) noexcept {
    std::atomic_ref<GState>(word_).store(s, order);
  }

 private:
  GState word_;
};

enum class GKind : uint8_t { fiber, g0, thread };

// The C++ runtime's per-thread exception state (abi::__cxa_eh_globals): caught exceptions and the
// count of uncaught ones. Saved and restored at every switch, since a fiber may wait inside a catch
// block.
struct EhGlobals {
  void* caught = nullptr;
  unsigned uncaught = 0;
  unsigned unused = 0;  // there in the ABI's too; named, so that a copy is one move of 16 bytes
};

// What a fiber's stop tokens belong to. In memory of its own, which is given back where memory may be freed (ST1 in stop.cpp).
struct StopRecord {
  std::stop_source source;
  StopRecord* link = nullptr;
};

// A stop request reaches a fiber once in its life (api.md), and not once its function has ended: over.
enum class StopState : uint8_t { open, delivered, over };

inline constexpr size_t kNameBytes = 32;

struct alignas(64) G {
  // Touched by every switch.
  Context context;  // valid while not running
  Plain<EhGlobals> eh;
  StateWord state;
  GKind kind = GKind::fiber;
  bool handed_off = false;                        // inside blocking(), which has given its P away
  Plain<StopState> stop_state = StopState::open;  // owner: the fiber itself
  WaitReason reason = WaitReason::none;           // meaningful while waiting
  G* link = nullptr;                              // owner: the list it is on

  // Waiting and stopping (park.hpp).
  Atomic<Wait*> wait{nullptr};
  Atomic<bool> stop_requested{false};
  Atomic<uint32_t> inspectors{0};
  bool stop_marked = false;  // owner: stop_all(), between its two walks

  // Birth and end (spawn.cpp).
  Plain<void (*)(void*)> entry = nullptr;
  void* payload = nullptr;
  Plain<void (*)(void*)> payload_destroy = nullptr;
  Atomic<uint32_t> refs{0};  // the running fiber, and a task handle if there is one
  // The M on whose thread it goes on, where it was interrupted or is locked to it, or nullptr: any (PR1 in preempt.hpp).
  Plain<M*> bound_to = nullptr;
  uint32_t thread_locks = 0;       // lock_os_thread() calls; owner: the fiber itself (PR8)
  Atomic<Wait*> joiner{nullptr};   // B3 in spawn.cpp
  std::byte* stack_top = nullptr;  // end of the slot
  bool counted = false;         // in a `spawned` count since fiber_create() (threads without a P)
  size_t stack_bytes = 0;       // a power of two: names its pool
  void* stack_low = nullptr;    // lowest usable address
  void* stack_start = nullptr;  // where the first frame stands

  detail::local_table* locals = nullptr;  // its fiber_locals (locals.hpp)
  void** chain_rest = nullptr;            // CX5 in context.cpp

  // Shown in reports.
  uint64_t id = 0;
  uint64_t parent_id = 0;
  Atomic<int64_t> waiting_since_ns{0};
  char name[kNameBytes] = {};

  // Made on first use of this_fiber::stop_token().
  Lock stop_lock;
  StopRecord* stop_record GORT_GUARDED_BY(stop_lock) = nullptr;

  // Foreign threads only: the word they sleep on.
  Atomic<uint32_t> thread_word{0};
  Plain<bool> thread_counted =
      false;  // in foreign_parked; the thread sets it before it can be woken

  [[no_unique_address]] SanitizerState sanitizer;

  [[nodiscard]] GState get_state() const noexcept {
    // relaxed: for checks and reports; who may act on a state has it from a queue or a lock.
    return state.load(std::memory_order_relaxed);
  }
};

// True if the move is in the diagram above.
constexpr bool legal_move(GState from, GState to) noexcept {
  switch (to) {
    case GState::runnable:
      return from == GState::none || from == GState::running || from == GState::waiting ||
             from == GState::dead;
    case GState::running:
      return from == GState::runnable;
    case GState::waiting:
    case GState::dead:
      return from == GState::running;
    case GState::none:
      return false;
  }
  return false;
}

inline void set_state(G* g, GState to) noexcept {
  // relaxed: a state is written by its owner only (see the table); hand-over is by queues and
  // locks.
  const GState from = g->state.load(std::memory_order_relaxed);
  GORT_CHECK(legal_move(from, to), "G1: illegal move of a fiber's state (woken twice?)");
  g->state.store(to, std::memory_order_relaxed);  // relaxed: as above
}

// Cut to fit. Owner: the fiber, or its maker before it runs.
inline void set_name(G* g, std::string_view text) noexcept {
  const size_t n = text.size() < kNameBytes - 1 ? text.size() : kNameBytes - 1;
  if (n != 0) std::memcpy(g->name, text.data(), n);
  g->name[n] = '\0';
}

// Neighbouring slots put their G, and all frames below it, at different lines of their last page: if
// all used the same lines, a cache would hold a thousand fibers no better than a fraction of its size.
inline constexpr size_t kColours = 16;
[[nodiscard]] inline size_t slot_colour(const std::byte* top) noexcept {
  const uintptr_t page = reinterpret_cast<uintptr_t>(top) >> 12;
  return (page + (page >> 4)) % kColours;
}

// The G at the top of a stack slot; always in its last page.
[[nodiscard]] inline G* slot_g(std::byte* top) noexcept {
  return reinterpret_cast<G*>(top - sizeof(G) - slot_colour(top) * alignof(G));
}

}  // namespace gort
