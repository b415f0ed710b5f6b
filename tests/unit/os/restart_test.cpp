// restart_cut_call: system calls that a signal has cut short, made again or not.
#include <gtest/gtest.h>
#include <poll.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <ctime>
#include <functional>
#include <thread>

#include "os/linux/internal.hpp"
#include "os/os.hpp"
#include "support/sanitized.hpp"

namespace gort::os {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

std::atomic<int> handled{0};
std::atomic<int> restarted{0};

// What the processor is said to do; unknown: what it does.
std::atomic<ReturnAddress> said{ReturnAddress::unknown};

bool restart([[maybe_unused]] void* context) {
  if (said == ReturnAddress::unknown) return restart_cut_call(context);
#if defined(__x86_64__)
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RCX] = 0;
#endif
  return restart_cut_call_where(context, said);
}

void handler(int, void*, void* context) {
  const int error = errno;
  if (restart(context)) ++restarted;
  ++handled;
  errno = error;
}

constexpr int kSignals = 3;  // for each call

struct Result {
  long value;
  int error;
  steady_clock::duration took;
};

class RestartCutCall : public testing::Test {
 protected:
  void SetUp() override {
    if (!kRestartsCutCalls) GTEST_SKIP() << "the kernel does not tell enough on this processor";
    if (test::kTsan) GTEST_SKIP() << "TSan calls what it likes before the handler";
    handled = 0;
    restarted = 0;
    said = ReturnAddress::unknown;
    SignalAction action;
    action.handler = handler;
    action.flags = SA_SIGINFO | SA_RESTART;
    ASSERT_EQ(rt_sigaction(SIGUSR1, &action, &old_), 0);
    ASSERT_EQ(::pipe(pipe_), 0);
  }
  void TearDown() override {
    if (IsSkipped()) return;
    EXPECT_EQ(rt_sigaction(SIGUSR1, &old_, nullptr), 0);
    for (const int fd : pipe_) ::close(fd);
  }

  void feed() const { EXPECT_EQ(::write(pipe_[1], "x", 1), 1); }

  // What a call comes to whose thread gets signals while it waits; then `release` ends it.
  static Result cut(const std::function<long()>& call, const std::function<void()>& release) {
    Result result{};
    std::atomic<int> tid{0};
    std::atomic<bool> over{false};
    std::thread caller([&] {
      tid = gettid();
      const auto start = steady_clock::now();
      errno = 0;
      result.value = call();
      result.error = errno;
      result.took = steady_clock::now() - start;
      over = true;
    });
    const auto waits = [&] { return tid != 0 && thread_state(tid) == 'S'; };
    for (int i = 0; i < kSignals && !over; ++i) {
      while (!over && !waits()) std::this_thread::yield();
      if (over) break;
      EXPECT_EQ(tgkill(tid, SIGUSR1), 0);
      while (handled == i) std::this_thread::yield();
    }
    release();
    caller.join();
    return result;
  }

  static void nothing() {}

  int pipe_[2] = {-1, -1};

 private:
  SignalAction old_;
};

#define EXPECT_RESTARTED(result, expected) \
  do {                                     \
    EXPECT_EQ((result).value, (expected)); \
    EXPECT_NE((result).error, EINTR);      \
    EXPECT_EQ(handled, kSignals);          \
    EXPECT_EQ(restarted, kSignals);        \
  } while (false)

#define EXPECT_CUT_SHORT(result)      \
  do {                                \
    EXPECT_EQ((result).value, -1);    \
    EXPECT_EQ((result).error, EINTR); \
    EXPECT_EQ(restarted, 0);          \
  } while (false)

TEST_F(RestartCutCall, Poll) {
  pollfd wanted{pipe_[0], POLLIN, 0};
  const Result r = cut([&] { return ::poll(&wanted, 1, -1); }, [&] { feed(); });
  EXPECT_RESTARTED(r, 1);
  EXPECT_EQ(wanted.revents, POLLIN);
}

