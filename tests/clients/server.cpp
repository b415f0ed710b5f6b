#include "server.hpp"

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace clients {
namespace {

constexpr int kPatienceMs = 60'000;  // until a server says the next thing

}  // namespace

Account Account::for_servers() {
  if (::geteuid() != 0) return {::geteuid(), ::getegid()};
  for (const char* name : {"postgres", "nobody"}) {
    if (const passwd* found = ::getpwnam(name); found != nullptr)
      return {found->pw_uid, found->pw_gid};
  }
  throw std::runtime_error("we are root, and there is no account to run a server by");
}

Directory::Directory(const Account& owner) {
  std::string name = std::filesystem::temp_directory_path() / "gort_clients_XXXXXX";
  if (::mkdtemp(name.data()) == nullptr)
    throw std::system_error(errno, std::generic_category(), name);
  path_ = name;
  if (::geteuid() == 0 && ::chown(name.c_str(), owner.uid, owner.gid) != 0) {
    throw std::system_error(errno, std::generic_category(), "chown " + name);
  }
}

Directory::~Directory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Program::Program(std::vector<std::string> command, const Account& account, int last_signal) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    throw std::system_error(errno, std::generic_category(), "pipe2");
  std::vector<char*> argv;
  argv.reserve(command.size() + 1);
  for (std::string& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (pid_ == 0) {
    ::dup2(ends[1], 1);
    ::dup2(ends[1], 2);
    const bool ours =
        ::geteuid() != 0 ||
        (::setgroups(0, nullptr) == 0 && ::setgid(account.gid) == 0 && ::setuid(account.uid) == 0);
    // A change of the user takes this back, so it comes after it.
    ::prctl(PR_SET_PDEATHSIG, last_signal);
    if (!ours || ::getppid() != parent || ::chdir("/") != 0) ::_exit(126);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(ends[1]);
  out_ = ends[0];
}

Program::~Program() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  if (drain_.joinable()) drain_.join();
  ::close(out_);
}

bool Program::read_more() {
  pollfd wanted{out_, POLLIN, 0};
  if (::poll(&wanted, 1, kPatienceMs) <= 0) return false;
  char buffer[4096];
  const ssize_t n = ::read(out_, buffer, sizeof buffer);
  if (n > 0) output_.append(buffer, static_cast<size_t>(n));
  return n > 0;
}

bool Program::await(std::string_view text) {
  while (output_.find(text) == std::string::npos) {
    if (!read_more()) {
      ADD_FAILURE() << "the server has not said \"" << text << "\", but: " << output_;
      return false;
    }
  }
  drain_ = std::thread([fd = out_] {
    char buffer[4096];
    while (::read(fd, buffer, sizeof buffer) > 0) {
    }
  });
  return true;
}

int Program::wait() {
  while (!drain_.joinable() && read_more()) {
  }
  int status = 0;
  ::waitpid(std::exchange(pid_, -1), &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void Program::stop(int signal) {
  ::kill(pid_, signal);
  wait();
}

}  // namespace clients
