// thread_fixture: both back ends of newosproc(), side by side in one process.
//
// The choice between them is made once per process (thread_choice.cpp); these tests go around it,
// with newosproc_on(). Where clone is not to be had the test is skipped, with the reason.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <deque>
#include <functional>
#include <string>

#include "os/linux/glibc_thread.hpp"
#include "os/linux/thread.hpp"

namespace gort::os {

inline constexpr int kThreads = 8;

// "" when the back end can be used here, else why not.
inline std::string backend_obstacle(ThreadBackend backend) {
  if (backend == ThreadBackend::pthread) return "";
  std::string why = clone_obstacle(thread_surroundings());
  if (why.empty()) glibc_thread_learn(why);
  return why;
}

// A thread is counted for a moment after it could be joined: until the kernel knows its number no more.
inline void await_gone(int tid) {
  while (tgkill(tid, 0) != -ESRCH) osyield();
}

// Waits for a thread's end, and until it is counted no more.
inline void destroy(mOS& os) {
  const int tid = os.tid.load(std::memory_order_relaxed);
  mdestroy(os);
  if (tid != 0) await_gone(tid);
}

// Threads that run a function after minit(); the destructor waits for them.
class Threads {
 public:
  explicit Threads(ThreadBackend backend) : backend_(backend) {}
  ~Threads() { join(); }

  // 0 or -errno.
  int start(std::function<void()> body, size_t stack_bytes = 0) {
    One& one = threads_.emplace_back();
    one.body = std::move(body);
    const int error = newosproc_on(backend_, one.os, run, &one, stack_bytes);
    if (error != 0) threads_.pop_back();
    return error;
  }

  // kThreads threads, told apart by their index.
  void start_all(const std::function<void(int)>& body) {
    for (int i = 0; i < kThreads; ++i) ASSERT_EQ(start([body, i] { body(i); }), 0);
  }

  void join() {
    for (One& one : threads_) destroy(one.os);
    threads_.clear();
  }

  mOS& os(size_t i) { return threads_[i].os; }

 private:
  struct One {
    mOS os;
    std::function<void()> body;
  };

  static void run(void* arg) {
    One& one = *static_cast<One*>(arg);
    minit(one.os);
    one.body();
  }

  ThreadBackend backend_;
  std::deque<One> threads_;  // elements do not move
};

class BothBackends : public testing::TestWithParam<ThreadBackend> {
 protected:
  void SetUp() override {
    const std::string obstacle = backend_obstacle(GetParam());
    if (!obstacle.empty()) GTEST_SKIP() << obstacle;
  }
};

inline std::string backend_name(const testing::TestParamInfo<ThreadBackend>& info) {
  return info.param == ThreadBackend::clone ? "clone" : "pthread";
}

// Runs `body` in a forked child, for what can not be undone in this process. True: it returned
// true. Nothing of gtest may be used in it.
inline void in_child(const std::function<bool()>& body) {
  EXPECT_EXIT(std::_Exit(body() ? 0 : 1), testing::ExitedWithCode(0), "");
}

}  // namespace gort::os