TEST_F(RestartCutCall, PollWithALimit) {
  pollfd wanted{pipe_[0], POLLIN, 0};
  const Result r = cut([&] { return ::poll(&wanted, 1, 300); }, nothing);
  EXPECT_RESTARTED(r, 0);
  EXPECT_GE(r.took, 300ms);
}

TEST_F(RestartCutCall, PpollWithoutAMask) {
  pollfd wanted{pipe_[0], POLLIN, 0};
  const timespec limit{60, 0};
  const Result r = cut([&] { return ::ppoll(&wanted, 1, &limit, nullptr); }, [&] { feed(); });
  EXPECT_RESTARTED(r, 1);
}

// RC2.
TEST_F(RestartCutCall, NotPpollWithAMask) {
  pollfd wanted{pipe_[0], POLLIN, 0};
  sigset_t none;
  sigemptyset(&none);
  const Result r = cut([&] { return ::ppoll(&wanted, 1, nullptr, &none); }, nothing);
  EXPECT_CUT_SHORT(r);
}

TEST_F(RestartCutCall, Select) {
  const Result r = cut(
      [&] {
        fd_set in;
        FD_ZERO(&in);
        FD_SET(pipe_[0], &in);
        timeval limit{60, 0};
        return ::select(pipe_[0] + 1, &in, nullptr, nullptr, &limit);
      },
      [&] { feed(); });
  EXPECT_RESTARTED(r, 1);
}

TEST_F(RestartCutCall, PselectWithoutAMask) {
  const Result r = cut(
      [&] {
        fd_set in;
        FD_ZERO(&in);
        FD_SET(pipe_[0], &in);
        return ::pselect(pipe_[0] + 1, &in, nullptr, nullptr, nullptr, nullptr);
      },
      [&] { feed(); });
  EXPECT_RESTARTED(r, 1);
}

TEST_F(RestartCutCall, NotPselectWithAMask) {
  sigset_t none;
  sigemptyset(&none);
  const Result r = cut(
      [&] {
        fd_set in;
        FD_ZERO(&in);
        FD_SET(pipe_[0], &in);
        return ::pselect(pipe_[0] + 1, &in, nullptr, nullptr, nullptr, &none);
      },
      nothing);
  EXPECT_CUT_SHORT(r);
}

TEST_F(RestartCutCall, EpollWait) {
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{EPOLLIN, {}};
  ASSERT_EQ(::epoll_ctl(epoll, EPOLL_CTL_ADD, pipe_[0], &event), 0);
  const Result r = cut([&] { return ::epoll_wait(epoll, &event, 1, -1); }, [&] { feed(); });
  EXPECT_RESTARTED(r, 1);
  ::close(epoll);
}

TEST_F(RestartCutCall, NotEpollPwaitWithAMask) {
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{EPOLLIN, {}};
  sigset_t none;
  sigemptyset(&none);
  const Result r = cut([&] { return ::epoll_pwait(epoll, &event, 1, -1, &none); }, nothing);
  EXPECT_CUT_SHORT(r);
  ::close(epoll);
}

TEST_F(RestartCutCall, Nanosleep) {
  const timespec time{0, 300'000'000};
  const Result r = cut([&] { return ::nanosleep(&time, nullptr); }, nothing);
  EXPECT_RESTARTED(r, 0);
  EXPECT_GE(r.took, 300ms);
}

TEST_F(RestartCutCall, NanosleepThatWritesItsRest) {
  const Result r = cut(
      [] {
        timespec time{0, 300'000'000};
        return ::nanosleep(&time, &time);
      },
      nothing);
  EXPECT_RESTARTED(r, 0);
  EXPECT_GE(r.took, 300ms);
}

TEST_F(RestartCutCall, SleepUntil) {
  timespec until{};
  ::clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += 1;
  const Result r = cut(
      [&] { return ::clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, nullptr); }, nothing);
  EXPECT_RESTARTED(r, 0);
}

