// tasks: the list and the number of the process's threads, and signals to one of them with a value.
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "os/linux/internal.hpp"
#include "os/os.hpp"

namespace gort::os {
namespace {

std::string stat_line(const std::string& name, const std::string& state,
                      const std::string& threads) {
  return "17 (" + name + ") " + state + " 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 " + threads +
         " 0 99 1";
}

TEST(Tasks, TheCountIsReadOutOfItsLine) {
  TaskCount c;
  EXPECT_EQ(parse_task_count(stat_line("name", "S", "12").c_str(), &c), 0);
  EXPECT_EQ(c.threads, 12);
  EXPECT_FALSE(c.leader_ended);
  EXPECT_EQ(parse_task_count(stat_line("a) Z 1 (b", "Z", "4").c_str(), &c), 0);
  EXPECT_EQ(c.threads, 4);
  EXPECT_TRUE(c.leader_ended);
  EXPECT_EQ(parse_task_count(stat_line("a) Z 1 (b", "R", "4").c_str(), &c), 0);
  EXPECT_FALSE(c.leader_ended);
}

TEST(Tasks, WhatIsNoLineIsAnError) {
  TaskCount c;
  for (const char* text : {"", "17", "17 (name)", "17 (name)S", "17 (name) S 1 2 3"}) {
    EXPECT_EQ(parse_task_count(text, &c), -EINVAL) << text;
  }
  for (const char* number : {"0", "-1", "x", "", "99999999999"}) {
    EXPECT_EQ(parse_task_count(stat_line("n", "S", number).c_str(), &c), -EINVAL) << number;
  }
}

// The list's buffer holds some 150.
TEST(Tasks, EveryThreadIsListedAndCounted) {
  constexpr int kThreads = 400;
  std::atomic<int> there{0};
  std::atomic<bool> go_on{true};
  std::vector<int> tids(kThreads);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      tids[static_cast<size_t>(i)] = gettid();
      ++there;
      go_on.wait(true);
    });
  }
  while (there < kThreads) osyield();
  TaskList list;
  ASSERT_EQ(tasks_open(list), 0);
  for (int round = 0; round < 2; ++round) {
    ASSERT_EQ(tasks_rewind(list), 0);
    std::multiset<int> listed;
    int tid;
    while ((tid = tasks_next(list)) > 0) listed.insert(tid);
    EXPECT_EQ(tid, 0);
    EXPECT_EQ(listed.count(gettid()), 1U);
    for (const int t : tids) EXPECT_EQ(listed.count(t), 1U);
    TaskCount count;
    EXPECT_EQ(tasks_count(list, &count), 0);
    EXPECT_EQ(count.threads, static_cast<int>(listed.size()));
    EXPECT_FALSE(count.leader_ended);
  }
  tasks_close(list);
  go_on = false;
  go_on.notify_all();
  for (std::thread& t : threads) t.join();
}

std::atomic<void*> value{nullptr};
std::atomic<int> code{0};
std::atomic<int> sender{0};

TEST(Tasks, ASignalCarriesItsValueToOneThread) {
  SignalAction old;
  SignalAction action;
  action.handler = [](int, void* info, void*) {
    const auto* what = static_cast<const siginfo_t*>(info);
    value = what->si_ptr;
    code = what->si_code;
    sender = what->si_pid;
  };
  action.flags = SA_SIGINFO;
  ASSERT_EQ(rt_sigaction(SIGUSR1, &action, &old), 0);
  EXPECT_EQ(queue_signal(gettid(), SIGUSR1, &action), 0);
  EXPECT_EQ(value, &action);
  EXPECT_EQ(code, SI_QUEUE);
  EXPECT_EQ(sender, getpid());
  EXPECT_EQ(queue_signal(gettid(), 0, nullptr), 0) << "a question";
  int ended = 0;
  std::thread([&] { ended = gettid(); }).join();
  while (queue_signal(ended, 0, nullptr) == 0) osyield();  // joined, and for a moment still there
  EXPECT_EQ(queue_signal(ended, SIGUSR1, nullptr), -ESRCH);
  EXPECT_EQ(queue_signal(gettid(), 65, nullptr), -EINVAL);
  EXPECT_EQ(rt_sigaction(SIGUSR1, &old, nullptr), 0);
}

TEST(Tasks, ACallGetsItsArguments) {
  int fds[2];
  ASSERT_EQ(::pipe(fds), 0);
  const char text[] = "ab";
  const long args[6] = {fds[1], static_cast<long>(reinterpret_cast<intptr_t>(text)), 2, 0, 0, 0};
  EXPECT_EQ(system_call(SYS_write, args), 2);
  char got[2] = {};
  EXPECT_EQ(::read(fds[0], got, sizeof got), 2);
  EXPECT_EQ(std::string(got, 2), "ab");
  ::close(fds[0]);
  ::close(fds[1]);
  EXPECT_EQ(system_call(SYS_write, args), -EBADF);
}

}  // namespace
}  // namespace gort::os
