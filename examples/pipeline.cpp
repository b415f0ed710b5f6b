// pipeline: the most frequent words of files, counted by fibers that hand work on through channels.
//
//     pipeline FILE...        reader per file --text--> counters --counts--> merger
//
// A file that can not be read is named on standard error and makes the exit status 1; the others
// count.
#include <algorithm>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <gort/gort.hpp>
#include <map>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

namespace {

using Counts = std::map<std::string, size_t>;

constexpr size_t kChunkBytes = 64 * 1024;
constexpr int kCounters = 4;
constexpr size_t kWordsShown = 10;

bool is_word(unsigned char c) {
  return std::isalnum(c) != 0 || c == '\'' || c >= 0x80;
}

// Sends the file in pieces that end between words. Returns 0 or the errno of what failed.
int read_file(const std::string& path, gort::chan<std::string>& text) {
  FILE* file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) return errno;
  std::string piece;
  int error = 0;
  for (size_t n = 1; n != 0;) {
    const size_t kept = piece.size();  // the beginning of a word
    piece.resize(kept + kChunkBytes);
    // The disk may be slow: other fibers go on elsewhere meanwhile.
    gort::blocking([&] {
      n = std::fread(piece.data() + kept, 1, kChunkBytes, file);
      if (std::ferror(file) != 0) error = errno;
    });
    piece.resize(kept + n);
    auto cut = piece.end();
    if (n != 0) cut = std::find_if_not(piece.rbegin(), piece.rend(), is_word).base();
    std::string rest(cut, piece.end());
    piece.erase(cut, piece.end());
    if (!piece.empty()) text.send(std::move(piece));
    piece = std::move(rest);
  }
  std::fclose(file);
  return error;
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
  gort::chan<std::string> text(16);
  gort::chan<Counts> counts;
  gort::wait_group readers;
  std::atomic<int> failed{0};
  for (const std::string& path : paths) {
    readers.go([&, path] {
      const int error = read_file(path, text);
      if (error == 0) return;
      std::fprintf(stderr, "pipeline: %s: %s\n", path.c_str(),
                   std::system_category().message(error).c_str());
      ++failed;
    });
  }
  for (int i = 0; i < kCounters; ++i) gort::go(count_words, text, counts);
  readers.wait();
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

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s FILE...\n", argv[0]);
    return 1;
  }
  return gort::run(count_files, std::vector<std::string>(argv + 1, argv + argc));
}
