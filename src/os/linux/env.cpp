// env: the environment and the GORT_* settings in it. Implements settings.hpp and goenvs() of
// os.hpp.
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <set>

#include "base/checked.hpp"
#include "os/linux/internal.hpp"
#include "os/settings.hpp"

namespace gort::os {
namespace {

constexpr std::string_view kPrefix = "GORT_";
constexpr std::string_view kAccepted =
    "known are GORT_PROCS, GORT_STACK, GORT_MAX_THREADS, GORT_THREADS and GORT_DEBUG";
constexpr std::string_view kDebugAccepted =
    "known are schedtrace=<milliseconds>, deadlock=on|off|strict, asyncpreempt=0|1, "
    "updateprocs=0|1, "
    "slice=<microseconds>us, ticks=timer|event|watchman and chaos=<seed>|random";
constexpr std::string_view kNoChaos =
    "this build of gort has no chaos mode; configure one with -DGORT_CHECKED=ON";
constexpr std::string_view kSecure =
    "the GORT_* variables are ignored: this program has more rights than who has started it";
// As options.slice has it: up to a day.
constexpr uint64_t kSliceUsMin = 100;
constexpr uint64_t kSliceUsMax = 86'400'000'000;
// A day. schedtrace says at most this, so that the product with 1,000,000 is far from overflow.
constexpr uint64_t kSchedtraceMsMax = 86'400'000;

// A value as it may be shown on a terminal, long ones cut. All but ASCII is escaped: among the rest
// are control characters (U+009B begins a sequence like ESC [), letters that look like digits, and
// halves of characters that were cut.
std::string printable(std::string_view value) {
  constexpr size_t kShown = 64;
  constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (const char c : value.substr(0, kShown)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      out += c;
    } else {
      out += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  if (value.size() > kShown) out += "...";
  return out;
}

class Parser {
 public:
  Parser(Settings& out, std::vector<std::string>& complaints)
      : out_(out), complaints_(complaints) {}

  void variable(std::string_view name, std::string_view value) {
    if (name == "GORT_PROCS") {
      integer(name, value, kMaxProcs, out_.procs);
    } else if (name == "GORT_MAX_THREADS") {
      integer(name, value, kMaxThreadsLimit, out_.max_threads);
    } else if (name == "GORT_STACK") {
      stack(name, value);
    } else if (name == "GORT_THREADS") {
      threads(name, value);
    } else if (name == "GORT_DEBUG") {
      debug(name, value);
    } else if (!name.starts_with("GORT_TEST_")) {  // gort's own tests: seeds and the like
      complain(name, value, "unknown; ", kAccepted);
    }
  }

 private:
  void complain(std::string_view name, std::string_view value, std::string_view lead,
                std::string_view accepted) {
    std::string line = printable(name);
    line.append("=").append(printable(value)).append(" ignored: ").append(lead).append(accepted);
    complaints_.push_back(std::move(line));
  }

  void integer(std::string_view name, std::string_view value, int max, int& out) {
    uint64_t n = 0;
    if (digits_only(value, n) && n >= 1 && n <= static_cast<uint64_t>(max)) {
      out = static_cast<int>(n);
    } else {
      complain(name, value, "expected an integer from 1 to ", std::to_string(max));
    }
  }

  void stack(std::string_view name, std::string_view value) {
    const std::optional<uint64_t> bytes = size(value);
    if (bytes && *bytes >= kMinStackBytes && *bytes <= kMaxStackBytes) {
      out_.stack_size = *bytes;
    } else {
      complain(name, value, "expected a size from 16k to 1g, ", "for example 256k, 1m or 65536");
    }
  }

  void threads(std::string_view name, std::string_view value) {
    if (value == "clone" || value == "pthread") {
      out_.threads = value;
    } else {
      complain(name, value, "expected ", "clone or pthread");
    }
  }

  // Entries stand on their own: a bad one does not spoil its neighbours.
  void debug(std::string_view name, std::string_view value) {
    for (size_t at = 0; at <= value.size();) {
      const size_t end = std::min(value.find(',', at), value.size());
      debug_entry(name, value.substr(at, end - at));
      at = end + 1;
    }
  }

  void debug_entry(std::string_view name, std::string_view entry) {
    const size_t equals = entry.find('=');
    const std::string_view key = entry.substr(0, equals);
    const std::string_view value =
        equals == std::string_view::npos ? std::string_view() : entry.substr(equals + 1);
    uint64_t ms = 0;
    uint64_t seed = 0;
    if (key == "schedtrace" && digits_only(value, ms) && ms <= kSchedtraceMsMax) {
      out_.debug["schedtrace"] = std::to_string(ms);
    } else if (key == "deadlock" && (value == "on" || value == "off" || value == "strict")) {
      out_.debug["deadlock"] = value;
    } else if ((key == "asyncpreempt" || key == "updateprocs") && (value == "0" || value == "1")) {
      out_.debug[std::string(key)] = value;
    } else if (key == "ticks" && (value == "timer" || value == "event" || value == "watchman")) {
      out_.debug["ticks"] = value;
    } else if (key == "slice" && value.ends_with("us") &&
               digits_only(value.substr(0, value.size() - 2), ms) && ms >= kSliceUsMin &&
               ms <= kSliceUsMax) {
      out_.debug["slice"] = std::to_string(ms);
    } else if (key == "chaos" && (value == "random" || digits_only(value, seed))) {
      if (kChecked) {
        out_.debug["chaos"] = value;
      } else {
        complain(name, entry, "", kNoChaos);
      }
    } else {
      complain(name, entry, "", kDebugAccepted);
    }
  }

  // Stricter than parse_decimal(): nothing may stand behind the digits, not even a newline.
  static bool digits_only(std::string_view text, uint64_t& out) {
    return !text.empty() && text.back() >= '0' && text.back() <= '9' && parse_decimal(text, out);
  }

  // Digits and at most one of k, m, g (either case), as powers of 1,024.
  static std::optional<uint64_t> size(std::string_view text) {
    if (text.empty()) return std::nullopt;
    unsigned shift = 0;
    switch (text.back() | 0x20) {
      case 'k':
        shift = 10;
        break;
      case 'm':
        shift = 20;
        break;
      case 'g':
        shift = 30;
        break;
      default:
        break;
    }
    if (shift != 0) text.remove_suffix(1);
    uint64_t n = 0;
    if (!digits_only(text, n) || n > (~uint64_t{0} >> shift)) return std::nullopt;
    return n << shift;
  }

  Settings& out_;
  std::vector<std::string>& complaints_;
};

std::map<std::string, std::string> read_environment() {
  std::map<std::string, std::string> out;
  if (environ == nullptr) return out;  // after clearenv()
  for (char** entry = environ; *entry != nullptr; entry++) {
    const std::string_view text = *entry;
    const size_t equals = text.find('=');
    // The first of two entries of one name counts, as with getenv().
    if (equals != std::string_view::npos) {
      out.emplace(text.substr(0, equals), text.substr(equals + 1));
    }
  }
  return out;
}

// Each complaint once per process (SE1).
void report(const std::vector<std::string>& complaints) {
  static std::mutex mutex;
  static auto& reported = *new std::set<std::string>;  // SE2
  const std::lock_guard lock(mutex);
  for (const std::string& complaint : complaints) {
    if (!reported.insert(complaint).second) continue;
    const std::string line = "gort: " + complaint + "\n";
    // Nobody to tell if stderr is gone.
    static_cast<void>(fd_write(STDERR_FILENO, line.data(), line.size()));
  }
}

}  // namespace

Settings parse_settings(const std::map<std::string, std::string>& environment,
                        std::vector<std::string>& complaints) {
  Settings out;
  Parser parser(out, complaints);
  for (const auto& [name, value] : environment) {
    if (name.starts_with(kPrefix)) parser.variable(name, value);
  }
  return out;
}

std::map<std::string, std::string> trusted(const std::map<std::string, std::string>& environment,
                                           Rights rights, std::vector<std::string>& complaints) {
  if (rights == Rights::of_the_caller) return environment;
  const auto ours = [](const auto& variable) { return variable.first.starts_with(kPrefix); };
  if (std::any_of(environment.begin(), environment.end(), ours)) complaints.emplace_back(kSecure);
  return {};
}

namespace {

Settings settings_of(const std::map<std::string, std::string>& environment) {
  const Rights rights = system_info().secure ? Rights::more : Rights::of_the_caller;
  std::vector<std::string> complaints;
  Settings out = parse_settings(trusted(environment, rights, complaints), complaints);
  report(complaints);
  return out;
}

}  // namespace

Settings read_settings() {
  return settings_of(read_environment());
}

const Settings& settings() {
  static const Settings& once = *new Settings(settings_of(goenvs()));  // SE2
  return once;
}

const std::map<std::string, std::string>& goenvs() {
  static const auto& once =
      *new std::map<std::string, std::string>(read_environment());  // as settings()
  return once;
}

}  // namespace gort::os
