#include "sched/chaos.hpp"

#include "base/pause.hpp"
#include "base/random.hpp"
#include "os/os.hpp"
#include "sched/current.hpp"

namespace gort {

alignas(64) constinit Atomic<bool> chaos_on{false};

namespace {

// How often a point does what, of kOdds times. A wide point nearly always does something, and sleeps
// so often that threads which pass it thousands of times a second still do so hundreds of times.
struct Odds {
  unsigned sleep, yield, spin;
};
constexpr unsigned kOdds = 1024;
constexpr Odds kUsual{1, 24, 96};
constexpr Odds kWide{24, 128, 400};

constexpr unsigned kWidePoints = 4;  // few enough that the others go on meanwhile
// A spin lasts as long as some hundred instructions of another thread, up to a futex wake (10 us).
constexpr unsigned kSpinPausesMax = 256;
// The kernel adds its slack of 50 us to each. The long ones outlast sysmon's shortest look.
constexpr int64_t kSleepNsMax = 100'000;
constexpr int64_t kLongSleepNsMax = 1'500'000;
constexpr unsigned kLongOneIn = 16;

// Written by chaos_begin() only; relaxed everywhere: see chaos().
Atomic<uint64_t> chaos_seed{0};
Atomic<uint32_t> wide_points{0};  // a byte for each
Atomic<uint32_t> chaos_run{0};
Atomic<uint32_t> foreign_streams{0};

constexpr uint64_t kForeignStreams = uint64_t{1} << 32;  // beyond the numbers of Ms
constexpr uint64_t kWideStream = ~uint64_t{0};

// The start of a stream: Z4. splitmix64's finish separates neighbouring numbers.
uint64_t stream(uint64_t number) noexcept {
  Random mix;
  mix.seed(chaos_seed.load(std::memory_order_relaxed));  // relaxed: see chaos_seed
  mix.seed(mix.next() ^ number);
  mix.seed(mix.next() ^ chaos_run.load(std::memory_order_relaxed));  // relaxed: the same
  return mix.next();
}

uint64_t number_of_this_thread() noexcept {
  const M* m = current_m();
  if (m != nullptr) return static_cast<uint64_t>(m->id);
  // relaxed: uniqueness is all.
  return kForeignStreams + foreign_streams.fetch_add(1, std::memory_order_relaxed);
}

constexpr unsigned kByteBits = 8;

bool is_wide(uint32_t points, uint64_t point) noexcept {
  for (unsigned i = 0; i < kWidePoints; ++i) {
    if ((points >> (i * kByteBits) & UINT8_MAX) == point) return true;
  }
  return false;
}

uint32_t draw_wide_points() noexcept {
  constexpr auto kCount = static_cast<uint64_t>(ChaosPoint::count);
  static_assert(kCount <= UINT8_MAX, "a byte for each wide point, and one that is none");
  Random random;
  random.seed(stream(kWideStream));
  uint32_t points = UINT32_MAX;
  for (unsigned drawn = 0; drawn < kWidePoints;) {
    const uint64_t point = random.next() % kCount;
    if (is_wide(points, point)) continue;
    points = points << kByteBits | static_cast<uint32_t>(point);
    ++drawn;
  }
  return points;
}

void sleep_ns(int64_t ns) noexcept {
  const Atomic<uint32_t> nobody_wakes{0};
  os::futexsleep(&nobody_wakes, 0, ns);
}

}  // namespace

void chaos_begin(uint64_t seed, uint32_t run) noexcept {
  // relaxed, all of these: threads that come later find them behind their start.
  chaos_seed.store(seed, std::memory_order_relaxed);
  chaos_run.store(run, std::memory_order_relaxed);
  foreign_streams.store(0, std::memory_order_relaxed);
  wide_points.store(draw_wide_points(), std::memory_order_relaxed);
  chaos_on.store(true, std::memory_order_relaxed);
}

void chaos_end() noexcept {
  // relaxed: the runtime has no threads any more.
  chaos_on.store(false, std::memory_order_relaxed);
}

[[gnu::noinline]] uint64_t chaos_number() noexcept {
  ThreadRandom& mine = thread_random();
  const uint32_t run = chaos_run.load(std::memory_order_relaxed);  // relaxed: see chaos_seed
  if (mine.run != run) {
    mine.run = run;
    mine.random.seed(stream(number_of_this_thread()));
  }
  return mine.random.next();
}

[[gnu::noinline]] void chaos_delay(ChaosPoint where) noexcept {
  const uint64_t number = chaos_number();
  // relaxed: see chaos_seed.
  const uint32_t wide = wide_points.load(std::memory_order_relaxed);
  const Odds odds = is_wide(wide, static_cast<uint64_t>(where)) ? kWide : kUsual;
  const uint64_t drawn = number % kOdds;
  const uint64_t amount = number / kOdds;  // the bits that the draw has left
  if (drawn < odds.sleep) {
    const bool long_one = amount % kLongOneIn == 0;
    const int64_t max = long_one ? kLongSleepNsMax : kSleepNsMax;
    sleep_ns(1 + static_cast<int64_t>((amount / kLongOneIn) % static_cast<uint64_t>(max)));
  } else if (drawn < odds.sleep + odds.yield) {
    os::osyield();
  } else if (drawn < odds.sleep + odds.yield + odds.spin) {
    for (uint64_t i = amount % kSpinPausesMax; i != 0; --i) cpu_pause();
  }
}

}  // namespace gort