TEST_F(RestartCutCall, SemaphoreWithALimit) {
  sem_t semaphore;
  ::sem_init(&semaphore, 0, 0);
  timespec until{};
  ::clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += 60;
  const Result r =
      cut([&] { return ::sem_timedwait(&semaphore, &until); }, [&] { ::sem_post(&semaphore); });
  EXPECT_EQ(r.value, 0);
  EXPECT_EQ(handled, kSignals);
  ::sem_destroy(&semaphore);
}

TEST_F(RestartCutCall, ReceiveWithALimit) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  const timeval limit{60, 0};
  ASSERT_EQ(::setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
  char byte = 0;
  Result r = cut([&] { return ::recv(ends[0], &byte, 1, 0); },
                 [&] { EXPECT_EQ(::write(ends[1], "y", 1), 1); });
  EXPECT_RESTARTED(r, 1);
  EXPECT_EQ(byte, 'y');
  handled = 0;
  restarted = 0;
  r = cut([&] { return ::read(ends[0], &byte, 1); },
          [&] { EXPECT_EQ(::write(ends[1], "z", 1), 1); });
  EXPECT_RESTARTED(r, 1);
  EXPECT_EQ(byte, 'z');
  for (const int fd : ends) ::close(fd);
}

TEST_F(RestartCutCall, SystemVSemaphore) {
  const int set = ::semget(IPC_PRIVATE, 1, 0600);
  if (set < 0) GTEST_SKIP() << "no System V semaphores here";
  sembuf down{0, -1, 0};
  sembuf up{0, 1, 0};
  const Result r =
      cut([&] { return ::semop(set, &down, 1); }, [&] { EXPECT_EQ(::semop(set, &up, 1), 0); });
  EXPECT_RESTARTED(r, 0);
  ::semctl(set, 0, IPC_RMID);
}

TEST_F(RestartCutCall, SystemVMessages) {
  const int queue = ::msgget(IPC_PRIVATE, 0600);
  if (queue < 0) GTEST_SKIP() << "no System V messages here";
  struct {
    long type;
    char text;
  } in{0, 0}, out{1, 'm'};
  const Result r = cut([&] { return ::msgrcv(queue, &in, 1, 0, 0); },
                       [&] { EXPECT_EQ(::msgsnd(queue, &out, 1, 0), 0); });
  EXPECT_RESTARTED(r, 1);
  EXPECT_EQ(in.text, 'm');
  ::msgctl(queue, IPC_RMID, nullptr);
}

// RC2: it is there to be ended by signals.
TEST_F(RestartCutCall, NotSigsuspend) {
  sigset_t none;
  sigemptyset(&none);
  const Result r = cut([&] { return ::sigsuspend(&none); }, nothing);
  EXPECT_CUT_SHORT(r);
}

TEST_F(RestartCutCall, NotPause) {
  const Result r = cut([] { return ::pause(); }, nothing);
  EXPECT_CUT_SHORT(r);
}

// RC1: it has begun to connect, and says so if it is called again.
TEST_F(RestartCutCall, NotConnect) {
  const int server = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr address{AF_UNIX, {}};
  // The kernel chooses an abstract name.
  ASSERT_EQ(::bind(server, &address, sizeof(sa_family_t)), 0);
  sockaddr_storage bound{};
  socklen_t length = sizeof bound;
  auto* const name = reinterpret_cast<sockaddr*>(&bound);
  ASSERT_EQ(::getsockname(server, name, &length), 0);
  ASSERT_EQ(::listen(server, 0), 0);
  const int first = ::socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(::connect(first, name, length), 0);  // fills the backlog
  const int second = ::socket(AF_UNIX, SOCK_STREAM, 0);
  const timeval limit{60, 0};
  ASSERT_EQ(::setsockopt(second, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), 0);
  const Result r = cut([&] { return ::connect(second, name, length); }, nothing);
  EXPECT_CUT_SHORT(r);
  for (const int fd : {server, first, second}) ::close(fd);
}

