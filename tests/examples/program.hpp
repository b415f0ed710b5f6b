// Program: one of the example programs, started as a process of its own, and what the tests do with
// it.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace example_tests {

inline constexpr int kPatienceMs = 20'000;  // a limit that a working program does not reach

// The examples stand beside the tests in the build tree.
inline std::filesystem::path example(std::string_view name) {
  const char* elsewhere = std::getenv("GORT_EXAMPLES_DIR");
  const std::filesystem::path dir =
      elsewhere != nullptr
          ? std::filesystem::path(elsewhere)
          : std::filesystem::read_symlink("/proc/self/exe").parent_path() / ".." / "examples";
  return dir / name;
}

class Program {
 public:
  // narrow: there is room for a page, and hang_in_output() takes that, too.
  enum class Output { wide, narrow };

  Program(std::string_view name, std::vector<std::string> arguments, Output room = Output::wide) {
    int out[2];
    int err[2];
    EXPECT_EQ(::pipe2(out, O_CLOEXEC), 0);
    EXPECT_EQ(::pipe2(err, O_CLOEXEC), 0);
    if (room == Output::narrow) narrow(out[1]);
    const std::string path = example(name).string();
    std::vector<char*> argv{const_cast<char*>(path.c_str())};
    for (std::string& a : arguments) argv.push_back(a.data());
    argv.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(out[1], 1);
      ::dup2(err[1], 2);
      ::unsetenv("GORT_EXAMPLES_DIR");  // gort would complain of a setting that it does not know
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
    ::close(out[1]);
    ::close(err[1]);
    out_ = out[0];
    err_ = err[0];
  }
  ~Program() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    ::close(out_);
    ::close(err_);
    if (narrow_ >= 0) ::close(narrow_);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void signal(int number) const {
    if (pid_ > 0) ::kill(pid_, number);  // of one that has ended, kill would take -1 for everybody
  }
  [[nodiscard]] pid_t pid() const { return pid_; }

  // Of one with a narrow output. Until it has printed something. False: it has not for too long.
  [[nodiscard]] bool await_output() const {
    return in_time([this] {
      pollfd fd{narrow_, POLLOUT, 0};
      return ::poll(&fd, 1, 0) == 0;
    });
  }
  // From now on it waits where it prints, until somebody reads.
  void hang_in_output() {
    while (::write(narrow_, ".", 1) > 0) {
    }
    ::close(std::exchange(narrow_, -1));
  }

  // Until it has no handler for the signal any more. False: it has one for too long.
  [[nodiscard]] bool await_unhandled(int number) const {
    return in_time([&] {
      std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
      std::string word;
      while (status >> word && word != "SigCgt:") {
      }
      uint64_t mask = 0;
      return status >> std::hex >> mask && ((mask >> (number - 1)) & 1) == 0;
    });
  }

  // Reads standard output up to the end of `text`. False: the program has ended without it.
  bool await(std::string_view text) {
    while (output.find(text) == std::string::npos) {
      if (!read_more()) return false;
    }
    return true;
  }

  // Waits for the end, also again; the exit status, or -1 if it was killed by a signal or did not end in time.
  int wait() {
    while (read_more()) {
    }
    if (timed_out_) return -1;
    // Under chaos gort itself says with which seed.
    constexpr std::string_view kSeed = "gort: chaos: seed ";
    if (errors.starts_with(kSeed)) errors.erase(0, errors.find('\n') + 1);
    if (pid_ > 0) ::waitpid(std::exchange(pid_, -1), &status_, 0);
    return WIFEXITED(status_) ? WEXITSTATUS(status_) : -1;
  }

  // Whether it ends in this time; what it prints until then is read.
  bool ends_within(int ms) {
    pollfd out{out_open_ ? out_ : err_, POLLIN, 0};
    return ::poll(&out, 1, ms) > 0 && !read_more();
  }
  // By which signal it was ended, once wait() has returned; 0: by none.
  [[nodiscard]] int killed_by() const { return WIFSIGNALED(status_) ? WTERMSIG(status_) : 0; }

  // The port in "... 127.0.0.1:PORT", once it has been printed; 0: it was not.
  uint16_t port() {
    constexpr std::string_view kBefore = "127.0.0.1:";
    if (!await(kBefore) || !await("\n")) return 0;
    return static_cast<uint16_t>(std::atoi(output.c_str() + output.find(kBefore) + kBefore.size()));
  }

  std::string output;
  std::string errors;

