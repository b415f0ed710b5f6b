#include "sched/stack.hpp"

#include <algorithm>
#include <bit>
#include <new>
#include <utility>

#include "base/check.hpp"
#include "base/mem.hpp"
#include "base/write.hpp"
#include "os/os.hpp"

namespace gort {
namespace {

// 256 default slots: few enough calls to mmap (one per 256 fibers), small enough that an idle
// program has little address space reserved, and a multiple of most machines' huge pages (where those are larger, they are the size: a
// slab, which never gets huge pages, takes none from the program's memory beside it).
constexpr size_t kSlabBytes = size_t{64} << 20;

// A page for G and the first frames, and three to work with.
constexpr size_t kStackPagesMin = 4;

// Bounds the table of slabs: 4 TiB of stacks with slabs of 64 MiB, a few pages of table when few
// are used.
constexpr size_t kSlabsMax = 65'536;

// User addresses on x86-64 end below 2^47, on aarch64 below 2^48 unless asked for.
constexpr unsigned kAddressBits = 48;

// Slot arrays are cut from chunks of this size: one more mapping at most per 80,000 fibers.
constexpr size_t kMetaChunkBytes = size_t{1} << 20;
constexpr size_t kMetaHeaderBytes = 16;  // the link to the previous chunk, and alignment

// Fresh slots are made ready so many at a time: 32 guards are one system call of about 5 us.
constexpr size_t kFreshBatch = 32;

// A protect_none guard costs two mappings (itself, and the cut in the slab), and at most half of
// the process's mappings go to guards: the program wants some too.
constexpr size_t kMappingsPerGuard = 2;
constexpr size_t kBudgetShare = 2;

// protect_none guards of all pools. relaxed everywhere: only the sum counts.
Atomic<size_t> protect_guards_in_process{0};

// True for all that get it up to the budget.
bool take_from_budget(size_t budget) noexcept {
  // relaxed: see above.
  if (protect_guards_in_process.fetch_add(1, std::memory_order_relaxed) < budget) return true;
  protect_guards_in_process.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

bool kernel_has_guards(size_t page_bytes) noexcept {
  void* page = os::mem_map(page_bytes);
  if (page == nullptr) return false;
  const int rc = os::mem_guard_install(page, page_bytes);
  os::mem_unmap(page, page_bytes);
  return rc == 0;
}

GuardKind choose_guard(GuardKind wish, size_t page_bytes) noexcept {
  if (wish != GuardKind::automatic) return wish;
  return kernel_has_guards(page_bytes) ? GuardKind::madvise : GuardKind::protect_none;
}

void warn_once() noexcept {
  static Atomic<bool> warned{false};
  // relaxed: whoever changes it speaks.
  if (warned.exchange(true, std::memory_order_relaxed)) return;
  static constexpr char kText[] =
      "gort: warning: further stacks have no guard page, so their overflow goes unnoticed: half of "
      "vm.max_map_count is used up by guards, or the kernel refuses them (raise it, use fewer "
      "fibers, "
      "or a kernel from 6.13 on)\n";
  write_text(2, kText, sizeof kText - 1);
}

}  // namespace

// ---- taking and giving --------------------------------------------------------------------------

size_t StackPool::take(std::span<std::byte*> out) noexcept {
  if (slabs_ == nullptr) return 0;
  size_t n = 0;
  while (n < out.size()) {
    lock_.lock();
    n += take_free(out.subspan(n));
    Run run;
    if (n < out.size()) run = claim_fresh(out.size() - n);
    lock_.unlock();
    if (n == out.size() || run.count == 0) break;
    install_guards(run);  // outside the lock: K4
    n += settle_fresh(run, out.subspan(n));
  }
  return n;
}

void StackPool::give(std::span<std::byte* const> slots) noexcept {
  const LockGuard guard(lock_);
  for (const std::byte* end : slots) {
    const SlotId id = id_of(end);
    GORT_CHECK(slot(id).state == State::out, "K1: a stack was given back twice");
    slab_of(id).out--;
    out_--;
    push_warm(id);
  }
}

// From the lists alone. The lock is held.
size_t StackPool::take_free(std::span<std::byte*> out) noexcept {
  size_t n = 0;
  while (n < out.size() && warm_.newest != 0) {
    const SlotId id = warm_.newest;
    unlink_warm(id);
    hand_out(id, out[n++]);
  }
  while (n < out.size() && cold_.newest != 0) {
    const SlotId id = cold_.newest;
    cold_.newest = slot(id).next;
    cold_.size--;
    hand_out(id, out[n++]);
  }
  return n;
}

void StackPool::hand_out(SlotId id, std::byte*& out) noexcept {
  slot(id).state = State::out;
  slab_of(id).out++;
  out_++;
  out = end_of(id);
}

void StackPool::push_warm(SlotId id) noexcept {
  Slot& s = slot(id);
  s.state = State::warm;
  s.prev = 0;
  s.next = warm_.newest;
  if (warm_.newest != 0) {
    slot(warm_.newest).prev = id;
  } else {
    warm_.oldest = id;
  }
  warm_.newest = id;
  warm_.size++;
}

void StackPool::unlink_warm(SlotId id) noexcept {
  const Slot& s = slot(id);
  (s.prev != 0 ? slot(s.prev).next : warm_.newest) = s.next;
  (s.next != 0 ? slot(s.next).prev : warm_.oldest) = s.prev;
  warm_.size--;
  warm_low_ = std::min(warm_low_, warm_.size);
}

void StackPool::push_cold(SlotId id) noexcept {
  Slot& s = slot(id);
  s.state = State::cold;
  s.next = cold_.newest;
  cold_.newest = id;
  cold_.size++;
}

// ---- new slots ----------------------------------------------------------------------------------

// A run of fresh slots, now moving; empty if the kernel refuses. The lock is held.
StackPool::Run StackPool::claim_fresh(size_t want) noexcept {
  if (slab_count_ == 0 || slabs_[slab_count_].fresh == slots_per_slab_) {
    if (!add_slab()) return {};
  }
  Slab& slab = slabs_[slab_count_];
  const size_t left = slots_per_slab_ - slab.fresh;
  const Run run{slab_count_, slab.fresh,
                static_cast<uint32_t>(std::min(left, std::max(want, kFreshBatch)))};
  for (uint32_t i = 0; i < run.count; i++) slab.slots[run.first + i].state = State::moving;
  slab.fresh += run.count;
  return run;
}

// Hands out what is asked for, the rest becomes cold.
size_t StackPool::settle_fresh(Run run, std::span<std::byte*> out) noexcept {
  const LockGuard guard(lock_);
  const SlotId first = first_id(run);
  const size_t n = std::min<size_t>(out.size(), run.count);
  for (uint32_t i = 0; i < n; i++) hand_out(first + i, out[i]);
  // Backwards, so that the cold list gives the lower neighbour first.
  for (uint32_t i = run.count; i > n; i--) push_cold(first + i - 1);
  return n;
}

// K2. Without the lock: the slots are moving, so nobody else touches them.
void StackPool::install_guards(Run run) noexcept {
  std::byte* const first = slabs_[run.slab].base + run.first * slot_bytes_;
  // relaxed: see guard_.
  const GuardKind kind = guard_.load(std::memory_order_relaxed);
  size_t done = 0;
  if (kind == GuardKind::madvise) {
    done = os::mem_guard_install_each(first, slot_bytes_, run.count, page_bytes_);
  }
  // Also what the kernel refused above, for example after mlockall().
  if (kind != GuardKind::none) {
    done += protect_guards(first + done * slot_bytes_, run.count - done);
  }
  if (done < run.count) go_without_guards(run.count - done);
}

size_t StackPool::protect_guards(std::byte* first, size_t count) noexcept {
  size_t done = 0;
  while (done < count && take_from_budget(protect_budget_)) {
    if (os::mem_protect_none(first + done * slot_bytes_, page_bytes_) != 0) {
      // relaxed: only the sum counts.
      protect_guards_in_process.fetch_sub(1, std::memory_order_relaxed);
      break;
    }
    done++;
  }
  // relaxed: a statistic, and read by the destructor, which is alone.
  protected_.fetch_add(done, std::memory_order_relaxed);
  return done;
}

void StackPool::go_without_guards(size_t slots) noexcept {
  // relaxed: a statistic.
  unguarded_.fetch_add(slots, std::memory_order_relaxed);
  // relaxed: see guard_. A wish for none needs no warning.
  if (guard_.exchange(GuardKind::none, std::memory_order_relaxed) != GuardKind::none) warn_once();
}

// ---- giving pages back --------------------------------------------------------------------------

size_t StackPool::scavenge(size_t max_slots) noexcept {
  size_t freed_bytes = 0;
  for (size_t done = 0; done < max_slots;) {
    const Run run = detach_oldest(max_slots - done);
    if (run.count == 0) break;
    // Without the lock (K4): the slots are moving. Guards lie in the range and survive.
    std::byte* const base = slabs_[run.slab].base + run.first * slot_bytes_;
    const size_t bytes = run.count * slot_bytes_;
    freed_bytes += os::mem_resident(base, bytes);
    os::mem_discard(base, bytes);
    const LockGuard guard(lock_);
    const SlotId first = first_id(run);
    for (uint32_t i = run.count; i > 0; i--) push_cold(first + i - 1);
    done += run.count;
  }
  return freed_bytes;
}

size_t StackPool::warm_unused() noexcept {
  const LockGuard guard(lock_);
  return std::exchange(warm_low_, warm_.size);
}

// The oldest warm slot; and its warm neighbours too if nothing of the slab is in use, so that a
// slab that is all free goes with one system call. They become moving.
StackPool::Run StackPool::detach_oldest(size_t max_slots) noexcept {
  const LockGuard guard(lock_);
  if (warm_.oldest == 0) return {};
  const SlotId oldest = warm_.oldest;
  Slab& slab = slab_of(oldest);
  size_t first = place_of(oldest);
  size_t end = first + 1;
  if (slab.out == 0) {
    const auto warm = [&](size_t i) { return slab.slots[i].state == State::warm; };
    while (end < slots_per_slab_ && end - first < max_slots && warm(end)) end++;
    while (first > 0 && end - first < max_slots && warm(first - 1)) first--;
  }
  const SlotId base = oldest - place_of(oldest);
  for (size_t i = first; i < end; i++) {
    unlink_warm(base + static_cast<SlotId>(i));
    slab.slots[i].state = State::moving;
  }
  return {oldest >> slots_shift_, static_cast<uint32_t>(first), static_cast<uint32_t>(end - first)};
}

// ---- slabs --------------------------------------------------------------------------------------

// The lock is held: a few system calls once in a slab's life.
bool StackPool::add_slab() noexcept {
  if (slab_count_ + 1 >= kSlabsMax) return false;
  Slot* slots = new_slots();
  if (slots == nullptr) return false;
  auto* base = static_cast<std::byte*>(os::mem_reserve(slab_bytes_, slab_bytes_));
  const auto address = reinterpret_cast<uintptr_t>(base);
  if (base != nullptr && (address >> kAddressBits) != 0) {
    os::mem_unmap(base, slab_bytes_);
    base = nullptr;
  }
  if (base == nullptr) {
    meta_used_ -= slots_per_slab_ * sizeof(Slot);  // new_slots() undone
    return false;
  }
  const uint32_t number = slab_count_ + 1;
  slab_count_ = number;
  slabs_[number] = {base, slots, 0, 0};
  index_[address / slab_bytes_] = number;
  // Side by side with another slab: the kernel has made them one mapping.
  const size_t neighbours = (has_slab_at(address - slab_bytes_) ? 1U : 0U) +
                            (has_slab_at(address + slab_bytes_) ? 1U : 0U);
  slab_mappings_ += 1 - neighbours;  // a slab that closes a gap makes one of two
  return true;
}

StackPool::Slot* StackPool::new_slots() noexcept {
  const size_t bytes = slots_per_slab_ * sizeof(Slot);
  if (meta_chunk_ == nullptr || meta_used_ + bytes > kMetaChunkBytes) {
    void* chunk = os::mem_map(kMetaChunkBytes);
    if (chunk == nullptr) return nullptr;
    *static_cast<std::byte**>(chunk) = meta_chunk_;
    meta_chunk_ = static_cast<std::byte*>(chunk);
    meta_used_ = kMetaHeaderBytes;
  }
  std::byte* const at = meta_chunk_ + meta_used_;
  meta_used_ += bytes;
  Slot* const slots = reinterpret_cast<Slot*>(at);
  for (size_t i = 0; i < slots_per_slab_; i++) new (slots + i) Slot();
  return slots;
}

bool StackPool::has_slab_at(uintptr_t address) const noexcept {
  return (address >> kAddressBits) == 0 && index_[address / slab_bytes_] != 0;
}

StackPool::SlotId StackPool::id_of(const std::byte* end) noexcept {
  const uintptr_t base = reinterpret_cast<uintptr_t>(end) - slot_bytes_;
  const uint32_t number = has_slab_at(base) ? index_[base / slab_bytes_] : 0;
  const uintptr_t offset = base % slab_bytes_;
  GORT_CHECK(number != 0 && offset % slot_bytes_ == 0, "K1: a stack that is not this pool's");
  return (number << slots_shift_) + static_cast<SlotId>(offset / slot_bytes_);
}

std::byte* StackPool::end_of(SlotId id) noexcept {
  return slab_of(id).base + (place_of(id) + 1) * slot_bytes_;
}

// ---- the pool itself ----------------------------------------------------------------------------

StackPool::StackPool(size_t stack_bytes) noexcept
    : StackPool(stack_bytes, GuardKind::automatic,
                os::system_info().map_limit / kBudgetShare / kMappingsPerGuard) {}

StackPool::StackPool(size_t stack_bytes, GuardKind guard, size_t protect_budget) noexcept
    : page_bytes_(os::system_info().page_bytes),
      slot_bytes_(stack_bytes_for(stack_bytes) + page_bytes_),
      slab_bytes_(
          std::max({kSlabBytes, std::bit_ceil(slot_bytes_), os::system_info().huge_page_bytes})),
      slots_per_slab_(slab_bytes_ / slot_bytes_),
      slots_shift_(static_cast<unsigned>(std::bit_width(slots_per_slab_ - 1))),
      protect_budget_(protect_budget),
      guard_(choose_guard(guard, page_bytes_)) {
  static_assert(sizeof(Slot) == 12);
  static_assert(kMetaHeaderBytes + kSlabBytes / (4096 * kStackPagesMin) * sizeof(Slot) <=
                kMetaChunkBytes);
  // Address space only: a table that is used at its ends costs two or three pages.
  const size_t index_bytes = ((uintptr_t{1} << kAddressBits) / slab_bytes_) * sizeof(uint32_t);
  directory_bytes_ = index_bytes + kSlabsMax * sizeof(Slab);
  void* directory = os::mem_reserve(directory_bytes_, page_bytes_);
  if (directory == nullptr) return;
  index_ = static_cast<uint32_t*>(directory);
  slabs_ = reinterpret_cast<Slab*>(static_cast<std::byte*>(directory) + index_bytes);
}

StackPool::~StackPool() {
  GORT_CHECK(out_ == 0, "K5: a stack is in use while its pool dies");
  if (slabs_ == nullptr) return;
  for (uint32_t number = 1; number <= slab_count_; number++) {
    os::mem_unmap(slabs_[number].base, slab_bytes_);
  }
  while (meta_chunk_ != nullptr) {
    std::byte* const previous = *reinterpret_cast<std::byte**>(meta_chunk_);
    os::mem_unmap(meta_chunk_, kMetaChunkBytes);
    meta_chunk_ = previous;
  }
  os::mem_unmap(index_, directory_bytes_);
  // relaxed: only the sum counts; nobody else uses this pool any more.
  protect_guards_in_process.fetch_sub(protected_.load(std::memory_order_relaxed),
                                      std::memory_order_relaxed);
}

StackStats StackPool::stats() noexcept {
  const LockGuard guard(lock_);
  StackStats out;
  out.slots_reserved = slab_count_ * slots_per_slab_;
  out.slots_out = out_;
  out.slots_warm = warm_.size;
  out.slots_cold = cold_.size;
  out.bytes_reserved = slab_count_ * slab_bytes_;
  // relaxed, all of these: statistics.
  out.slots_unguarded = unguarded_.load(std::memory_order_relaxed);
  out.mappings = slab_mappings_ + kMappingsPerGuard * protected_.load(std::memory_order_relaxed);
  out.guard = guard_.load(std::memory_order_relaxed);
  return out;
}

size_t StackPool::stack_bytes_for(size_t wish) noexcept {
  // 2^40 is beyond all reason, and keeps bit_ceil from overflowing.
  constexpr size_t kLargest = size_t{1} << 40;
  const size_t least = kStackPagesMin * os::system_info().page_bytes;
  return std::bit_ceil(std::clamp(wish, least, kLargest));
}

}  // namespace gort
