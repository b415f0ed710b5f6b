// crawler: counts the words of all files below some directories, many at once.
//
//     crawler [-j READERS] PATH...        16 readers if no number is given
//
// Symbolic links are followed. What can be reached in several ways counts once, by its real path,
// so that links which lead in circles do no harm. What is neither a file nor a directory (a pipe, a
// device) is passed over. What can not be read is named on standard error and makes the exit status
// 1; the others count. Ctrl-C or SIGTERM ends it early, with what it has so far; a second signal at once.
#include <algorithm>
#include <cctype>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <functional>
#include <gort/gort.hpp>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_set>
#include <utility>
#include <vector>

#include "arguments.hpp"
#include "file.hpp"

namespace {

namespace fs = std::filesystem;

constexpr size_t kChunkBytes = 64 * 1024;

// A file, or what could not be read.
struct Found {
  std::string path;
  uint64_t words = 0;
  std::error_code error;
};

// Shared by all fibers; outlives them.
struct Crawl {
  explicit Crawl(int readers) : reading(readers) {}

  gort::counting_semaphore<> reading;  // how many more may read at once
  gort::chan<Found> found;
  gort::wait_group visits;
  std::stop_source stop;
  gort::mutex lock;
  std::unordered_set<std::string> seen;  // real paths; guarded by lock
};

// Leave to read, given back at its end.
class Permit {
 public:
  explicit Permit(Crawl& crawl) : crawl_(&crawl) { crawl.reading.acquire(); }
  Permit(Permit&& other) noexcept : crawl_(std::exchange(other.crawl_, nullptr)) {}
  Permit& operator=(Permit&&) = delete;
  ~Permit() {
    if (crawl_ != nullptr) crawl_->reading.release();
  }

 private:
  Crawl* crawl_;
};

// Counts as wc -w does. nullopt: stopped, or failed, which `ec` says.
std::optional<uint64_t> count_words(const fs::path& path, const std::stop_token& stop,
                                    std::error_code& ec) {
  examples::File file(path.string(), ec);
  std::vector<char> bytes(kChunkBytes);
  uint64_t words = 0;
  bool in_word = false;
  while (!ec && !stop.stop_requested()) {
    const size_t n = file.read(bytes, ec);
    if (n == 0 && !ec) return words;
    for (const char c : std::string_view(bytes.data(), n)) {
      const bool space = std::isspace(static_cast<unsigned char>(c)) != 0;
      if (!space && !in_word) ++words;
      in_word = !space;
    }
  }
  return std::nullopt;
}

std::vector<fs::path> list(const fs::path& directory, std::error_code& ec) {
  std::vector<fs::path> names;
  gort::blocking([&] {
    for (fs::directory_iterator at(directory, ec), end; !ec && at != end; at.increment(ec)) {
      names.push_back(at->path());
    }
  });
  return names;
}

void visit(Crawl& crawl, const fs::path& path, Permit permit);

// Starts a visit as soon as few enough read. So there are never many more fibers than directories.
void begin_visit(Crawl& crawl, const fs::path& path) try {
  Permit permit(crawl);
  if (crawl.stop.stop_requested()) return;
  crawl.visits.go(visit, std::ref(crawl), path, std::move(permit));
} catch (const std::system_error& error) {  // no memory for a stack
  crawl.found.send({path.string(), 0, error.code()});
}

// Reads a file, or a directory and then begins a visit to all that is in it.
void visit(Crawl& crawl, const fs::path& path, Permit permit) {
  std::vector<fs::path> below;
  std::error_code ec;
  {
    const Permit ends_here = std::move(permit);
    fs::file_status status;
    const fs::path real = gort::blocking([&] {
      fs::path to = fs::canonical(path, ec);
      if (!ec) status = fs::status(to, ec);
      return to;
    });
    if (!ec) {
      const std::lock_guard guard(crawl.lock);
      if (!crawl.seen.insert(real.string()).second) return;
    }
    if (!ec && fs::is_directory(status)) {
      below = list(real, ec);
    } else if (!ec && fs::is_regular_file(status)) {
      const auto words = count_words(real, crawl.stop.get_token(), ec);
      if (words) crawl.found.send({real.string(), *words, {}});
    }
  }
  if (ec) crawl.found.send({path.string(), 0, ec});
  for (const fs::path& next : below) begin_visit(crawl, next);
}

int crawl_all(Crawl& crawl, const std::vector<fs::path>& starts, const gort::chan<int>& signals) {
  gort::go([&crawl, &starts] {
    for (const fs::path& start : starts) begin_visit(crawl, start);
    crawl.visits.wait();
    crawl.found.close();
  });
  gort::go([&crawl, signals] {
    (void)signals.recv();
    gort::signals::stop(signals);  // the next one does what it does by itself
    crawl.stop.request_stop();
  });
  std::map<std::string, uint64_t> words;
  uint64_t total = 0;
  int failed = 0;
  const auto take = [&](const Found& found) {
    if (found.error) {
      ++failed;
      std::fprintf(stderr, "crawler: %s: %s\n", found.path.c_str(), found.error.message().c_str());
    } else {
      words[found.path] = found.words;
      total += found.words;
    }
  };
  for (const Found& found : crawl.found) take(found);
  for (const auto& [path, n] : words) {
    std::printf("%8llu %s\n", static_cast<unsigned long long>(n), path.c_str());
  }
  std::printf("%8llu words in %zu files%s\n", static_cast<unsigned long long>(total), words.size(),
              crawl.stop.stop_requested() ? ", told to stop" : "");
  return failed == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) try {
  const bool has_readers = argc > 1 && std::string_view(argv[1]) == "-j";
  const int readers = has_readers ? examples::parse(argc, argv, 2, {"READERS", 1, 1000, 0}) : 16;
  const std::vector<fs::path> starts(argv + std::min(argc, has_readers ? 3 : 1), argv + argc);
  if (starts.empty()) throw std::invalid_argument("usage: crawler [-j READERS] PATH...");
  const gort::chan<int> signals(1);
  gort::signals::notify(signals, {SIGINT, SIGTERM});
  Crawl crawl(readers);
  return gort::run(crawl_all, std::ref(crawl), starts, signals);
} catch (const std::exception& error) {
  std::fprintf(stderr, "crawler: %s\n", error.what());
  return 1;
}
