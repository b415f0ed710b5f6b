// place: where a thread runs that is woken in the place of another. Implements the section "Places" of os.hpp.
//
// A thread that wakes another one and sleeps at once leaves its processor to nobody: the kernel looks for a place while the
// waker still runs, finds every processor busy, and often queues the woken one behind another's thread, until its balancer
// looks a tick later. With as many Ps as processors that is a fourth of the interrupted fibers' turns, and 10 % of all
// processor time (docs/design/0014-preemption.md). So the waker allows the sleeper its own processor only, and the sleeper
// takes that back when it is awake.
//
//   PC1  A Place is written by who wakes the thread, between taking it off its list and the wake-up, and by the thread from
//        then on, before its own code runs: a program never sees a mask that it has not set.
//   PC2  A mask is put back as it was, if nobody has set another one meanwhile. A thread that may run on all that its
//        cpuset allows gets the mask of all ones: the kernel keeps a mask that was asked for, and would hold a thread
//        to the processors of today when the cpuset grows. No thread is taken to where its mask does not let it.
//   PC3  What a cpuset allows is learnt by asking for all processors, on the thread that calls run(), before the program's code
//        runs: whatever that sets is set behind it. (sysmon's thread learnt it at first, beside that code; a mask that was set for
//        all threads at that moment was lost there, and the number of Ps, which follows sysmon's mask, stayed what it was.)
//        From outside of the process a mask may still be set within these microseconds, or those of pull_here(), and be lost.
//
// Rejected: a wake-up through a pipe, which tells the kernel that the waker will sleep (it gained nothing: 2,630 to 2,740
// units of work with it, 2,430 to 2,720 with a futex, 2,890 to 2,950 so); threads that stay on one processor each (what
// else the machine does would hold one fiber up while others go on).
#include <algorithm>
#include <cstring>

#include "base/mem.hpp"
#include "os/linux/syscall.hpp"
#include "os/os.hpp"

namespace gort::os {
namespace {

enum class Pulling : uint8_t { unknown, possible, refused };
Atomic<Pulling> pulling{Pulling::unknown};
CpuMask cpuset;  // what a thread may use that has no mask of its own; written before `pulling`

long set_mask(int tid, const CpuMask& mask) noexcept {
  return raw_syscall(SYS_sched_setaffinity, tid, sizeof mask, static_cast<const void*>(&mask));
}

// False: the kernel's masks are longer than ours, or it does not tell.
bool get_mask(int tid, CpuMask& mask) noexcept {
  mask = {};
  return sched_getaffinity(tid, mask.words) > 0;
}

CpuMask all_ones() noexcept {
  CpuMask mask;
  std::ranges::fill(mask.words, ~0UL);
  return mask;
}

constexpr int kBits = 8 * sizeof(unsigned long);

CpuMask only(int cpu) noexcept {
  CpuMask mask;
  mask.words[cpu / kBits] = 1UL << (cpu % kBits);
  return mask;
}

bool holds(const CpuMask& mask, int cpu) noexcept {
  return (mask.words[cpu / kBits] >> (cpu % kBits) & 1) != 0;
}

}  // namespace

int getcpu() noexcept {
  unsigned cpu = 0;
  return raw_syscall(SYS_getcpu, &cpu, 0L, 0L) == 0 ? static_cast<int>(cpu) : -1;
}

void learn_places() noexcept {
  CpuMask mine;
  // relaxed: one thread calls this at a time; a second runtime finds it done.
  if (pulling.load(std::memory_order_relaxed) != Pulling::unknown) return;
  const bool known = get_mask(0, mine) && set_mask(0, all_ones()) == 0 && get_mask(0, cpuset);
  CpuMask now;
  const bool others_have_set_one = known && get_mask(0, now) && now != cpuset;
  const bool back = known && (mine == cpuset || others_have_set_one || set_mask(0, mine) == 0);
  // release: publishes cpuset.
  pulling.store(back ? Pulling::possible : Pulling::refused, std::memory_order_release);
}

void pull_here(Place& place, int tid) noexcept {
  // acquire: pairs with the release in learn_places().
  if (pulling.load(std::memory_order_acquire) != Pulling::possible) return;
  const int cpu = getcpu();
  if (cpu < 0 || cpu >= CpuMask::kCpus) return;
  if (!get_mask(tid, place.mask) || !holds(place.mask, cpu) || place.mask == only(cpu)) return;
  if (place.mask == cpuset) place.mask = all_ones();  // PC2
  if (set_mask(tid, only(cpu)) == 0) place.cpu = cpu;
}

void settle_place(Place& place) noexcept {
  if (place.cpu < 0) return;
  CpuMask now;
  if (get_mask(0, now) && now == only(place.cpu)) (void)set_mask(0, place.mask);  // PC2
  place.cpu = -1;
}

}  // namespace gort::os
