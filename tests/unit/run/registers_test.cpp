// Registers that only the kernel's signal frame knows of: fibers that are interrupted again and again keep all of them, beside
// others that put other values there (PR1: the fiber stays on its M, and the frame on its signal stack).
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "gort/run.hpp"
#include "gort/spawn.hpp"
#include "gort/stats.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

#if defined(__x86_64__)

using namespace std::chrono_literals;

constexpr int kRounds = 40;
constexpr uint64_t kSpins = 4'000'000;  // one to two milliseconds: a slice, more or less

// What a function below loads into its registers, and finds there when it has spun.
struct alignas(64) Registers {
  uint64_t zmm[32][8] = {};
  uint64_t k[8] = {};
  double x87[8] = {};
  uint32_t mxcsr = 0;
  uint16_t x87_control = 0;

  // All different, in each register and for each seed; control words that are not the usual ones.
  static Registers filled(uint64_t seed) {
    Registers r;
    uint64_t n = seed * 1'000'003;
    for (auto& z : r.zmm) {
      for (uint64_t& word : z) word = (n += 0x9e3779b97f4a7c15ULL);
    }
    for (uint64_t& word : r.k) word = (n += 0x9e3779b97f4a7c15ULL);
    for (double& d : r.x87) d = static_cast<double>(n += 12345);
    // Rounding: one of the four ways; flags that stay zero are left out.
    r.mxcsr = 0x1f80U | static_cast<uint32_t>(seed % 4) << 13U;
    r.x87_control = static_cast<uint16_t>(0x37fU ^ (seed % 4) << 10U);
    return r;
  }
};

using Spin = void (*)(const Registers& in, Registers& out);

#define GORT_EACH_OF_16(f) \
  f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13) f(14) f(15)
#define GORT_EACH_OF_16_MORE(f) \
  f(16) f(17) f(18) f(19) f(20) f(21) f(22) f(23) f(24) f(25) f(26) f(27) f(28) f(29) f(30) f(31)
#define GORT_EACH_OF_8(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7)
#define GORT_SPIN         \
  "mov %[spins], %%rax\n" \
  "1: dec %%rax\n"        \
  "jnz 1b\n"

#define GORT_LOAD_ZMM(n) "vmovdqu64 " #n "*64(%[in]), %%zmm" #n "\n"
#define GORT_STORE_ZMM(n) "vmovdqu64 %%zmm" #n ", " #n "*64(%[out])\n"
#define GORT_LOAD_K(n) "kmovq 2048+" #n "*8(%[in]), %%k" #n "\n"
#define GORT_STORE_K(n) "kmovq %%k" #n ", 2048+" #n "*8(%[out])\n"
#define GORT_LOAD_YMM(n) "vmovdqu " #n "*64(%[in]), %%ymm" #n "\n"
#define GORT_STORE_YMM(n) "vmovdqu %%ymm" #n ", " #n "*64(%[out])\n"
#define GORT_XMM(n) , "xmm" #n
#define GORT_K(n) , "k" #n

static_assert(offsetof(Registers, k) == 2048);

__attribute__((target("avx512f,avx512bw"))) void spin_zmm(const Registers& in, Registers& out) {
  asm volatile(GORT_EACH_OF_16(GORT_LOAD_ZMM) GORT_EACH_OF_16_MORE(GORT_LOAD_ZMM)  //
               GORT_EACH_OF_8(GORT_LOAD_K) GORT_SPIN GORT_EACH_OF_16(GORT_STORE_ZMM)
                   GORT_EACH_OF_16_MORE(GORT_STORE_ZMM) GORT_EACH_OF_8(GORT_STORE_K) "vzeroupper\n"
               :
               : [in] "r"(&in), [out] "r"(&out), [spins] "r"(kSpins)
               : "rax", "memory",
                 "cc" GORT_EACH_OF_16(GORT_XMM) GORT_EACH_OF_16_MORE(GORT_XMM)
                     GORT_EACH_OF_8(GORT_K));
}

__attribute__((target("avx2"))) void spin_ymm(const Registers& in, Registers& out) {
  asm volatile(GORT_EACH_OF_16(GORT_LOAD_YMM)
                   GORT_SPIN GORT_EACH_OF_16(GORT_STORE_YMM) "vzeroupper\n"
               :
               : [in] "r"(&in), [out] "r"(&out), [spins] "r"(kSpins)
               : "rax", "memory", "cc" GORT_EACH_OF_16(GORT_XMM));
}

