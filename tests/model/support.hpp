// What the models' tests share.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
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

// The line itself and the comment directly above it.
inline std::vector<std::string> comment_at(const model::Site& site) {
  std::ifstream in(site.path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  std::vector<std::string> found;
  if (site.line == 0 || site.line > lines.size()) return found;
  found.push_back(lines[site.line - 1]);
  for (size_t i = site.line - 1; i-- > 0;) {
    const size_t text = lines[i].find_first_not_of(' ');
    if (text == std::string::npos || lines[i].compare(text, 2, "//") != 0) break;
    found.push_back(lines[i]);
  }
  return found;
}

inline std::string modelled_here() {
  return "modelled in " +
         std::string(testing::UnitTest::GetInstance()->current_test_suite()->name());
}

// The comment says why no model can show what it is for ("unmodelled:"), or which other test does ("modelled in NAME").
inline bool excused(const model::Site& site) {
  for (const std::string& line : comment_at(site)) {
    if (line.find("unmodelled:") != std::string::npos) return true;
    if (line.find("modelled in ") != std::string::npos &&
        line.find(modelled_here()) == std::string::npos) {
      return true;
    }
  }
  return false;
}

// The comment names the current test.
inline bool claimed(const model::Site& site) {
  for (const std::string& line : comment_at(site)) {
    if (line.find(modelled_here()) != std::string::npos) return true;
  }
  return false;
}

// Every order of the files' that is weakened makes a program fail, or has an excuse in its comment; of all other
// files, those whose comment names this test. Not under a sanitizer: a mutant reaches for null pointers before it
// fails.
inline void expect_mutants_die(const std::vector<std::string>& files,
                               const std::vector<model::Program>& programs) {
  if (GORT_MODEL_MUTANTS == 0) GTEST_SKIP() << "what mutants do would end the program";
  const auto wanted = [&files](const model::Site& site) {
    return std::find(files.begin(), files.end(), site.file) != files.end() || claimed(site);
  };
  for (const model::Survivor& s : model::surviving_mutants(wanted, programs)) {
    if (!excused(s.site)) ADD_FAILURE() << s.text;
  }
}

}  // namespace gort
