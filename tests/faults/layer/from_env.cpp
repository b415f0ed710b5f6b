// Faults for whole programs: FAULTS arms rules before main, and what they did is said on stderr
// at the end.
//
//     FAULTS="accept:error=24,times=3 recv:short=1 send:short=1" http_server
//
// A rule is a call's name, a colon, and a list with commas: error=N, early=N, short=N (one of them), late=NS,
// first=N, step=N, times=N, per_mille=N. What is malformed ends the program.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "layer/faults.hpp"

namespace gort::faults {
namespace {

[[noreturn]] void refuse(std::string_view what) {
  std::fprintf(stderr, "FAULTS: what is \"%.*s\"?\n", static_cast<int>(what.size()), what.data());
  std::abort();
}

std::string_view take(std::string_view& text, char separator) {
  const size_t end = std::min(text.find(separator), text.size());
  const std::string_view field = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return field;
}

Call call_named(std::string_view name) {
  for (size_t i = 0; i + 1 < kCalls; ++i) {
    if (name == name_of(static_cast<Call>(i))) return static_cast<Call>(i);
  }
  refuse(name);
}

Rule parse(std::string_view text) {
  Rule rule;
  rule.call = call_named(take(text, ':'));
  while (!text.empty()) {
    std::string_view value = take(text, ',');
    const std::string_view whole = value;
    const std::string_view key = take(value, '=');
    char* end = nullptr;
    const std::string digits(value);
    const long n = std::strtol(digits.c_str(), &end, 10);
    if (value.empty() || *end != '\0') refuse(whole);
    if (key == "error") {
      rule.fault.kind = Fault::Kind::error;
      rule.fault.value = n;
    } else if (key == "early") {
      rule.fault.kind = Fault::Kind::early;
      rule.fault.value = n;
    } else if (key == "short") {
      rule.fault.kind = Fault::Kind::shortened;
      rule.fault.value = n;
    } else if (key == "late") {
      rule.fault.before_ns = n;
    } else if (key == "first") {
      rule.when.first = static_cast<uint64_t>(n);
    } else if (key == "step" && n > 0) {
      rule.when.step = static_cast<uint64_t>(n);
    } else if (key == "times") {
      rule.when.times = static_cast<uint64_t>(n);
    } else if (key == "per_mille") {
      rule.when.per_mille = static_cast<uint32_t>(n);
    } else {
      refuse(whole);
    }
  }
  return rule;
}

struct FromEnv {
  FromEnv() {
    const char* given = std::getenv("FAULTS");
    if (given == nullptr) return;
    std::vector<Rule> rules;
    for (std::string_view text = given; !text.empty();) {
      if (const std::string_view rule = take(text, ' '); !rule.empty()) {
        rules.push_back(parse(rule));
      }
    }
    armed = new Armed(rules.data(), rules.size(), 1);
    std::atexit([] { std::fprintf(stderr, "FAULTS:\n%s", armed->report().c_str()); });
  }
  static inline Armed* armed = nullptr;  // to the end of the process
};
const FromEnv from_env;

}  // namespace
}  // namespace gort::faults
