// auxv, random and init: what the kernel told this process, compared with what libc says.
#include <elf.h>
#include <gtest/gtest.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <set>
#include <thread>
#include <vector>

#include "gort/os.hpp"
#include "os/linux/internal.hpp"
#include "os/os.hpp"

namespace gort::os {
namespace {

class TempFile {
 public:
  explicit TempFile(std::span<const unsigned long> words, size_t bytes) {
    FILE* f = std::fopen(path_.c_str(), "wb");
    EXPECT_NE(f, nullptr);
    EXPECT_EQ(std::fwrite(words.data(), 1, bytes, f), bytes);
    std::fclose(f);
  }
  ~TempFile() { std::remove(path_.c_str()); }
  const char* path() const { return path_.c_str(); }

 private:
  std::string path_ = ::testing::TempDir() + "gort_auxv_" + std::to_string(::getpid());
};

TEST(Auxv, FactsAgreeWithLibc) {
  osinit();
  EXPECT_EQ(system_info().page_bytes, static_cast<size_t>(::sysconf(_SC_PAGESIZE)));
  EXPECT_EQ(auxv_facts().hwcap2, ::getauxval(AT_HWCAP2));
  EXPECT_EQ(system_info().secure, ::getauxval(AT_SECURE) != 0);
  EXPECT_EQ(auxv_facts().vdso, reinterpret_cast<const void*>(::getauxval(AT_SYSINFO_EHDR)));
}

// libc replaces AT_HWCAP by a number of its own on x86-64, so the kernel's file is the witness
// here.
TEST(Auxv, MapIsTheKernelsFile) {
  osinit();
  std::map<unsigned long, unsigned long> expected;
  std::ifstream file("/proc/self/auxv", std::ios::binary);
  unsigned long pair[2];
  while (file.read(reinterpret_cast<char*>(pair), sizeof pair) && pair[0] != AT_NULL) {
    expected[pair[0]] = pair[1];
  }
  EXPECT_EQ(auxv(), expected);
  EXPECT_EQ(auxv_facts().hwcap, expected[AT_HWCAP]);
}

TEST(Auxv, MapHoldsTheWholeVector) {
  osinit();
  const auto map = auxv();
  for (const unsigned long tag : {AT_PAGESZ, AT_RANDOM, AT_UID, AT_EUID, AT_CLKTCK, AT_PHDR}) {
    ASSERT_TRUE(map.contains(tag)) << tag;
    EXPECT_EQ(map.at(tag), ::getauxval(tag)) << tag;
  }
  EXPECT_EQ(static_cast<int>(map.size()), auxv_facts().pairs);
}

TEST(Auxv, SysauxvCountsPairs) {
  osinit();
  std::vector<unsigned long> words;
  for (const auto& [tag, value] : auxv()) words.insert(words.end(), {tag, value});
  words.insert(words.end(), {AT_NULL, 0});
  EXPECT_EQ(sysauxv(words.data()), static_cast<int>(words.size() / 2 - 1));
  EXPECT_EQ(auxv_facts().page_bytes, ::getauxval(AT_PAGESZ));
}

TEST(Auxv, SysargsWalksBehindTheEnvironment) {
  // A stack as the kernel makes it: argv, null, envp, null, vector.
  alignas(8) char name[] = "prog";
  char env[] = "A=b";
  char random[16] = "0123456789abcde";
  std::array<void*, 12> stack = {name,
                                 nullptr,
                                 env,
                                 nullptr,
                                 reinterpret_cast<void*>(AT_PAGESZ),
                                 reinterpret_cast<void*>(::getauxval(AT_PAGESZ)),
                                 reinterpret_cast<void*>(AT_RANDOM),
                                 random,
                                 reinterpret_cast<void*>(AT_HWCAP),
                                 reinterpret_cast<void*>(::getauxval(AT_HWCAP)),
                                 reinterpret_cast<void*>(AT_NULL),
                                 nullptr};
  sysargs(1, reinterpret_cast<char**>(stack.data()));
  EXPECT_EQ(auxv_facts().pairs, 3);
  EXPECT_EQ(arguments(), std::vector<std::string>{"prog"});
  EXPECT_EQ(std::memcmp(startupRandomData, random, sizeof random), 0);
  sysargs(0, nullptr);  // back to the truth
  EXPECT_EQ(auxv_facts().random, reinterpret_cast<const std::byte*>(::getauxval(AT_RANDOM)));
}

TEST(Auxv, ArgumentsComeFromProcWithoutArgv) {
  sysargs(0, nullptr);
  const std::vector<std::string> args = arguments();
  ASSERT_FALSE(args.empty());
  char exe[4096] = {};
  ASSERT_GT(::readlink("/proc/self/exe", exe, sizeof exe - 1), 0);
  const auto base = [](const std::string& path) { return path.substr(path.rfind('/') + 1); };
  EXPECT_EQ(base(args[0]), base(exe));
}

TEST(Auxv, ParseTakesOnlyWhatItKnows) {
  const unsigned long vector[] = {AT_PAGESZ, 65536, 4711, 1, AT_SECURE, 1, AT_NULL, 0, AT_HWCAP, 9};
  const AuxvFacts facts = parse_auxv(vector);
  EXPECT_EQ(facts.pairs, 3);
  EXPECT_EQ(facts.page_bytes, 65536u);
  EXPECT_TRUE(facts.secure);
  EXPECT_EQ(facts.hwcap, 0u);
  EXPECT_EQ(facts.random, nullptr);
}

TEST(Auxv, APageSizeIsAPowerOfTwo) {
  for (const unsigned long bad : {0UL, 1UL, 2048UL, 4095UL, 4097UL, ~0UL}) {
    const unsigned long vector[] = {AT_PAGESZ, bad, AT_NULL, 0};
    EXPECT_EQ(parse_auxv(vector).page_bytes, 0u) << bad;
  }
}

TEST(Auxv, APageSizeThatIsNoneIsFoundOtherwise) {
  char name[] = "prog";
  std::array<void*, 7> stack = {name,
                                nullptr,
                                nullptr,
                                reinterpret_cast<void*>(AT_PAGESZ),
                                reinterpret_cast<void*>(4097UL),
                                reinterpret_cast<void*>(AT_NULL),
                                nullptr};
  sysargs(1, reinterpret_cast<char**>(stack.data()));
  EXPECT_EQ(auxv_facts().page_bytes, static_cast<size_t>(::sysconf(_SC_PAGESIZE)));
  sysargs(0, nullptr);  // back to the truth
}

TEST(Auxv, ArgumentsAreSplitAtZeros) {
  using Texts = std::vector<std::string>;
  EXPECT_EQ(split_arguments(""), Texts{});
  EXPECT_EQ(split_arguments({"a\0\0b\0", 5}), (Texts{"a", "", "b"}));
  EXPECT_EQ(split_arguments("a title of its own"), Texts{"a title of its own"});
}

TEST(Auxv, ReadEndsTheVectorAlsoWhenCut) {
  std::vector<unsigned long> words(200, 77);  // longer than any buffer below, and no AT_NULL in it
  const TempFile file(words, words.size() * sizeof words[0]);
  for (const size_t room : {2u, 4u, 6u, 128u}) {
    std::vector<unsigned long> buf(room, 1);
    EXPECT_EQ(read_auxv(file.path(), buf), static_cast<int>(room / 2 - 1));
    EXPECT_EQ(buf[room - 2], static_cast<unsigned long>(AT_NULL));
  }
}

TEST(Auxv, ReadDropsHalfAPair) {
  const unsigned long words[] = {AT_PAGESZ, 4096, AT_HWCAP};
  const TempFile file(words, sizeof words - 3);
  unsigned long buf[kAuxvWords];
  EXPECT_EQ(read_auxv(file.path(), buf), 1);
  EXPECT_EQ(buf[2], static_cast<unsigned long>(AT_NULL));
}

TEST(Auxv, ReadOfAMissingFileIsAnError) {
  unsigned long buf[kAuxvWords];
  EXPECT_EQ(read_auxv("/nonexistent/auxv", buf), -ENOENT);
}

TEST(Auxv, PageSizeIsFoundWithoutTheVector) {
  EXPECT_EQ(probe_page_bytes(), static_cast<size_t>(::sysconf(_SC_PAGESIZE)));
}

TEST(Auxv, MincoreWantsAnAlignedAddress) {
  const size_t page = system_info().page_bytes;
  void* p = mem_map(2 * page);
  unsigned char vec[2];
  EXPECT_EQ(mincore(static_cast<char*>(p) + 1, page, vec), -EINVAL);
  *static_cast<char*>(p) = 1;
  ASSERT_EQ(mincore(p, 2 * page, vec), 0);
  EXPECT_EQ(vec[0] & 1, 1);
  EXPECT_EQ(vec[1] & 1, 0);
  mem_unmap(p, 2 * page);
  EXPECT_EQ(mincore(p, 2 * page, vec), -ENOMEM);
}

// ---- init ---------------------------------------------------------------------------------------

// O1: a second osinit() changes nothing.
TEST(Init, IsIdempotentAndThreadSafe) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; i++) threads.emplace_back(osinit);
  for (std::thread& t : threads) t.join();
  const size_t page = system_info().page_bytes;
  osinit();
  EXPECT_EQ(system_info().page_bytes, page);
  EXPECT_GE(system_info().cpus, 1);
}

