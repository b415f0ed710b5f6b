// host: a program with handlers of its own that loads a library with gort inside (guest.cpp). It knows nothing of gort: its
// handlers work before, during and after, on threads with whatever mask, and after the library has been closed.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <thread>

#include "support/sanitized.hpp"

namespace {

using gort::test::kSanitizers;
using gort::test::kTsan;

constexpr size_t kPage = 4096;
constexpr int kSliceMs = kTsan ? 0 : 2;  // TSan delays signals: gort has no ticks there

std::atomic<int> urgs{0};
std::atomic<int> alarms{0};
std::atomic<int> faults{0};

void on_urg(int, siginfo_t* info, void*) {
  if (info->si_pid == getpid()) ++urgs;
}
void on_alarm(int) {
  ++alarms;
}
void on_fault(int, siginfo_t* info, void*) {
  ++faults;
  void* page = reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(info->si_addr) & ~(kPage - 1));
  if (::mprotect(page, kPage, PROT_READ | PROT_WRITE) != 0) ::_exit(99);
}

struct sigaction action_of(void (*handler)(int, siginfo_t*, void*)) {
  struct sigaction action {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  return action;
}

// As the kernel has it.
struct Action {
  unsigned char bytes[32] = {};
  explicit Action(int sig) { EXPECT_EQ(::syscall(SYS_rt_sigaction, sig, nullptr, bytes, 8), 0); }
  bool operator==(const Action& other) const {
    return std::memcmp(bytes, other.bytes, sizeof bytes) == 0;
  }
};

char* fresh_page() {
  void* at = ::mmap(nullptr, kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return static_cast<char*>(at);
}

// The handlers work on this thread; what is blocked is let in for the moment.
void expect_handlers_work() {
  sigset_t all;
  sigset_t before;
  sigemptyset(&all);
  for (const int sig : {SIGURG, SIGALRM, SIGSEGV}) sigaddset(&all, sig);
  ::pthread_sigmask(SIG_UNBLOCK, &all, &before);
  const int urgs_before = urgs;
  const int alarms_before = alarms;
  const int faults_before = faults;
  ::raise(SIGURG);
  EXPECT_EQ(urgs, urgs_before + 1);
  ::raise(SIGALRM);
  EXPECT_EQ(alarms, alarms_before + 1);
  char* page = fresh_page();
  *static_cast<volatile char*>(page) = 1;
  EXPECT_EQ(faults, faults_before + 1);
  ::munmap(page, kPage);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

struct Guest {
  void* handle = ::dlopen(GORT_GUEST, RTLD_NOW | RTLD_LOCAL);
  template <class F>
  F* find(const char* name) const {
    return reinterpret_cast<F*>(::dlsym(handle, name));
  }
};

class Library : public testing::Test {
 protected:
  void SetUp() override {
    if (kTsan) GTEST_SKIP() << "TSan delays signals";
    const struct sigaction urg = action_of(on_urg);
    const struct sigaction fault = action_of(on_fault);
    struct sigaction alarm {};
    alarm.sa_handler = on_alarm;
    ASSERT_EQ(::sigaction(SIGURG, &urg, &before_[0]), 0);
    ASSERT_EQ(::sigaction(SIGALRM, &alarm, &before_[1]), 0);
    ASSERT_EQ(::sigaction(SIGSEGV, &fault, &before_[2]), 0);
    ASSERT_NE(guest_.handle, nullptr) << ::dlerror();
  }
  void TearDown() override {
    if (kTsan) return;
    ::sigaction(SIGURG, &before_[0], nullptr);
    ::sigaction(SIGALRM, &before_[1], nullptr);
    ::sigaction(SIGSEGV, &before_[2], nullptr);
  }
  Guest guest_;

 private:
  struct sigaction before_[3] = {};
};

TEST_F(Library, HandlersWorkBeforeDuringAndAfter) {
  expect_handlers_work();
  const Action urg(SIGURG);
  const Action alarm(SIGALRM);
  const Action fault(SIGSEGV);
  for (const int slice_ms : {0, kSliceMs}) {
    guest_.find<void(int)>("guest_start")(slice_ms);
    expect_handlers_work();                                             // on a thread of ours
    guest_.find<void(void (*)())>("guest_call")(expect_handlers_work);  // in a fiber
    char* page = fresh_page();
    EXPECT_EQ(guest_.find<int(char*)>("guest_touches")(page), 0);
    ::munmap(page, kPage);
    if (slice_ms != 0) {
      EXPECT_EQ(guest_.find<int()>("guest_hogs")(), 0) << "and gort's ticks do";
    }
    guest_.find<void()>("guest_stop")();
    expect_handlers_work();
    EXPECT_TRUE(Action(SIGURG) == urg && Action(SIGALRM) == alarm && Action(SIGSEGV) == fault);
  }
}

TEST_F(Library, OnAThreadThatBlocksEverything) {
  std::thread([this] {
    sigset_t all;
    sigset_t after;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
    ::pthread_sigmask(SIG_SETMASK, nullptr, &all);
    for (const int slice_ms : {0, kSliceMs}) {
      EXPECT_EQ(guest_.find<int(int, void (*)())>("guest_run")(slice_ms, expect_handlers_work), 0);
      ::pthread_sigmask(SIG_SETMASK, nullptr, &after);
      EXPECT_EQ(std::memcmp(&all, &after, 8), 0) << "its mask is back";
      guest_.find<void(int)>("guest_start")(slice_ms);
      guest_.find<void(void (*)())>("guest_call")(expect_handlers_work);
      if (slice_ms != 0) {
        EXPECT_EQ(guest_.find<int()>("guest_hogs")(), 0);
      }
      guest_.find<void()>("guest_stop")();
    }
  }).join();
  expect_handlers_work();
}

// The thread has an alternate stack, which is there again afterwards.
TEST_F(Library, AThreadsOwnSignalStackStays) {
  std::thread([this] {
    stack_t before{};
    ::sigaltstack(nullptr, &before);
    static char memory[64 * 1024];
    stack_t own{};
    own.ss_sp = memory;
    own.ss_size = sizeof memory;
    ASSERT_EQ(::sigaltstack(&own, nullptr), 0);
    EXPECT_EQ(guest_.find<int(int, void (*)())>("guest_run")(kSliceMs, expect_handlers_work), 0);
    stack_t after{};
    ::sigaltstack(nullptr, &after);
    EXPECT_EQ(after.ss_sp, own.ss_sp);
    ::sigaltstack(&before, nullptr);
  }).join();
}

// Somebody may have kept the address of a handler of gort's, so its code stays. Whoever restores such a handler has what was
// behind it.
TEST_F(Library, HandlersWorkWhenItHasBeenClosed) {
  const void* place = guest_.find<const void*()>("guest_place")();
  struct sigaction gorts {};
  // By a thread that ends, since a thread that has used gort keeps it loaded until then.
  std::thread([this, &gorts] {
    guest_.find<void(int)>("guest_start")(kSliceMs);
    const struct sigaction mine = action_of([](int, siginfo_t*, void*) {});
    ASSERT_EQ(::sigaction(SIGURG, &mine, &gorts), 0);
    guest_.find<void()>("guest_stop")();
  }).join();
  ASSERT_EQ(::dlclose(guest_.handle), 0);
  Dl_info info;
  ASSERT_NE(::dladdr(place, &info), 0) << "gort's code is gone";
  ASSERT_EQ(::sigaction(SIGURG, &gorts, nullptr), 0);
  expect_handlers_work();
  // And it may be opened again.
  const Guest again;
  ASSERT_NE(again.handle, nullptr);
  again.find<void(int)>("guest_start")(kSliceMs);
  if (kSliceMs != 0) {
    EXPECT_EQ(again.find<int()>("guest_hogs")(), 0);
  }
  expect_handlers_work();
  again.find<void()>("guest_stop")();
}

// What installs handlers without a runtime keeps the library as well. Each in a process of its own, where nothing else has.
TEST_F(Library, ItStaysWithoutARuntimeToo) {
  if (kSanitizers) GTEST_SKIP() << "an instrumented library stays anyway";
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  for (const char* what : {"guest_notify", "guest_profile", "guest_all_threads"}) {
    EXPECT_EXIT(
        {
          const void* place = guest_.find<const void*()>("guest_place")();
          std::thread([&] { guest_.find<void()>(what)(); }).join();
          Dl_info info;
          ::_exit(::dlclose(guest_.handle) == 0 && ::dladdr(place, &info) != 0 ? 0 : 1);
        },
        testing::ExitedWithCode(0), "")
        << what;
  }
}

}  // namespace
