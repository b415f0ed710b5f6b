// child: what a function does in the child of a fork: how the child has ended, and what it has said.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>

#include "support/scheduler_test.hpp"

namespace gort::test {

struct ChildEnd {
  int status = 0;  // wait()'s
  std::string errors;

  [[nodiscard]] bool exited(int code) const {
    return WIFEXITED(status) && WEXITSTATUS(status) == code;
  }
  [[nodiscard]] bool killed(int sig) const {
    return WIFSIGNALED(status) && WTERMSIG(status) == sig;
  }
  [[nodiscard]] bool aborted_with(std::string_view text) const {
    return killed(SIGABRT) && errors.find(text) != std::string::npos;
  }
};

inline std::ostream& operator<<(std::ostream& out, const ChildEnd& end) {
  return out << "status " << end.status << ", said: " << end.errors;
}

// Collects a child; one that does not end is killed, and its test fails.
inline ChildEnd end_of(pid_t pid, int errors) {
  ChildEnd end;
  const int64_t limit = now_ns() + std::chrono::nanoseconds(kPatience).count();
  for (;;) {
    pollfd fd{errors, POLLIN, 0};
    const int64_t left_ms = (limit - now_ns()) / 1'000'000;
    if (left_ms <= 0) {
      ADD_FAILURE() << "the child hangs";
      ::kill(pid, SIGKILL);
      break;
    }
    if (::poll(&fd, 1, static_cast<int>(left_ms)) <= 0) continue;
    char buffer[512];
    const ssize_t n = ::read(errors, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    end.errors.append(buffer, static_cast<size_t>(n));
  }
  ::close(errors);
  while (::waitpid(pid, &end.status, 0) < 0 && errno == EINTR) {
  }
  return end;
}

// The child's status is what f() returns, by _exit().
template <class F>
ChildEnd in_child(F&& f) {
  int pipe[2];
  EXPECT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
  const pid_t pid = ::fork();
  EXPECT_GE(pid, 0);
  if (pid == 0) {
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    ::dup2(pipe[1], STDERR_FILENO);
    ::_exit(f());
  }
  ::close(pipe[1]);
  return end_of(pid, pipe[0]);
}

}  // namespace gort::test
