// pools: one StackPool per size of stack; the default size's is made at the start, others on first
// use.
#pragma once

#include <cstddef>

#include "sched/stack.hpp"

namespace gort {

struct Sched;

// The pool of slots of `bytes`, a power of two. nullptr: no memory, or an impossible size.
[[nodiscard]] StackPool* pool_for(size_t bytes) noexcept;

// All pools, for walks: visit(ctx, top) for the top of every slot that may hold a G.
void for_each_slot_raw(void (*visit)(void* ctx, std::byte* top), void* ctx) noexcept;

template <class F>
void for_each_slot(F&& f) noexcept {
  for_each_slot_raw([](void* ctx, std::byte* top) { (*static_cast<F*>(ctx))(top); }, &f);
}

struct StackTotals {
  size_t reserved_bytes = 0;
  size_t resident_bytes = 0;  // measured by asking the kernel about every slot
  const char* guard = "none";
};
[[nodiscard]] StackTotals stack_totals() noexcept;

// Gives the memory of free stacks back, of half of those in each pool that nobody has wanted since the last
// call (tcmalloc's low-water mark): a burst that comes again finds its stacks, one that is over is soon
// forgotten. Up to `keep` stay. Returns bytes released.
size_t scavenge_stacks(size_t keep) noexcept;

// Stacks in somebody's hands, when nobody else is left; the fibers that a P keeps for reuse are among
// them.
[[nodiscard]] size_t stacks_out() noexcept;

// Free stacks that may still hold resident pages.
[[nodiscard]] size_t warm_stacks() noexcept;

// Unmaps everything. Every slot must have come back.
void destroy_pools(Sched& s) noexcept;

}  // namespace gort
