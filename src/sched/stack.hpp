// StackPool: the stacks of fibers. Slots of one size in big slabs; it knows no G.
//
// Called by spawn (take and give, in batches through P's drawer), by sysmon (scavenge) and by
// reports (for_each, stats). The scheduler puts G at the top of a slot, so that a parked fiber is
// one resident page; the pool never reads or writes a slot.
//
//     slab (64 MiB or a huge page, aligned)
//     +-------+---------------------+-------+---------------------+--
//     | guard |  <-- slot grows     | guard |  <-- slot grows     |  ...
//     +-------+---------------------+-------+---------------------+--
//     ^ page                        ^ the end of slot 0, exclusive: what take() hands out
//
// The guard comes on top of the stack's size, a power of two, so a slot is an odd number of pages. That
// matters: all fibers use the same few lines at the ends of their slots, and a slot of a power of two
// would put them all into the same few sets of the caches and of the TLB.
//
// The life of a slot, and the list that it is on:
//
//     fresh --> moving --> cold --> out <--> warm
//                  ^--------------------------+
//
//   state   pages       on                      who moves it on
//   fresh   none        no list (Slab::fresh)   take: claims a batch, installs guards
//   moving  any         no list                 the one thread that claimed it, outside the lock
//   cold    none        cold list               take
//   out     any         the caller's hands      give
//   warm    resident    warm list, newest first take (newest), scavenge (oldest)
//
//   K1  A slot is in exactly one state; all moves are made under the pool's lock.
//   K2  The lowest page of a slot that was handed out is a guard, or the slot is counted in
//       `unguarded` and a warning has been given.
//   K3  for_each() visits exactly the slots that are out or warm: handed out since they were last
//       cold. While it visits a slot, that slot's pages are not discarded.
//   K4  No system call that grows with the number of slots is made under the lock.
//   K5  When the pool dies, no slot is out.
//
// docs/design/0003-stacks.md has the ways that were rejected.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/mem.hpp"
#include "base/thread_safety.hpp"
#include "sched/lock.hpp"

namespace gort {

// What lies below a stack. `automatic` is a wish, never an answer.
enum class GuardKind : uint8_t {
  automatic,
  madvise,       // MADV_GUARD_INSTALL (Linux 6.13): no mapping of its own
  protect_none,  // mprotect: two mappings per slot, so only up to a budget
  none,
};

struct StackStats {
  size_t slots_reserved = 0;  // in all slabs
  size_t slots_out = 0;
  size_t slots_warm = 0;  // free and resident
  size_t slots_cold = 0;  // free and not resident, used before or prepared
  size_t slots_unguarded = 0;
  size_t bytes_reserved = 0;               // address space
  size_t mappings = 0;                     // estimate of what the slabs add to /proc/self/maps
  GuardKind guard = GuardKind::automatic;  // what the next new slot gets
};

class alignas(64) StackPool {
 public:
  // 256 KiB, of which a parked fiber uses a page or two: room for getaddrinfo and printf of a
  // double.
  static constexpr size_t kDefaultStackBytes = size_t{256} << 10;

  // stack_bytes is rounded up with stack_bytes_for(). Nothing can fail here: a pool that the kernel
  // refuses memory hands out nothing.
  explicit StackPool(size_t stack_bytes) noexcept;
  // For tests: the kind of guard, and how many protect_none guards the process may have.
  StackPool(size_t stack_bytes, GuardKind guard, size_t protect_budget) noexcept;
  ~StackPool();
  StackPool(const StackPool&) = delete;
  StackPool& operator=(const StackPool&) = delete;

  // Hands out up to out.size() slots, each by its end address (exclusive, aligned to a page): warm
  // ones first, the last given back before the others. Returns how many; fewer than
  // asked for means that the kernel refused memory.
  [[nodiscard]] size_t take(std::span<std::byte*> out) noexcept;
  // Takes slots back as they are; their pages stay resident.
  void give(std::span<std::byte* const> slots) noexcept;

  // Gives the pages of at most max_slots warm slots back to the kernel, the longest unused first.
  // Returns the bytes that were resident.
  size_t scavenge(size_t max_slots) noexcept;

  // How many slots have been warm all the time since the last call: what a burst has left behind and
  // nobody wants now.
  [[nodiscard]] size_t warm_unused() noexcept;

  // Calls visit(end address) for every slot that is out or warm (K3), so that its top may hold a
  // control block, or zeroes if it was just handed out. Under the lock, slab by slab: visit must be
  // short, must not call the pool and must not take a lock that is held around take() or give().
  template <class Visit>
  void for_each(Visit visit) noexcept;

  [[nodiscard]] StackStats stats() noexcept;
  // False: the kernel had no memory for the pool itself, so it will never hand out anything.
  [[nodiscard]] bool usable() const noexcept { return slabs_ != nullptr; }
  [[nodiscard]] size_t slot_bytes() const noexcept { return slot_bytes_; }  // guard included
  [[nodiscard]] size_t guard_bytes() const noexcept { return page_bytes_; }
  [[nodiscard]] size_t stack_bytes() const noexcept { return slot_bytes_ - page_bytes_; }

