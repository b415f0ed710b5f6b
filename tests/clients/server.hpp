// server: a database server for a test, with all that is its own in a directory that goes with it. It ends with the test,
// also with one that is killed.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace clients {

// Who runs the server: we, or, as servers refuse to be run by root, somebody else.
struct Account {
  uid_t uid;
  gid_t gid;
  static Account for_servers();
};

// An empty directory of that account's, removed at the end.
class Directory {
 public:
  explicit Directory(const Account& owner);
  ~Directory();
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  [[nodiscard]] std::string operator/(std::string_view name) const { return path_ / name; }
  [[nodiscard]] std::string path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// A program that runs as the account until the object's end. Make it on the main thread: the kernel ends it with the
// thread that made it.
class Program {
 public:
  // `last_signal` is what it gets if we are killed.
  Program(std::vector<std::string> command, const Account& account, int last_signal);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // Waits until it has printed this. False, and a failed test with what it did print: it has ended without it.
  [[nodiscard]] bool await(std::string_view text);
  // Waits for its end; its status as of a shell.
  int wait();
  // Asks it to end, and waits.
  void stop(int signal);

  [[nodiscard]] const std::string& output() const { return output_; }

 private:
  bool read_more();

  pid_t pid_ = -1;
  int out_ = -1;
  std::string output_;
  std::thread drain_;  // reads on, after await(): a full pipe would stop the server
};

}  // namespace clients
