// pipeline: the most frequent words of files, counted by fibers that hand work on through channels.
//
//     pipeline FILE...        reader per file --text--> counters --counts--> merger
//
// A file that can not be read is named on standard error and makes the exit status 1; the others
// count.
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <exception>
#include <functional>
#include <gort/gort.hpp>
#include <iterator>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "file.hpp"

namespace {

using Counts = std::map<std::string, size_t>;

constexpr size_t kChunkBytes = 64 * 1024;
constexpr int kCounters = 4;
constexpr size_t kWordsShown = 10;
constexpr int kOpenFiles =
    32;  // at once: their number is limited, and a disk does not read more of them faster
constexpr size_t kPieceBytesMax = 1024 * 1024;  // a word that is longer is cut into several

bool is_word(unsigned char c) {
  return std::isalnum(c) != 0 || c == '\'' || c >= 0x80;
}

// Leave to have a file open, given back at its end.
class Permit {
 public:
  explicit Permit(gort::counting_semaphore<>& of) : of_(of) { of_.acquire(); }
  Permit(const Permit&) = delete;
  Permit& operator=(const Permit&) = delete;
  ~Permit() { of_.release(); }

 private:
  gort::counting_semaphore<>& of_;
};

// Sends the file in pieces that end between words. Returns what went wrong.
std::error_code read_file(const std::string& path, gort::counting_semaphore<>& open,
                          const gort::chan<std::string>& text) {
  const Permit permit(open);
  std::error_code ec;
  examples::File file(path, ec);
  std::string piece;
  for (bool more = !ec; more;) {
    const size_t kept = piece.size();  // the beginning of a word
    piece.resize(kept + kChunkBytes);
    const size_t n = file.read(std::span(piece).subspan(kept), ec);
    more = n == kChunkBytes;
    piece.resize(kept + n);
    auto cut = piece.end();
    if (more) {
      const auto searched = piece.begin() + static_cast<std::ptrdiff_t>(kept);
      cut = std::find_if_not(piece.rbegin(), std::make_reverse_iterator(searched), is_word).base();
      if (cut == searched) {  // the word does not end here
        if (piece.size() < kPieceBytesMax) continue;
        cut = piece.end();
      }
    }
    std::string rest(cut, piece.end());
    piece.erase(cut, piece.end());
    if (!piece.empty()) text.send(std::move(piece));
    piece = std::move(rest);
  }
  return ec;
}

// Counts pieces until there are no more.
void count_words(const gort::chan<std::string>& text, const gort::chan<Counts>& counts) {
  Counts mine;
  for (const std::string& piece : text) {
    for (auto at = piece.begin(); (at = std::find_if(at, piece.end(), is_word)) != piece.end();) {
      const auto end = std::find_if_not(at, piece.end(), is_word);
      ++mine[std::string(at, end)];
      at = end;
    }
  }
  counts.send(std::move(mine));
}

int count_files(const std::vector<std::string>& paths) {
  const gort::chan<std::string> text(16);
  const gort::chan<Counts> counts;
  gort::counting_semaphore<> open(kOpenFiles);
  // Tasks are stopped and joined where they go out of scope, if something is thrown here. The counters, which go() has
  // started, are on their own: what they use is handed to them.
  std::vector<gort::task<std::error_code>> readers;
  readers.reserve(paths.size());
  for (const std::string& path : paths)
    readers.push_back(gort::spawn(read_file, path, std::ref(open), text));
  for (int i = 0; i < kCounters; ++i) gort::go(count_words, text, counts);
  size_t failed = 0;
  for (size_t i = 0; i < paths.size(); ++i) {
    const std::error_code ec = readers[i].get();
    if (!ec) continue;
    std::fprintf(stderr, "pipeline: %s: %s\n", paths[i].c_str(), ec.message().c_str());
    ++failed;
  }
  text.close();

  Counts all;
  for (int i = 0; i < kCounters; ++i) {
    const std::optional<Counts> some = counts.recv();
    for (const auto& [word, n] : *some) all[word] += n;
  }
  size_t total = 0;
  std::vector<std::pair<size_t, std::string>> order;
  for (const auto& [word, n] : all) {
    order.emplace_back(n, word);
    total += n;
  }
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  if (order.size() > kWordsShown) order.resize(kWordsShown);
  for (const auto& [n, word] : order) std::printf("%8zu %s\n", n, word.c_str());
  std::printf("%8zu words in %zu files, %zu different\n", total, paths.size() - failed, all.size());
  return failed == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2) throw std::invalid_argument("usage: pipeline FILE...");
  return gort::run(count_files, std::vector<std::string>(argv + 1, argv + argc));
} catch (const std::exception& error) {
  std::fprintf(stderr, "pipeline: %s\n", error.what());
  return 1;
}
