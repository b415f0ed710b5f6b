#include "sched/pools.hpp"

#include <algorithm>
#include <bit>
#include <new>

#include "sched/sched.hpp"

namespace gort {
namespace {

int class_of(size_t bytes) noexcept {
  return std::countr_zero(bytes) - kStackClassFirst;
}

const char* guard_name(GuardKind k) noexcept {
  switch (k) {
    case GuardKind::automatic:
    case GuardKind::none:
      return "none";
    case GuardKind::madvise:
      return "madvise";
    case GuardKind::protect_none:
      return "protect_none";
  }
  return "none";
}

}  // namespace

StackPool* pool_for(size_t bytes) noexcept {
  Sched& s = sched();
  const int c = class_of(bytes);
  if (!std::has_single_bit(bytes) || c < 0 || c >= kStackClasses) return nullptr;
  // acquire: pairs with the release below.
  StackPool* pool = s.pools[c].load(std::memory_order_acquire);
  if (pool != nullptr) return pool;
  auto* fresh = new (std::nothrow) StackPool(bytes);
  if (fresh == nullptr) return nullptr;
  if (!fresh->usable()) {  // the next to ask tries again
    delete fresh;
    return nullptr;
  }
  // release: publishes the pool; acquire: learns the one that was faster.
  if (s.pools[c].compare_exchange_strong(pool, fresh, std::memory_order_release,
                                         std::memory_order_acquire)) {
    return fresh;
  }
  delete fresh;
  return pool;
}

void for_each_slot_raw(void (*visit)(void*, std::byte*), void* ctx) noexcept {
  for (auto& p : sched().pools) {
    // acquire: pairs with pool_for(); what it made is there.
    if (StackPool* pool = p.load(std::memory_order_acquire)) {
      pool->for_each([visit, ctx](std::byte* top) { visit(ctx, top); });
    }
  }
}

StackTotals stack_totals() noexcept {
  StackTotals t;
  for (auto& p : sched().pools) {
    // acquire: the same.
    if (StackPool* pool = p.load(std::memory_order_acquire)) {
      const auto st = pool->stats();
      t.reserved_bytes += st.bytes_reserved;
      const size_t slot = pool->slot_bytes();
      pool->for_each(
          [&t, slot](std::byte* top) { t.resident_bytes += os::mem_resident(top - slot, slot); });
      if (pool == sched().stacks) t.guard = guard_name(st.guard);
    }
  }
  return t;
}

size_t stacks_out() noexcept {
  size_t out = 0;
  for (auto& p : sched().pools) {
    // relaxed: for the end of the runtime, when every other thread has ended.
    if (StackPool* pool = p.load(std::memory_order_relaxed)) out += pool->stats().slots_out;
  }
  return out;
}

size_t warm_stacks() noexcept {
  size_t warm = 0;
  for (auto& p : sched().pools) {
    // acquire: the same.
    if (StackPool* pool = p.load(std::memory_order_acquire)) warm += pool->stats().slots_warm;
  }
  return warm;
}

size_t scavenge_stacks(size_t keep) noexcept {
  size_t bytes = 0;
  for (auto& p : sched().pools) {
    StackPool* pool = p.load(std::memory_order_acquire);  // acquire: the same
    if (pool == nullptr) continue;
    const size_t unused = pool->warm_unused();
    if (unused > keep) bytes += pool->scavenge(std::max(unused / 2, std::min(unused - keep, keep)));
  }
  return bytes;
}

void destroy_pools(Sched& s) noexcept {
  for (auto& p : s.pools) {
    delete p.load(std::memory_order_relaxed);     // relaxed: every other thread has ended
    p.store(nullptr, std::memory_order_relaxed);  // relaxed: the same
  }
}

}  // namespace gort