  // Reads what comes next. False: both ends are closed, or nothing has come for too long.
  bool read_more() {
    pollfd fds[2] = {{out_open_ ? out_ : -1, POLLIN, 0}, {err_open_ ? err_ : -1, POLLIN, 0}};
    if (!out_open_ && !err_open_) return false;
    if (::poll(fds, 2, kPatienceMs) <= 0) {
      timed_out_ = true;
      return false;
    }
    if (fds[0].revents != 0) out_open_ = take(out_, output);
    if (fds[1].revents != 0) err_open_ = take(err_, errors);
    return true;
  }

 private:
  // Two pages, one of which is full. The pipe's own flags are the program's as well, so ours are of a descriptor that is opened anew.
  void narrow(int fd) {
    const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    EXPECT_EQ(::fcntl(fd, F_SETPIPE_SZ, 2 * page), static_cast<int>(2 * page));
    narrow_ =
        ::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    const std::string bytes(page, '.');
    EXPECT_EQ(::write(narrow_, bytes.data(), page), static_cast<ssize_t>(page));
  }
  template <class F>
  static bool in_time(F&& happened) {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatienceMs);
    while (!happened()) {
      if (std::chrono::steady_clock::now() > limit) return false;
    }
    return true;
  }
  static bool take(int fd, std::string& to) {
    char buffer[4096];
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n > 0) to.append(buffer, static_cast<size_t>(n));
    return n > 0;
  }

  pid_t pid_ = -1;
  int status_ = 0;  // once it has ended
  int out_ = -1;
  int err_ = -1;
  int narrow_ = -1;  // the writing end of a narrow output
  bool out_open_ = true;
  bool err_open_ = true;
  bool timed_out_ = false;
};

// A blocking TCP client.
class Client {
 public:
  // receive_bytes: about as much the kernel keeps for who does not read; 0: what is usual. Else segments are small, too, as
  // on other lines than the loopback: for these the sender's kernel keeps little as well.
  explicit Client(uint16_t port, int receive_bytes = 0)
      : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (receive_bytes != 0) {
      constexpr int kSegmentBytes = 536;
      ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
      ::setsockopt(fd_, IPPROTO_TCP, TCP_MAXSEG, &kSegmentBytes, sizeof kSegmentBytes);
    }
    const timeval limit{.tv_sec = kPatienceMs / 1000, .tv_usec = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  ~Client() { ::close(fd_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // True: all of it was taken.
  bool send(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  // As much as goes in; 0: nothing for some time.
  size_t send_some(std::string_view bytes) const {
    constexpr int kFullMs = 200;
    pollfd fd{fd_, POLLOUT, 0};
    if (::poll(&fd, 1, kFullMs) <= 0) return 0;
    const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return n > 0 ? static_cast<size_t>(n) : 0;
  }
  [[nodiscard]] int fd() const { return fd_; }
  void finish() const { ::shutdown(fd_, SHUT_WR); }
  // The end of the object is then a reset.
  void reset_at_end() const {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  }

  // What comes next; empty at the end of the stream, or if it is reset, or nothing comes.
  std::string read_some() const {
    char buffer[4096];
    const ssize_t n = ::recv(fd_, buffer, sizeof buffer, 0);
    return n > 0 ? std::string(buffer, static_cast<size_t>(n)) : std::string();
  }

  // Reads until `end` has come, or to the end of the stream.
  std::string read_until(std::string_view end) const {
    std::string text;
    char buffer[4096];
    while (end.empty() || text.find(end) == std::string::npos) {
      const ssize_t n = ::recv(fd_, buffer, sizeof buffer, 0);
      EXPECT_GE(n, 0) << "reset, or no answer in time, after: " << text;
      if (n <= 0) break;
      text.append(buffer, static_cast<size_t>(n));
    }
    return text;
  }
  // The same without a word when the connection ends or is reset; true if `end` has come.
  bool try_read_until(std::string_view end) const {
    std::string text;
    char buffer[4096];
    while (text.find(end) == std::string::npos) {
      const ssize_t n = ::recv(fd_, buffer, sizeof buffer, 0);
      if (n <= 0) return false;
      text.append(buffer, static_cast<size_t>(n));
    }
    return true;
  }
  std::string read_all() const { return read_until({}); }

  // Sends as much of `text` as goes in to a server that sends back what nobody reads. How much that was.
  size_t fill(std::string_view text) const {
    size_t sent = 0;
    while (sent < text.size()) {
      const size_t n = send_some(text.substr(sent));
      if (n == 0) break;
      sent += n;
    }
    return sent;
  }

 private:
  int fd_;
};

// Until nobody is let in any more: a server closes its listener first when it has been told to end.
inline void await_closed(uint16_t port) {
  for (bool open = true; open;) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    open = ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    ::close(fd);
  }
}

}  // namespace example_tests
