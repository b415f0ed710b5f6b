// The fuzz targets as tests: each runs its corpus, and mutations of it from a printed seed.
//
// GORT_TEST_SEED=<seed> repeats a run. A crash ends the program before it can say with which input:
// repeat it under a debugger.
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "fuzz.hpp"
#include "mutate.hpp"
#include "support/scheduler_test.hpp"

// Each target's LLVMFuzzerTestOneInput, which has a name of its own here (CMakeLists.txt).
#define GORT_FUZZ_TARGET(name) extern "C" int gort_fuzz_##name(const uint8_t* data, size_t size);
#include "targets.inc"
#undef GORT_FUZZ_TARGET

namespace gort::fuzz {
namespace {

// Enough to walk around the corpus, in about a second for all targets.
constexpr int kMutations = 3000;
constexpr uintmax_t kCorpusBytesMax = 1024;
constexpr size_t kCorpusFilesMax = 20;

struct Target {
  const char* name;
  int (*run)(const uint8_t*, size_t);
};

// What GoogleTest shows a target as.
void PrintTo(const Target& target, std::ostream* out) {
  *out << target.name;
}

const Target kTargets[] = {
#define GORT_FUZZ_TARGET(name) {#name, gort_fuzz_##name},
#include "targets.inc"
#undef GORT_FUZZ_TARGET
};

struct CorpusFile {
  std::string name;
  std::string text;
};

std::vector<CorpusFile> corpus_of(const Target& target) {
  std::vector<CorpusFile> out;
  const std::filesystem::path directory = std::filesystem::path(GORT_FUZZ_CORPUS) / target.name;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    std::ifstream file(entry.path(), std::ios::binary);
    out.push_back({entry.path().filename(), {std::istreambuf_iterator<char>(file), {}}});
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return out;
}

// False: a promise was broken, which is reported.
bool holds(const Target& target, const std::string& text) {
  try {
    // Without anything behind it, so that reading on is found by AddressSanitizer.
    const std::vector<uint8_t> exact(text.begin(), text.end());
    target.run(exact.data(), exact.size());
    return true;
  } catch (const std::exception& error) {
    ADD_FAILURE() << error.what() << "\nwith the input (" << text.size() << " bytes) "
                  << shown(text);
    return false;
  }
}

class Fuzz : public ::testing::TestWithParam<Target> {};

TEST_P(Fuzz, KeepsItsPromisesOnTheCorpus) {
  const std::vector<CorpusFile> corpus = corpus_of(GetParam());
  ASSERT_FALSE(corpus.empty());
  EXPECT_LE(corpus.size(), kCorpusFilesMax);
  for (const CorpusFile& file : corpus) {
    EXPECT_LE(file.text.size(), kCorpusBytesMax) << file.name;
    EXPECT_TRUE(holds(GetParam(), file.text)) << file.name;
  }
  EXPECT_TRUE(holds(GetParam(), ""));
}

TEST_P(Fuzz, KeepsItsPromisesNearTheCorpus) {
  const uint64_t seed = test::test_seed();
  std::vector<std::string> corpus;
  for (const CorpusFile& file : corpus_of(GetParam())) corpus.push_back(file.text);
  ASSERT_FALSE(corpus.empty());
  Mutator mutator(seed);
  for (int i = 0; i < kMutations; ++i) {
    ASSERT_TRUE(holds(GetParam(), mutator.next(corpus))) << "mutation " << i << " of seed " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(Target, Fuzz, ::testing::ValuesIn(kTargets),
                         [](const auto& info) { return std::string(info.param.name); });

// The driver itself: a promise that is broken is seen, and a seed repeats.
TEST(FuzzDriver, SeesABrokenPromise) {
  const Target broken{"broken", [](const uint8_t*, size_t size) -> int {
                        require(size < 3, "short", "abc");
                        return 0;
                      }};
  EXPECT_TRUE(holds(broken, "ab"));
  EXPECT_NONFATAL_FAILURE(static_cast<void>(holds(broken, "abc")), "short [abc]");
}

TEST(FuzzDriver, ASeedRepeats) {
  Mutator a(7);
  Mutator b(7);
  const std::vector<std::string> corpus = {"alpha", "beta"};
  for (int i = 0; i < 100; ++i) EXPECT_EQ(a.next(corpus), b.next(corpus));
}

}  // namespace
}  // namespace gort::fuzz
