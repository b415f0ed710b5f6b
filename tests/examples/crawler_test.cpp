// crawler from outside, compared with one that goes through the same files one after the other.
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "program.hpp"

namespace example_tests {
namespace {

namespace fs = std::filesystem;

class Crawler : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(::testing::TempDir()) / ("gort_crawl_" + std::to_string(::getpid()));
    fs::create_directories(root_);
    root_ = fs::canonical(root_);
  }
  void TearDown() override {
    if (!root_.empty()) fs::remove_all(root_);
  }

  void write(const fs::path& name, const std::string& text) const {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name, std::ios::binary) << text;
  }

  fs::path root_;
};

// The other one.
struct Sequential {
  std::map<std::string, size_t> words;
  std::set<std::string> failed;  // as given on the way there

  void visit(const fs::path& path) {
    std::error_code ec;
    const fs::path real = fs::canonical(path, ec);
    if (ec) {
      failed.insert(path.string());
      return;
    }
    if (!seen.insert(real.string()).second) return;
    if (fs::is_directory(real)) {
      fs::directory_iterator entries(real, ec);
      if (ec) failed.insert(path.string());
      for (const auto& entry : entries) visit(entry.path());
    } else if (fs::is_regular_file(real)) {
      std::ifstream file(real);
      if (!file) {
        failed.insert(path.string());
        return;
      }
      size_t& count = words[real.string()];
      for (std::string word; file >> word;) ++count;
    }
  }
  [[nodiscard]] std::string report() const {
    std::string text;
    size_t total = 0;
    char number[32];
    for (const auto& [path, n] : words) {
      std::snprintf(number, sizeof number, "%8zu ", n);
      text += number + path + "\n";
      total += n;
    }
    std::snprintf(number, sizeof number, "%8zu ", total);
    return text + number + "words in " + std::to_string(words.size()) + " files\n";
  }
  [[nodiscard]] static std::set<std::string> paths(const std::string& errors) {
    std::set<std::string> found;
    std::istringstream text(errors);
    for (std::string line; std::getline(text, line);) {
      const std::string_view before = "crawler: ";
      found.insert(line.substr(before.size(), line.rfind(": ") - before.size()));
    }
    return found;
  }

  std::set<std::string> seen;
};

TEST_F(Crawler, FindsWhatASequentialOneFinds) {
  for (int d = 0; d < 40; ++d) {
    const std::string directory = "tree/" + std::to_string(d % 7) + "/" + std::to_string(d);
    for (int f = 0; f < 10; ++f) {
      std::string text;
      for (int w = 0; w < d * f; ++w) text += (w % 9 == 0 ? "\n word" : " w") + std::to_string(w);
      write(directory + "/file " + std::to_string(f), text);
    }
  }
  std::string chunks;  // words on both sides of what is read at once
  while (chunks.size() < 300'000) chunks += "seventeen-letters \t\n";
  write("tree/chunks", chunks);
  write("tree/one_word", std::string(200'000, 'x'));
  write("tree/empty", "");
  write("elsewhere/by_link", "three words here");
  const fs::path tree = root_ / "tree";
  fs::create_directory_symlink(tree, tree / "circle");
  fs::create_directory_symlink("..", tree / "3" / "up");
  fs::create_directory_symlink(root_ / "elsewhere", tree / "out");
  fs::create_symlink(tree / "chunks", tree / "0" / "again");
  ASSERT_EQ(::mkfifo((tree / "pipe").c_str(), 0600), 0);

  Sequential good;
  good.visit(tree);
  for (const char* readers : {"1", "5", "300"}) {
    Program crawler("crawler", {"-j", readers, tree.string(), (tree / "1").string()});
    EXPECT_EQ(crawler.wait(), 0);
    EXPECT_EQ(crawler.errors, "");
    EXPECT_EQ(crawler.output, good.report());
  }

  fs::create_symlink("self", tree / "self");
  fs::create_symlink("/no/such/file", tree / "2" / "nowhere");
  write("tree/secret", "nobody may know");
  fs::permissions(tree / "secret", fs::perms::none);  // root reads it all the same
  Sequential some;
  some.visit(tree);
  ASSERT_GE(some.failed.size(), 2U);
  for (const char* readers : {"1", "16"}) {
    Program crawler("crawler", {"-j", readers, tree.string()});
    EXPECT_EQ(crawler.wait(), 1);
    EXPECT_EQ(Sequential::paths(crawler.errors), some.failed) << crawler.errors;
    EXPECT_EQ(crawler.output, some.report());
  }
}

// Whether the process has the file open.
bool reads(pid_t pid, const fs::path& file) {
  std::error_code ec;
  for (const auto& fd : fs::directory_iterator("/proc/" + std::to_string(pid) + "/fd", ec)) {
    if (fs::read_symlink(fd.path(), ec) == file) return true;
  }
  return false;
}

bool await_reads(pid_t pid, const fs::path& file) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatienceMs);
  while (!reads(pid, file)) {
    if (std::chrono::steady_clock::now() > limit) return false;
  }
  return true;
}

TEST_F(Crawler, StopsInTheMiddleOfAFile) {
  write("little", "two words");
  write("huge", "");
  fs::resize_file(root_ / "huge", uintmax_t{1} << 40);  // a hole: minutes of reading
  Program crawler("crawler", {root_.string()});
  ASSERT_TRUE(await_reads(crawler.pid(), root_ / "huge"));
  crawler.signal(SIGTERM);
  EXPECT_EQ(crawler.wait(), 0);
  EXPECT_EQ(crawler.errors, "");
  EXPECT_EQ(crawler.output.find("/huge"), std::string::npos) << crawler.output;
  EXPECT_TRUE(crawler.output.ends_with(" files, told to stop\n")) << crawler.output;
}

// While it waits for somebody to read what it prints.
TEST_F(Crawler, EndsAtOnceByASecondSignal) {
  write("huge", "");
  fs::resize_file(root_ / "huge", uintmax_t{1} << 40);
  Program crawler("crawler", {root_.string()}, Program::Output::narrow);
  crawler.hang_in_output();
  ASSERT_TRUE(await_reads(crawler.pid(), root_ / "huge"));
  crawler.signal(SIGTERM);
  ASSERT_TRUE(crawler.await_unhandled(SIGTERM));
  crawler.signal(SIGTERM);
  EXPECT_EQ(crawler.wait(), -1);
  EXPECT_EQ(crawler.killed_by(), SIGTERM);
}

TEST_F(Crawler, SaysWhatIsWrongWithItsArguments) {
  Program nothing("crawler", {});
  EXPECT_EQ(nothing.wait(), 1);
  EXPECT_EQ(nothing.errors, "crawler: usage: crawler [-j READERS] PATH...\n");
  Program nobody("crawler", {"-j", "0", "/"});
  EXPECT_EQ(nobody.wait(), 1);
  EXPECT_EQ(nobody.errors, "crawler: READERS must be a number from 1 to 1000, not '0'\n");
  Program nowhere("crawler", {"/no/such/place"});
  EXPECT_EQ(nowhere.wait(), 1);
  EXPECT_EQ(nowhere.errors, "crawler: /no/such/place: No such file or directory\n");
  EXPECT_EQ(nowhere.output, "       0 words in 0 files\n");
}

}  // namespace
}  // namespace example_tests
