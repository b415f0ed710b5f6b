// mem: mappings, and what the kernel charges for them.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>

#include "os/os.hpp"
#include "support/sanitized.hpp"

namespace gort::os {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

int count_mappings() {
  std::ifstream maps("/proc/self/maps");
  int n = 0;
  for (std::string line; std::getline(maps, line);) n++;
  return n;
}

size_t page() {
  return system_info().page_bytes;
}

TEST(Mem, MapIsZeroedAndWritable) {
  char* p = static_cast<char*>(mem_map(3 * page()));
  ASSERT_NE(p, nullptr);
  EXPECT_EQ(p[0], 0);
  EXPECT_EQ(p[3 * page() - 1], 0);
  p[3 * page() - 1] = 1;
  mem_unmap(p, 3 * page());
}

TEST(Mem, RefusalIsNull) {
  EXPECT_EQ(mem_map(SIZE_MAX / 2), nullptr);
  EXPECT_EQ(mem_reserve(SIZE_MAX / 2, page()), nullptr);
  EXPECT_EQ(mem_reserve(SIZE_MAX & ~(page() - 1), 64 * kMiB), nullptr);
}

TEST(Mem, ReserveIsAligned) {
  for (const size_t align : {page(), 64 * page(), 4 * kMiB, 64 * kMiB}) {
    void* p = mem_reserve(4 * kMiB, align);
    ASSERT_NE(p, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % align, 0u) << align;
    mem_unmap(p, 4 * kMiB);
  }
}

TEST(Mem, AnUntouchedReservationCostsNothingAndATouchedPageOnePage) {
  constexpr size_t kBytes = 64 * kMiB;
  char* p = static_cast<char*>(mem_reserve(kBytes, 2 * kMiB));
  ASSERT_NE(p, nullptr);
  EXPECT_EQ(mem_resident(p, kBytes), 0u);
  for (size_t at = 0; at < kBytes; at += 2 * kMiB) p[at] = 1;
  EXPECT_EQ(mem_resident(p, kBytes), kBytes / (2 * kMiB) * page());
  mem_unmap(p, kBytes);
}

TEST(Mem, NeighbouringReservationsAreOneMapping) {
  constexpr int kCount = 20;
  constexpr size_t kBytes = 4 * kMiB;
  const int before = count_mappings();
  void* all[kCount];
  for (void*& p : all) {
    p = mem_reserve(kBytes, kBytes);
    ASSERT_NE(p, nullptr);
    static_cast<char*>(p)[0] = 1;
  }
  // A sanitizer maps shadow memory for each of them.
  if (!test::kSanitizers) {
    EXPECT_LE(count_mappings() - before, 4);
  }
  for (void* p : all) mem_unmap(p, kBytes);
}

TEST(Mem, DiscardDropsPagesAndKeepsGuards) {
  const size_t bytes = 8 * page();
  char* p = static_cast<char*>(mem_reserve(bytes, page()));
  const int guard = mem_guard_install(p, page());
  ASSERT_TRUE(guard == 0 || guard == -EINVAL) << guard;
  std::memset(p + page(), 1, bytes - page());
  EXPECT_EQ(mem_resident(p, bytes), 7 * page());
  mem_discard(p, bytes);
  EXPECT_EQ(mem_resident(p, bytes), 0u);
  EXPECT_EQ(p[page()], 0);
  if (guard == 0) {
    EXPECT_DEATH(p[0] = 1, "");
  }
  mem_unmap(p, bytes);
}

TEST(Mem, GuardsDoNotSplitTheMapping) {
  constexpr size_t kBytes = 16 * kMiB;
  constexpr size_t kStride = 64 << 10;
  char* p = static_cast<char*>(mem_reserve(kBytes, kStride));
  if (mem_guard_install(p, page()) != 0) GTEST_SKIP() << "kernel before 6.13";
  const int before = count_mappings();
  for (size_t at = 0; at < kBytes; at += kStride) ASSERT_EQ(mem_guard_install(p + at, page()), 0);
  EXPECT_LE(count_mappings(), before + (test::kSanitizers ? 16 : 1));
  mem_unmap(p, kBytes);
}

TEST(Mem, ManyGuardsInOneCall) {
  constexpr size_t kCount = 150;  // more than one batch, and not a multiple of it
  const size_t stride = 4 * page();
  char* p = static_cast<char*>(mem_reserve((kCount + 1) * stride, stride));
  mem_unmap(p + kCount * stride, stride);  // a hole behind the last one
  const size_t done = mem_guard_install_each(p, stride, kCount, page());
  if (done == 0) GTEST_SKIP() << "kernel before 6.13";
  ASSERT_EQ(done, kCount);
  for (const size_t i : {size_t{0}, size_t{63}, size_t{64}, kCount - 1}) {
    EXPECT_DEATH(p[i * stride] = 1, "") << i;
    p[i * stride + page()] = 1;
  }
  EXPECT_EQ(mem_guard_install_each(p, stride, kCount + 1, page()), kCount);  // the last is not ours
  mem_unmap(p, kCount * stride);
}

TEST(MemDeathTest, ProtectNoneFaults) {
  char* p = static_cast<char*>(mem_reserve(4 * page(), page()));
  ASSERT_EQ(mem_protect_none(p, page()), 0);
  p[page()] = 1;
  EXPECT_DEATH(p[0] = 1, "");
  mem_unmap(p, 4 * page());
}

TEST(Mem, ResidentCountsWholePagesOfAnyRange) {
  const size_t pages = 5'000;  // more than one batch of mincore
  char* p = static_cast<char*>(mem_map(pages * page()));
  p[0] = 1;
  p[2'999 * page()] = 1;
  p[4'999 * page()] = 1;
  EXPECT_EQ(mem_resident(p, pages * page()), 3 * page());
  EXPECT_EQ(mem_resident(p + 10, 1), page());
  EXPECT_EQ(mem_resident(p + page(), page()), 0u);
  EXPECT_EQ(mem_resident(p, 0), 0u);
  mem_unmap(p, pages * page());
}

TEST(MemDeathTest, UnmappingWhatIsNotOursIsFatal) {
  EXPECT_DEATH(mem_unmap(reinterpret_cast<void*>(uintptr_t{1}), 4096),
               "gort: fatal: munmap failed");
}

}  // namespace
}  // namespace gort::os
