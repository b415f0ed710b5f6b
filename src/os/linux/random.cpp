// random: seeds for the schedulers' generators. Implements getRandomData() of os.hpp.
//
//   RN1  Never weaker than what the kernel gave, and never blocks.
//
// The kernel puts 16 random bytes on the stack of every program (AT_RANDOM). libc makes the stack
// protector's canary and the pointer guard from the same bytes, so they must not be handed out as
// they are, nor through a mixer that can be run backwards: they are the key of SipHash-2-4
// (Aumasson and Bernstein, 2012), a pseudo-random function, over a counter. The process id goes in
// too, so that a forked child does not repeat its parent's numbers.
#include <fcntl.h>
#include <sys/random.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.hpp"
#include "base/mem.hpp"
#include "os/linux/internal.hpp"
#include "os/linux/syscall.hpp"

namespace gort::os {

std::byte startupRandomData[kStartupRandomBytes];

namespace {

Atomic<bool> has_startup_random_data{false};

struct SipState {
  uint64_t v0, v1, v2, v3;

  void round() noexcept {
    v0 += v1;
    v1 = std::rotl(v1, 13);
    v1 ^= v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16);
    v3 ^= v2;
    v0 += v3;
    v3 = std::rotl(v3, 21);
    v3 ^= v0;
    v2 += v1;
    v1 = std::rotl(v1, 17);
    v1 ^= v2;
    v2 = std::rotl(v2, 32);
  }
  void absorb(uint64_t m) noexcept {
    v3 ^= m;
    round();
    round();
    v0 ^= m;
  }
};

void stretch_startup_data(std::span<std::byte> out) noexcept {
  static Atomic<uint64_t> counter{0};
  uint64_t key[2];
  static_assert(sizeof key == kStartupRandomBytes);
  std::memcpy(key, startupRandomData, sizeof key);
  const auto pid = static_cast<uint64_t>(getpid());
  while (!out.empty()) {
    // relaxed: only uniqueness counts.
    const uint64_t word = siphash(key, counter.fetch_add(1, std::memory_order_relaxed), pid);
    const size_t n = std::min(out.size(), sizeof word);
    std::memcpy(out.data(), &word, n);
    out = out.subspan(n);
  }
}

// True when all of `out` was filled.
bool from_getrandom(std::span<std::byte> out) noexcept {
  // GRND_NONBLOCK: early in boot the pool may not be ready (RN1).
  const long got = raw_syscall(SYS_getrandom, out.data(), out.size(), GRND_NONBLOCK);
  return got == static_cast<long>(out.size());
}

bool from_urandom(std::span<std::byte> out) noexcept {
  std::span<char> text(reinterpret_cast<char*>(out.data()), out.size());
  return read_file(urandom_dev, 0, text) == static_cast<long>(out.size());
}

}  // namespace

void set_startup_random_data(const std::byte* bytes16) noexcept {
  std::memcpy(startupRandomData, bytes16, kStartupRandomBytes);
  // release: pairs with the acquire in getRandomData, publishes the bytes.
  has_startup_random_data.store(true, std::memory_order_release);
}

uint64_t siphash(const uint64_t key[2], uint64_t m0, uint64_t m1) noexcept {
  constexpr uint64_t kLength = uint64_t{16}
                               << 56;  // the message's length in the last word's top byte
  SipState s{key[0] ^ 0x736f6d6570736575ULL, key[1] ^ 0x646f72616e646f6dULL,
             key[0] ^ 0x6c7967656e657261ULL, key[1] ^ 0x7465646279746573ULL};
  s.absorb(m0);
  s.absorb(m1);
  s.absorb(kLength);
  s.v2 ^= 0xff;
  for (int i = 0; i < 4; i++) s.round();
  return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

void getRandomData(std::span<std::byte> out) noexcept {
  // acquire: pairs with the release in set_startup_random_data.
  if (has_startup_random_data.load(std::memory_order_acquire)) {
    stretch_startup_data(out);
    return;
  }
  if (from_getrandom(out) || from_urandom(out)) return;
  fatal("RN1: the kernel gives no random data: no AT_RANDOM, no getrandom, no /dev/urandom",
        __FILE__, __LINE__);
}

}  // namespace gort::os
