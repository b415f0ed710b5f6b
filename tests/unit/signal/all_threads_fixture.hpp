// all_threads_fixture: what counts threads, keeps them busy, and refuses calls to one of them.
#pragma once

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gort/os.hpp"
#include "os/os.hpp"
#include "signal/all_threads.hpp"

namespace gort::test {

inline constexpr uint64_t kLibcSignal = os::signal_bit(33);
inline constexpr int64_t kLittlePatienceNs = 20'000'000;
inline constexpr int64_t kLittleWhileNs = 500'000'000;

// Adds one for each thread that makes the call.
class Counter {
 public:
  Counter() : fd_(::eventfd(0, EFD_NONBLOCK)) { EXPECT_GE(fd_, 0); }
  ~Counter() { ::close(fd_); }
  Counter(const Counter&) = delete;
  Counter& operator=(const Counter&) = delete;

  long count_everybody() const { return os::all_threads_syscall(SYS_write, fd_, one(), 8); }
  [[nodiscard]] AllThreadsResult count_everybody(int64_t patience_ns) const {
    return doAllThreadsSyscall(SYS_write, {fd_, one(), 8, 0, 0, 0}, patience_ns);
  }
  uint64_t take() const {
    uint64_t n = 0;
    return ::read(fd_, &n, sizeof n) == sizeof n ? n : 0;
  }

 private:
  static long one() {
    static const uint64_t n = 1;
    return reinterpret_cast<intptr_t>(&n);
  }
  int fd_;
};

inline uint64_t threads_now() {
  const int n = os::count_threads();
  EXPECT_GT(n, 0);
  return static_cast<uint64_t>(n);
}

inline os::SignalAction action_of_33() {
  os::SignalAction now;
  EXPECT_EQ(os::rt_sigaction(33, nullptr, &now), 0);
  return now;
}
inline bool same(const os::SignalAction& a, const os::SignalAction& b) {
  return a.handler == b.handler && a.flags == b.flags && a.restorer == b.restorer &&
         a.mask == b.mask;
}

// A thread that is there when the constructor returns, and ends with the destructor.
class Busy {
 public:
  explicit Busy(std::function<void(const std::atomic<bool>& go_on)> body)
      : thread_([this, body = std::move(body)] {
          tid_ = os::gettid();
          body(go_on_);
        }) {
    while (tid_ == 0) os::osyield();
  }
  ~Busy() {
    go_on_ = false;
    go_on_.notify_all();
    thread_.join();
  }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;
  [[nodiscard]] int tid() const { return tid_; }

 private:
  std::atomic<int> tid_{0};
  std::atomic<bool> go_on_{true};
  std::thread thread_;
};

inline void sleep_on(const std::atomic<bool>& go_on) {
  go_on.wait(true);
}
inline void spin_on(const std::atomic<bool>& go_on) {
  while (go_on) {
  }
}

// Runs in a process of its own, whose exit status it is.
template <class F>
int in_a_child(F&& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    body();
    ::_exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return status;
}

inline void filter_here(std::vector<sock_filter> program) {
  const sock_fprog all{static_cast<unsigned short>(program.size()), program.data()};
  ASSERT_EQ(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &all), 0);
}
inline constexpr unsigned kNumberAt = offsetof(seccomp_data, nr);
inline constexpr unsigned kFirstArgumentAt = offsetof(seccomp_data, args);  // its lower half

// This thread's calls of `nr` fail with `error` from now on.
inline void refuse_here(unsigned nr, unsigned error) {
  filter_here({BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kNumberAt),
               BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
               BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
               BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)});
}
// The same of those whose first argument is this.
inline void refuse_here(unsigned nr, unsigned first_argument, unsigned error) {
  filter_here({BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kNumberAt),
               BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 3),
               BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kFirstArgumentAt),
               BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, first_argument, 0, 1),
               BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
               BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)});
}

// What a thread's own /proc says, in hexadecimal.
inline std::string status_of(int tid, const std::string& field) {
  std::ifstream in("/proc/self/task/" + std::to_string(tid) + "/status");
  for (std::string line; std::getline(in, line);) {
    if (line.compare(0, field.size() + 1, field + ":") == 0) {
      return line.substr(line.find_first_not_of(" \t", field.size() + 1));
    }
  }
  return "";
}

}  // namespace gort::test