// A thread that computes is left where it is, whatever its registers hold.
TEST_F(RestartCutCall, NothingIsDoneToOneThatComputes) {
  std::atomic<int> tid{0};
  std::atomic<bool> over{false};
  std::thread computes([&] {
    tid = gettid();
    while (!over) {
    }
  });
  while (tid == 0) std::this_thread::yield();
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(tgkill(tid, SIGUSR1), 0);
    while (handled == i) std::this_thread::yield();
  }
  over = true;
  computes.join();
  EXPECT_EQ(restarted, 0);
}

// RC3, each way that the number comes into rax, and two that look like one and are not.
#if defined(__x86_64__)
long poll_by_register(pollfd* wanted) {
  long result;
  asm volatile(
      "movl $7, %%r12d\n\t"
      "xorl %%r8d, %%r8d\n\t"
      "movl %%r12d, %%eax\n\t"
      "syscall"
      : "=a"(result)
      : "D"(wanted), "S"(1), "d"(-1)
      : "rcx", "r8", "r11", "r12", "memory");
  return result;
}
// The load before the call is not the one of its number.
#define POLL_BEHIND(load)                                                                        \
  [](pollfd* wanted) {                                                                           \
    long result;                                                                                 \
    asm volatile("subq $512, %%rsp\n\tmovl $7, %%eax\n\t" load "\n\tsyscall\n\taddq $512, %%rsp" \
                 : "=a"(result)                                                                  \
                 : "D"(wanted), "S"(1), "d"(-1)                                                  \
                 : "rcx", "r8", "r11", "r15", "memory", "cc");                                   \
    return result;                                                                               \
  }

TEST_F(RestartCutCall, TheNumberOutOfARegister) {
  pollfd wanted{pipe_[0], POLLIN, 0};
  const Result r = cut([&] { return poll_by_register(&wanted); }, [&] { feed(); });
  EXPECT_RESTARTED(r, 1);
}

// RC4: where the kernel is entered so that rcx says nothing.
TEST_F(RestartCutCall, OnAProcessorThatLeavesRcxAlone) {
  pollfd wanted{pipe_[0], POLLIN, 0};
  said = ReturnAddress::in_rcx;
  EXPECT_EQ(cut([&] { return ::poll(&wanted, 1, 60'000); }, nothing).value, -1);
  EXPECT_EQ(restarted, 0);
  handled = 0;
  said = ReturnAddress::nowhere;
  const Result r = cut([&] { return ::poll(&wanted, 1, 60'000); }, [&] { feed(); });
  EXPECT_RESTARTED(r, 1);
}

TEST_F(RestartCutCall, NotWhereTheNumberIsNotToBeSeen) {
  pollfd wanted{pipe_[0], POLLIN, 0};
  // The others end as a `mov $nr, %eax` does, but that its first byte is one of an address: a store, a comparison, a load.
  constexpr long (*kPolls[])(pollfd*) = {
      POLL_BEHIND("movl $35, %%r8d"),
      POLL_BEHIND("xorl %%r8d, %%r8d"),
      POLL_BEHIND("movl $1, -0x48(%%rsp)"),
      POLL_BEHIND(".byte 0x81, 0x7c, 0x24, 0xb8\n\t.long 1"),
      POLL_BEHIND("movq %%rsp, %%r8\n\tmovl 0xe8(%%r8), %%r15d"),
  };
  for (const auto poll : kPolls) {
    handled = 0;
    const Result r = cut([&] { return poll(&wanted); }, nothing);
    EXPECT_EQ(r.value, -EINTR);
    EXPECT_EQ(restarted, 0);
  }
}
#endif

}  // namespace
}  // namespace gort::os
