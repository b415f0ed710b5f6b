// thread_owners: which threads belong to fibers that are locked to them, for tests of lock_os_thread().
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>
#include <unistd.h>

#include <mutex>
#include <set>

namespace gort::test {

// Whose each thread is. A thread that has ended with its fiber may come again under its number.
class ThreadOwners {
 public:
  void locked() {
    const std::lock_guard guard(m_);
    EXPECT_TRUE(locked_.insert(gettid()).second) << "the thread is another fiber's";
  }
  void unlocked() {
    const std::lock_guard guard(m_);
    locked_.erase(gettid());
  }
  void expect_free() {
    const std::lock_guard guard(m_);
    EXPECT_EQ(locked_.count(gettid()), 0U) << "the thread is another fiber's";
  }

 private:
  std::mutex m_;
  std::set<pid_t> locked_;
};

}  // namespace gort::test