TEST(Init, LimitsAgreeWithTheKernel) {
  rlimit limit;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(descriptor_limit(), limit.rlim_cur == RLIM_INFINITY ? 0 : limit.rlim_cur);
  ASSERT_EQ(::getrlimit(RLIMIT_NPROC, &limit), 0);
  EXPECT_EQ(system_info().thread_limit, limit.rlim_cur == RLIM_INFINITY ? 0 : limit.rlim_cur);
  size_t maps = 0;
  if (std::ifstream("/proc/sys/vm/max_map_count") >> maps) {
    EXPECT_EQ(system_info().map_limit, maps);
  }
}

TEST(Init, HugePageSizeIsAPowerOfTwoOrNothing) {
  const size_t bytes = getHugePageSize();
  EXPECT_EQ(bytes & (bytes - 1), 0u);
  EXPECT_EQ(bytes, system_info().huge_page_bytes);
}

TEST(Init, HugePageSizeText) {
  EXPECT_EQ(parse_huge_page_size("2097152\n"), 2097152u);
  EXPECT_EQ(parse_huge_page_size("2097153\n"), 0u);
  EXPECT_EQ(parse_huge_page_size("0\n"), 0u);
  EXPECT_EQ(parse_huge_page_size(""), 0u);
  EXPECT_EQ(parse_huge_page_size("none"), 0u);
  EXPECT_EQ(parse_huge_page_size("99999999999999999999"), 0u);
}

