// What the models' tests share.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "checker/checker.hpp"
#include "support/sanitized.hpp"

namespace gort {

// Every run within the bounds goes well. Under a sanitizer, which slows them down tenfold, the first ones.
inline void expect_right(model::Options options, const std::function<void()>& program) {
  if (test::kSanitizers) options.max_runs = 20'000;
  const model::Result r = model::explore(options, program);
  EXPECT_FALSE(r.failed) << r;
  EXPECT_TRUE(r.complete || test::kSanitizers) << r;
  testing::Test::RecordProperty("runs", std::to_string(r.runs));
}

// What is too big for all its runs, or for more preemptions, goes further at random.
inline void expect_right_at_random(const std::function<void()>& program, uint64_t runs = 20'000) {
  if (test::kSanitizers) runs /= 10;
  const model::Result r = model::explore({.random_runs = runs, .seed = 1}, program);
  EXPECT_FALSE(r.failed) << r;
}

// For programs of which not all runs can be tried: with one preemption and one read of an old value, as far as
// that gets, then at random.
inline void expect_right_so_far(const std::function<void()>& program, uint64_t runs) {
  if (test::kSanitizers) runs /= 10;
  const model::Result r = model::explore({.preemptions = 1, .stale = 1, .max_runs = runs}, program);
  EXPECT_FALSE(r.failed) << r;
  expect_right_at_random(program, 5'000);
}

// True if the comment above, or at, a line says why no model can show what it is for ("unmodelled:"), or which
// other test does ("modelled in NAME").
inline bool excused(const model::Site& site) {
  if (site.line == 0) return false;  // no order is to blame: a program fails as it is
  std::ifstream in(site.path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  const std::string self = testing::UnitTest::GetInstance()->current_test_suite()->name();
  const auto says_so = [&](size_t i) {
    if (lines[i].find("unmodelled:") != std::string::npos) return true;
    return lines[i].find("modelled in ") != std::string::npos &&
           lines[i].find("modelled in " + self) == std::string::npos;
  };
  if (site.line > lines.size()) return false;
  if (says_so(site.line - 1)) return true;
  for (size_t i = site.line - 1; i-- > 0;) {
    const size_t text = lines[i].find_first_not_of(' ');
    if (text == std::string::npos || lines[i].compare(text, 2, "//") != 0) return false;
    if (says_so(i)) return true;
  }
  return false;
}

// Every order of the files' that is weakened makes a program fail, or has an excuse in its comment. Not under a
// sanitizer: a mutant reaches for null pointers before it fails.
inline void expect_mutants_die(const std::vector<std::string>& files,
                               const std::vector<model::Program>& programs) {
  if (GORT_MODEL_MUTANTS == 0) GTEST_SKIP() << "what mutants do would end the program";
  for (const model::Survivor& s : model::surviving_mutants(files, programs)) {
    if (!excused(s.site)) ADD_FAILURE() << s.text;
  }
}

}  // namespace gort