  // The stack's size for a wish: a power of two, at least kStackPagesMin pages.
  static size_t stack_bytes_for(size_t wish) noexcept;

 private:
  enum class State : uint8_t { fresh, moving, cold, out, warm };

  // A slot's number: its slab's number and its place in the slab. Slot 0 of slab 0 does not exist
  // (the first slab has number 1), so 0 ends a list.
  using SlotId = uint32_t;
  struct Slot {
    SlotId next = 0;
    SlotId prev = 0;  // warm list only
    State state = State::fresh;
  };
  struct Slab {
    std::byte* base = nullptr;
    Slot* slots = nullptr;
    uint32_t fresh = 0;  // slots before this one have left the state fresh
    uint32_t out = 0;
  };
  struct List {
    SlotId newest = 0;
    SlotId oldest = 0;  // warm list only
    size_t size = 0;
  };
  // Neighbouring slots of one slab in the state moving.
  struct Run {
    uint32_t slab = 0;
    uint32_t first = 0;
    uint32_t count = 0;
  };

  Slab& slab_of(SlotId id) noexcept { return slabs_[id >> slots_shift_]; }
  Slot& slot(SlotId id) noexcept GORT_REQUIRES(lock_) { return slab_of(id).slots[place_of(id)]; }
  [[nodiscard]] SlotId place_of(SlotId id) const noexcept {
    return id & ((SlotId{1} << slots_shift_) - 1);
  }
  [[nodiscard]] SlotId first_id(Run run) const noexcept {
    return (run.slab << slots_shift_) + run.first;
  }
  SlotId id_of(const std::byte* end) noexcept GORT_REQUIRES(lock_);
  std::byte* end_of(SlotId id) noexcept;

  size_t take_free(std::span<std::byte*> out) noexcept GORT_REQUIRES(lock_);
  void hand_out(SlotId id, std::byte*& out) noexcept GORT_REQUIRES(lock_);
  void push_warm(SlotId id) noexcept GORT_REQUIRES(lock_);
  void unlink_warm(SlotId id) noexcept GORT_REQUIRES(lock_);
  void push_cold(SlotId id) noexcept GORT_REQUIRES(lock_);

  Run claim_fresh(size_t want) noexcept GORT_REQUIRES(lock_);
  size_t settle_fresh(Run run, std::span<std::byte*> out) noexcept;
  void install_guards(Run run) noexcept;
  size_t protect_guards(std::byte* first, size_t count) noexcept;
  void go_without_guards(size_t slots) noexcept;

  Run detach_oldest(size_t max_slots) noexcept;

  bool add_slab() noexcept GORT_REQUIRES(lock_);
  Slot* new_slots() noexcept GORT_REQUIRES(lock_);
  [[nodiscard]] bool has_slab_at(uintptr_t address) const noexcept GORT_REQUIRES(lock_);

  // Constant after the constructor.
  size_t page_bytes_;
  size_t slot_bytes_;
  size_t slab_bytes_;
  size_t slots_per_slab_;
  unsigned slots_shift_;  // bits of a SlotId for the place in the slab
  size_t protect_budget_;
  // address / slab_bytes_ -> slab number; 0: not ours.
  Plain<uint32_t*> index_ GORT_PT_GUARDED_BY(lock_) = nullptr;
  Plain<Slab*> slabs_ = nullptr;  // [1 .. slab_count_]
  size_t directory_bytes_ = 0;

  // relaxed everywhere: a hint about new slots, it only ever weakens, and publishes nothing.
  Atomic<GuardKind> guard_;
  Atomic<size_t> unguarded_{0};
  Atomic<size_t> protected_{0};

  Lock lock_;  // protects all that follows, index_'s and slabs_' contents, and every Slot
  Plain<uint32_t> slab_count_ GORT_GUARDED_BY(lock_) = 0;
  size_t out_ GORT_GUARDED_BY(lock_) = 0;
  size_t slab_mappings_ GORT_GUARDED_BY(lock_) = 0;
  List warm_ GORT_GUARDED_BY(lock_);
  // The fewest warm slots since the last warm_unused().
  size_t warm_low_ GORT_GUARDED_BY(lock_) = 0;
  List cold_ GORT_GUARDED_BY(lock_);
  // The newest chunk of Slot arrays; each begins with its predecessor.
  std::byte* meta_chunk_ GORT_GUARDED_BY(lock_) = nullptr;
  size_t meta_used_ GORT_GUARDED_BY(lock_) = 0;
};

template <class Visit>
void StackPool::for_each(Visit visit) noexcept {
  // Slab by slab, so that take and give wait for the visit of some 256 slots at most.
  for (uint32_t number = 1;; number++) {
    const LockGuard guard(lock_);
    if (number > slab_count_) return;
    const Slab& slab = slabs_[number];
    for (uint32_t i = 0; i < slab.fresh; i++) {
      const State state = slab.slots[i].state;
      if (state == State::out || state == State::warm) visit(slab.base + (i + 1) * slot_bytes_);
    }
  }
}

}  // namespace gort