TEST(Init, HugePageSizeInMeminfo) {
  EXPECT_EQ(parse_meminfo_huge_page_size("MemTotal: 1 kB\nHugepagesize:       2048 kB\nX: 1 kB\n"),
            2048u << 10);
  EXPECT_EQ(parse_meminfo_huge_page_size("Hugepagesize: 32768 kB"), 32768u << 10);
  EXPECT_EQ(parse_meminfo_huge_page_size("Hugepagesize: 3 kB\n"), 0u);
  EXPECT_EQ(parse_meminfo_huge_page_size("Hugepagesize: kB\n"), 0u);
  EXPECT_EQ(parse_meminfo_huge_page_size("Hugepagesize:\n"), 0u);
  EXPECT_EQ(parse_meminfo_huge_page_size("Hugepagesize: 2048\n"), 0u);
  EXPECT_EQ(parse_meminfo_huge_page_size("Hugepagesize: 99999999999999 kB\n"), 0u);
  EXPECT_EQ(parse_meminfo_huge_page_size(""), 0u);
  EXPECT_EQ(parse_meminfo_huge_page_size("NoHugepagesize: 4096 kB\n"), 0u);
  EXPECT_EQ(parse_meminfo_huge_page_size("NoHugepagesize: 4 kB\nHugepagesize: 2048 kB\n"),
            2048u << 10);
}

TEST(Init, ParseDecimal) {
  uint64_t n = 0;
  EXPECT_TRUE(parse_decimal("18446744073709551615\n", n));
  EXPECT_EQ(n, ~uint64_t{0});
  for (const char* bad :
       {"", "\n", "-1", "+1", " 1", "1x", "18446744073709551616", "0x10", "1 2"}) {
    EXPECT_FALSE(parse_decimal(bad, n)) << bad;
  }
}

// ---- random -------------------------------------------------------------------------------------

// RN1: what is handed out is as strong as this function of the kernel's bytes.
TEST(Random, SipHashReferenceVector) {
  // Key 00..0f, message 00..0f: row 16 of vectors.h in the authors' reference implementation is
  // db 9b c2 57 7f cc 2a 3f.
  const uint64_t key[2] = {0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL};
  EXPECT_EQ(siphash(key, 0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL), 0x3f2acc7f57c29bdbULL);
}

TEST(Random, FillsEveryLengthAndDoesNotRepeat) {
  osinit();
  std::set<std::vector<std::byte>> seen;
  for (const size_t n : {8u, 16u, 16u, 24u, 33u, 64u}) {
    std::vector<std::byte> bytes(n);
    getRandomData(bytes);
    EXPECT_TRUE(seen.insert(bytes).second);
    EXPECT_GT(std::set<std::byte>(bytes.begin(), bytes.end()).size(), 2u);
  }
  getRandomData({});
}

TEST(Random, DoesNotShowTheStartupBytes) {
  osinit();
  std::byte out[kStartupRandomBytes];
  getRandomData(out);
  EXPECT_NE(std::memcmp(out, startupRandomData, sizeof out), 0);
}

}  // namespace
}  // namespace gort::os
