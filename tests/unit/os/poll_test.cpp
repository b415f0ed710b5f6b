// poll: epoll through os.hpp, with epoll_pwait2 and with the fallback.
#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <cerrno>
#include <cstdint>
#include <thread>

#include "os/linux/internal.hpp"
#include "os/os.hpp"

namespace gort::os {
namespace {

constexpr int64_t kUs = 1'000;
constexpr int64_t kMs = 1'000'000;
constexpr uint64_t kTag = 0xfeed'beef'1234'5678ULL;

using Wait = int (*)(int, std::span<PollEvent>, int64_t) noexcept;

class Poll : public ::testing::TestWithParam<Wait> {
 protected:
  Poll() : epfd_(epoll_create()), event_(eventfd()) {}
  ~Poll() override {
    fd_close(event_);
    fd_close(epfd_);
  }
  int wait(int64_t ns) { return GetParam()(epfd_, std::span(out_), ns); }
  void signal() const {
    const uint64_t one = 1;
    ASSERT_EQ(fd_write(event_, &one, sizeof one), 8);
  }

  int epfd_;
  int event_;
  PollEvent out_[4] = {};
};

INSTANTIATE_TEST_SUITE_P(Kernel, Poll, ::testing::Values(&epoll_wait, &epoll_wait_ms),
                         [](const auto& info) {
                           return info.index == 0 ? "Pwait2" : "Milliseconds";
                         });

TEST_P(Poll, ReportsTheDescriptorsTag) {
  ASSERT_EQ(epoll_add(epfd_, event_, EPOLLIN, kTag), 0);
  EXPECT_EQ(wait(0), 0);
  signal();
  ASSERT_EQ(wait(kForever), 1);
  EXPECT_EQ(out_[0].data, kTag);
  EXPECT_NE(out_[0].events & EPOLLIN, 0u);
}

TEST_P(Poll, EdgeTriggeredReportsOnce) {
  ASSERT_EQ(epoll_add(epfd_, event_, EPOLLIN | EPOLLET, kTag), 0);
  signal();
  EXPECT_EQ(wait(0), 1);
  EXPECT_EQ(wait(0), 0);
  signal();
  EXPECT_EQ(wait(0), 1);
}

TEST_P(Poll, DeletedDescriptorsAreSilent) {
  ASSERT_EQ(epoll_add(epfd_, event_, EPOLLIN, kTag), 0);
  signal();
  ASSERT_EQ(epoll_del(epfd_, event_), 0);
  EXPECT_EQ(wait(0), 0);
  EXPECT_EQ(epoll_del(epfd_, event_), -ENOENT);
}

TEST_P(Poll, ErrorsAreNegativeErrno) {
  EXPECT_EQ(epoll_add(epfd_, -1, EPOLLIN, 0), -EBADF);
  ASSERT_EQ(epoll_add(epfd_, event_, EPOLLIN, 0), 0);
  EXPECT_EQ(epoll_add(epfd_, event_, EPOLLIN, 0), -EEXIST);
  EXPECT_EQ(GetParam()(epfd_, std::span<PollEvent>(), 0), -EINVAL);
  EXPECT_EQ(GetParam()(event_, std::span(out_), 0), -EINVAL);
}

// PO1: no wait ends before its time.
TEST_P(Poll, WaitsAtLeastAsLongAsAsked) {
  for (const int64_t ns : {int64_t{1}, 50 * kUs, 999 * kUs, 1 * kMs + 1, 3 * kMs}) {
    const int64_t start = nanotime();
    EXPECT_EQ(wait(ns), 0);
    EXPECT_GE(nanotime() - start, ns);
  }
}

TEST_P(Poll, AWriteFromAnotherThreadWakes) {
  ASSERT_EQ(epoll_add(epfd_, event_, EPOLLIN, kTag), 0);
  std::thread writer([&] { signal(); });
  EXPECT_EQ(wait(kForever), 1);
  writer.join();
}

TEST_P(Poll, WhatWasWrittenBeforeTheAddIsSeenAfterTheWait) {
  int record = 0;  // as netpoll's descriptor record: published through epoll alone
  std::thread adder([&] {
    record = 42;
    ASSERT_EQ(epoll_add(epfd_, event_, EPOLLIN, reinterpret_cast<uint64_t>(&record)), 0);
    signal();
  });
  ASSERT_EQ(wait(kForever), 1);
  EXPECT_EQ(*reinterpret_cast<int*>(out_[0].data), 42);
  adder.join();
}

}  // namespace
}  // namespace gort::os