// The eight x87 registers, both control words, and the old ones again afterwards.
void spin_x87(const Registers& in, Registers& out) {
  uint32_t mxcsr;
  uint16_t control;
  asm volatile(
      "stmxcsr %[mxcsr]\n"
      "fnstcw %[control]\n"
      "fldcw %[in_control]\n"
      "ldmxcsr %[in_mxcsr]\n"
      "fldl 56(%[in])\n fldl 48(%[in])\n fldl 40(%[in])\n fldl 32(%[in])\n"
      "fldl 24(%[in])\n fldl 16(%[in])\n fldl 8(%[in])\n fldl (%[in])\n" GORT_SPIN
      "fstpl (%[out])\n fstpl 8(%[out])\n fstpl 16(%[out])\n fstpl 24(%[out])\n"
      "fstpl 32(%[out])\n fstpl 40(%[out])\n fstpl 48(%[out])\n fstpl 56(%[out])\n"
      "stmxcsr %[out_mxcsr]\n"
      "fnstcw %[out_control]\n"
      "fldcw %[control]\n"
      "ldmxcsr %[mxcsr]\n"
      : [mxcsr] "=&m"(mxcsr), [control] "=&m"(control), [out_mxcsr] "=&m"(out.mxcsr),
        [out_control] "=&m"(out.x87_control)
      : [in] "r"(&in.x87), [out] "r"(&out.x87), [spins] "r"(kSpins), [in_mxcsr] "m"(in.mxcsr),
        [in_control] "m"(in.x87_control)
      : "rax", "memory", "cc", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)");
}

// In `in`, what the function does not load is as it is in `out`.
void keeps_its_registers(Spin spin, uint64_t seed, int rounds, int& wrong) {
  const Registers in = Registers::filled(seed);
  const Registers empty;
  for (int i = 0; i < rounds; ++i) {
    Registers out = empty;
    spin(in, out);
    bool same = true;
    if (spin == spin_zmm) {
      same = std::memcmp(in.zmm, out.zmm, sizeof in.zmm) == 0 &&
             std::memcmp(in.k, out.k, sizeof in.k) == 0;
    } else if (spin == spin_ymm) {
      for (int r = 0; r < 16; ++r) same = same && std::memcmp(in.zmm[r], out.zmm[r], 32) == 0;
    } else {
      same = std::memcmp(in.x87, out.x87, sizeof in.x87) == 0 && in.mxcsr == out.mxcsr &&
             in.x87_control == out.x87_control;
    }
    if (!same) ++wrong;
  }
}

class InterruptedRegisters : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    if (test::kTsan) GTEST_SKIP() << "nobody is interrupted under TSan";
  }
  // Three fibers with values of their own, one of the others each, on so few Ps that they take turns.
  static void all_are_kept(Spin spin) {
    options o{.procs = GetParam()};
    o.slice = 1ms;
    run(o, [spin] {
      constexpr uint64_t kSame = 3;
      int wrong[kSame + 3] = {};
      std::vector<task<void>> fibers;
      for (uint64_t i = 0; i < kSame; ++i) {
        fibers.push_back(
            spawn([spin, i, &wrong] { keeps_its_registers(spin, i + 1, kRounds, wrong[i]); }));
      }
      int* other = wrong + kSame;
      fibers.push_back(spawn([other] { keeps_its_registers(spin_x87, 11, kRounds, *other); }));
      if (__builtin_cpu_supports("avx2")) {
        fibers.push_back(spawn([other] { keeps_its_registers(spin_ymm, 12, kRounds, other[1]); }));
      }
      for (auto& t : fibers) t.join();
      for (const int n : wrong) EXPECT_EQ(n, 0);
      EXPECT_GT(stats().preemptions, 10U);
    });
  }
};
INSTANTIATE_TEST_SUITE_P(Procs, InterruptedRegisters, testing::Values(1, 2),
                         [](const auto& info) { return std::to_string(info.param); });

TEST_P(InterruptedRegisters, OfAvx512AreKept) {
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw")) {
    GTEST_SKIP() << "this processor has no AVX-512";
  }
  all_are_kept(spin_zmm);
}

TEST_P(InterruptedRegisters, OfAvx2AreKept) {
  if (!__builtin_cpu_supports("avx2")) GTEST_SKIP() << "this processor has no AVX2";
  all_are_kept(spin_ymm);
}

TEST_P(InterruptedRegisters, OfX87AndTheControlWordsAreKept) {
  all_are_kept(spin_x87);
}

#endif

}  // namespace
}  // namespace gort
