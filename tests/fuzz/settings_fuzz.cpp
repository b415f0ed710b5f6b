// The GORT_* settings. The input is an environment as in /proc/self/environ: NAME=value, each ended
// by a zero byte.
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "fuzz.hpp"
#include "os/settings.hpp"

namespace gort::fuzz {
namespace {

using Environment = std::map<std::string, std::string>;

struct Parsed {
  os::Settings settings;
  std::vector<std::string> complaints;
};

Parsed parse(const Environment& environment) {
  Parsed out;
  out.settings = os::parse_settings(environment, out.complaints);
  return out;
}

bool same(const os::Settings& a, const os::Settings& b) {
  return a.procs == b.procs && a.stack_size == b.stack_size && a.max_threads == b.max_threads &&
         a.threads == b.threads && a.debug == b.debug;
}

void require_in_range(const os::Settings& s) {
  require(s.procs >= 0 && s.procs <= os::kMaxProcs, "procs is in its range");
  require(s.stack_size == 0 ||
              (s.stack_size >= os::kMinStackBytes && s.stack_size <= os::kMaxStackBytes),
          "stack_size is in its range");
  require(s.max_threads >= 0 && s.max_threads <= os::kMaxThreadsLimit,
          "max_threads is in its range");
  require(s.threads.empty() || s.threads == "clone" || s.threads == "pthread", "a known back end",
          s.threads);
  for (const auto& [key, value] : s.debug) {
    if (key == "schedtrace") {
      require(std::to_string(std::stoull(value)) == value && std::stoull(value) <= 86'400'000,
              "schedtrace is a plain number of at most a day", value);
    } else {
      require(key == "deadlock" && (value == "on" || value == "off" || value == "strict"),
              "only known debug settings", key + "=" + value);
    }
  }
}

void require_printable(std::string_view complaint) {
  constexpr size_t kComplaintBytesMax = 1000;
  require(complaint.size() <= kComplaintBytesMax, "a complaint is a line", complaint);
  require(
      std::all_of(complaint.begin(), complaint.end(), [](char c) { return c >= ' ' && c < 127; }),
      "a complaint is plain text", complaint);
}

// One variable alone: a value or a complaint that names it, never both and never neither.
Parsed require_value_or_complaint(const std::string& name, const std::string& value) {
  Parsed alone = parse({{name, value}});
  const bool changed = !same(alone.settings, {});
  if (!name.starts_with("GORT_") || name.starts_with("GORT_TEST_")) {
    require(!changed && alone.complaints.empty(), "others' variables are not ours", name);
    return alone;
  }
  if (name == "GORT_DEBUG") {  // its entries stand on their own
    require(changed || !alone.complaints.empty(), "an entry is taken or complained about", value);
    require(alone.complaints.size() <=
                1 + static_cast<size_t>(std::count(value.begin(), value.end(), ',')),
            "at most one complaint for each entry", value);
  } else {
    require(alone.complaints.size() == (changed ? 0 : 1), "a value or one complaint",
            name + "=" + value);
  }
  const bool plain = name.size() <= 64 && shown(name) == name;
  for (const std::string& complaint : alone.complaints) {
    require_printable(complaint);
    if (plain)
      require(complaint.starts_with(name + "="), "a complaint names its variable", complaint);
    require(complaint.find(" ignored: ") != std::string::npos, "and says what became of it",
            complaint);
  }
  return alone;
}

// The settings as an environment that asks for them.
Environment print(const os::Settings& s) {
  Environment out;
  if (s.procs != 0) out["GORT_PROCS"] = std::to_string(s.procs);
  if (s.stack_size != 0) out["GORT_STACK"] = std::to_string(s.stack_size);
  if (s.max_threads != 0) out["GORT_MAX_THREADS"] = std::to_string(s.max_threads);
  if (!s.threads.empty()) out["GORT_THREADS"] = s.threads;
  std::string debug;
  for (const auto& [key, value] : s.debug) {
    debug.append(debug.empty() ? "" : ",").append(key).append("=").append(value);
  }
  if (!debug.empty()) out["GORT_DEBUG"] = debug;
  return out;
}

void check(Input input) {
  Environment environment;
  while (!input.empty()) {
    const std::string_view entry = input.text('\0');
    const size_t equals = entry.find('=');
    if (equals == std::string_view::npos) continue;
    environment.emplace(entry.substr(0, equals), entry.substr(equals + 1));
  }
  const Parsed all = parse(environment);
  require_in_range(all.settings);

  // Together they give what each gives alone (S1: a bad one changes nothing).
  Parsed sum;
  for (const auto& [name, value] : environment) {
    const Parsed alone = require_value_or_complaint(name, value);
    if (name == "GORT_PROCS") sum.settings.procs = alone.settings.procs;
    if (name == "GORT_STACK") sum.settings.stack_size = alone.settings.stack_size;
    if (name == "GORT_MAX_THREADS") sum.settings.max_threads = alone.settings.max_threads;
    if (name == "GORT_THREADS") sum.settings.threads = alone.settings.threads;
    if (name == "GORT_DEBUG") sum.settings.debug = alone.settings.debug;
    sum.complaints.insert(sum.complaints.end(), alone.complaints.begin(), alone.complaints.end());
  }
  require(same(sum.settings, all.settings), "variables do not disturb each other");
  require(sum.complaints == all.complaints, "nor do their complaints");

  const Parsed again = parse(print(all.settings));
  require(again.complaints.empty() && same(again.settings, all.settings),
          "settings can be written as an environment and read again");
}

}  // namespace
}  // namespace gort::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  gort::fuzz::check({data, size});
  return 0;
}
