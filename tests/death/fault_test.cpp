// Faults that end the process: what is said, and what whoever waits for the process sees (SG3, SG4). With and without ticks.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <new>
#include <string>
#include <thread>

#include "gort/blocking.hpp"
#include "gort/chan.hpp"
#include "gort/fiber.hpp"
#include "gort/run.hpp"
#include "gort/spawn.hpp"
#include "os/os.hpp"
#include "support/debug_setting.hpp"
#include "support/sanitized.hpp"

namespace gort {
namespace {

using testing::ExitedWithCode;
using testing::KilledBySignal;

class FaultDeathTest : public testing::TestWithParam<int> {
 protected:
  FaultDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
  void SetUp() override {
    if (test::kSanitizers) GTEST_SKIP() << "a sanitizer has its own report";
    if (GetParam() == 0 && !test::without_preemption()) {
      GTEST_SKIP() << "this process has read its settings";
    }
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    // UBSan has handlers that say more than ours.
    struct sigaction action {};
    ::sigaction(SIGSEGV, nullptr, &action);
    if (action.sa_handler != SIG_DFL) GTEST_SKIP() << "somebody reports faults here already";
  }
  [[nodiscard]] static options opts() {
    options o{.procs = 2};
    if (GetParam() != 0) o.slice = std::chrono::milliseconds(GetParam());
    return o;
  }
};
INSTANTIATE_TEST_SUITE_P(Slice, FaultDeathTest, testing::Values(0, 1),
                         [](const auto& info) { return info.param == 0 ? "none" : "fine"; });

[[gnu::noinline]] int deep(int n) {
  volatile char frame[512];
  frame[0] = static_cast<char>(n);
  return n == 0 ? 0 : deep(n - 1) + frame[0];
}
constexpr int kTooDeep = 10'000'000;

[[gnu::noinline]] void write_to(uintptr_t address) {
  auto* at = reinterpret_cast<volatile char*>(address);
  asm volatile("" : "+r"(at));
  *at = 1;
}

void by_default_of(int sig) {
  std::signal(sig, SIG_DFL);
}

TEST_P(FaultDeathTest, AStackOverflowIsNamed) {
  EXPECT_EXIT(
      run(opts(), [] { spawn(attrs{.name = "deep"}, [] { return deep(kTooDeep); }).get(); }),
      KilledBySignal(SIGSEGV),
      "^gort: fatal: stack overflow in fiber [0-9]+ \\(deep\\): its 256 KiB end at "
      "0x[0-9a-f]+, it touched 0x[0-9a-f]+; [^\n]*stack_size[^\n]*\n$");
}

TEST_P(FaultDeathTest, AStackOverflowOfTheMainFiber) {
  EXPECT_EXIT(run(opts(), [] { deep(kTooDeep); }), KilledBySignal(SIGSEGV),
              "^gort: fatal: stack overflow in fiber [0-9]+ \\(main\\): its 256 KiB");
}

TEST_P(FaultDeathTest, AStackOverflowOfASmallStackInABlockingCall) {
  EXPECT_EXIT(run(opts(),
                  [] {
                    spawn(attrs{.name = "small", .stack_size = 16 * 1024}, [] {
                      return blocking([] { return deep(kTooDeep); });
                    }).get();
                  }),
              KilledBySignal(SIGSEGV),
              "^gort: fatal: stack overflow in fiber [0-9]+ \\(small\\): its 16 KiB");
}

TEST_P(FaultDeathTest, AFiberWithoutANameHasItsNumber) {
  EXPECT_EXIT(run(opts(), [] { spawn([] { return deep(kTooDeep); }).get(); }),
              KilledBySignal(SIGSEGV), "^gort: fatal: stack overflow in fiber [0-9]+: its");
}

TEST_P(FaultDeathTest, AStackOverflowOnAnEmbeddedRuntime) {
  EXPECT_EXIT(
      {
        runtime rt(opts());
        rt.run([] { deep(kTooDeep); });
      },
      KilledBySignal(SIGSEGV), "^gort: fatal: stack overflow");
}

// The thread that the runtime borrows has blocked everything, and shows no mercy for its own alternate stack either.
TEST_P(FaultDeathTest, AStackOverflowUnderAnOddMask) {
  EXPECT_EXIT(
      {
        sigset_t all;
        sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
        run(opts(), [] { spawn([] { return deep(kTooDeep); }).get(); });
      },
      KilledBySignal(SIGSEGV), "^gort: fatal: stack overflow");
}

// How many threads of a process are neither asleep nor gone.
int running_threads(pid_t pid) {
  int running = 0;
  for (const auto& task :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
    std::ifstream stat(task.path() / "stat");
    std::string text;
    std::getline(stat, text);
    const size_t name_end = text.rfind(')');
    if (name_end != std::string::npos && text[name_end + 2] == 'R') ++running;
  }
  return running;
}

// How many threads of a child are inside of this system call; none where nobody may know.
int threads_inside(pid_t pid, long nr) {
  int inside = 0;
  for (const auto& task :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
    std::ifstream file(task.path() / "syscall");
    long now = -1;
    if (file >> now && now == nr) ++inside;
  }
  return inside;
}

constexpr int kAtOnce = 4;
struct Progress {
  std::atomic<int> there{0};
};

void overflow_together(Progress& progress) {
  run(options{.procs = kAtOnce}, [&progress] {
    for (int i = 0; i < kAtOnce; ++i) {
      go([&progress] {
        ++progress.there;
        while (progress.there < kAtOnce) yield();
        deep(kTooDeep);
      });
    }
    (void)chan<int>().recv();
  });
}

// SG4: of many at once one speaks. Nobody reads what they say until all of them are where they will stay.
TEST_P(FaultDeathTest, ManyOverflowsAreReportedOnce) {
  auto* progress = static_cast<Progress*>(
      ::mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  new (progress) Progress;
  int fds[2];
  ASSERT_EQ(::pipe2(fds, O_NONBLOCK), 0);
  size_t filled = 0;
  const char dots[512] = {'.'};
  for (ssize_t n; (n = ::write(fds[1], dots, sizeof dots)) > 0;) filled += static_cast<size_t>(n);
  ASSERT_EQ(::fcntl(fds[1], F_SETFL, 0), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(fds[1], STDERR_FILENO);
    overflow_together(*progress);
    ::_exit(1);
  }
  ::close(fds[1]);
  ASSERT_EQ(::fcntl(fds[0], F_SETFL, 0), 0);
  for (int quiet = 0; quiet < 20;) {
    const bool all_stand = progress->there == kAtOnce && running_threads(child) == 0;
    quiet = all_stand ? quiet + 1 : 0;
    std::this_thread::yield();
  }
  EXPECT_LE(threads_inside(child, SYS_write), 1);
  std::string said;
  char part[4096];
  for (ssize_t n; (n = ::read(fds[0], part, sizeof part)) > 0;)
    said.append(part, static_cast<size_t>(n));
  ::close(fds[0]);
  said.erase(0, filled);
  EXPECT_TRUE(said.starts_with("gort: fatal: stack overflow")) << said;
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
  ::munmap(progress, sizeof(Progress));
}

void exit_by_handler(int, siginfo_t* info, void*) {
  constexpr char kText[] = "handled\n";
  if (::write(STDERR_FILENO, kText, sizeof kText - 1) < 0) ::_exit(9);
  ::_exit(info->si_code > 0 ? 41 : 42);
}
void handle(int sig) {
  struct sigaction action {};
  action.sa_sigaction = exit_by_handler;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(sig, &action, nullptr);
}

TEST_P(FaultDeathTest, AFaultIsForwardedAndAnOverflowIsNot) {
  EXPECT_EXIT(
      {
        handle(SIGSEGV);
        run(opts(), [] { spawn([] { write_to(8); }).get(); });
      },
      ExitedWithCode(41), "^handled\n$");
  EXPECT_EXIT(run(opts(),
                  [] {
                    handle(SIGSEGV);
                    spawn([] { write_to(8); }).get();
                  }),
              ExitedWithCode(41), "^handled\n$");
  // With a sanitizer in the program a handler that is there is left alone.
  if (os::sanitizer_present()) return;
  EXPECT_EXIT(
      {
        handle(SIGSEGV);
        run(opts(), [] { spawn([] { return deep(kTooDeep); }).get(); });
      },
      KilledBySignal(SIGSEGV), "^gort: fatal: stack overflow[^\n]*\n$");
}

TEST_P(FaultDeathTest, WithoutAHandlerALineSaysWhoItWas) {
  EXPECT_EXIT(run(opts(), [] { spawn(attrs{.name = "worker"}, [] { write_to(8); }).get(); }),
              KilledBySignal(SIGSEGV),
              "^gort: fatal: SIGSEGV at 0x8 \\(code 1\\), in fiber [0-9]+ \\(worker\\)\n$");
#if defined(__x86_64__)
  EXPECT_EXIT(run(opts(), [] { spawn([] { write_to(uintptr_t{1} << 63); }).get(); }),
              KilledBySignal(SIGSEGV),
              "^gort: fatal: SIGSEGV at an address that can not be \\(code 1\\), in fiber");
#endif
}

// Spelled as both compilers know it.
__attribute__((noinline, no_sanitize("undefined"))) int divide(int by) {
  asm volatile("" : "+r"(by));
  return 7 / by;
}

TEST_P(FaultDeathTest, TheOtherFaults) {
#if defined(__x86_64__)
  EXPECT_EXIT(run(opts(),
                  [] {
                    spawn([] {
                      volatile int result = divide(0);
                      return static_cast<int>(result);
                    }).get();
                  }),
              KilledBySignal(SIGFPE), "^gort: fatal: SIGFPE at 0x[0-9a-f]+ \\(code 1\\), in fiber");
  EXPECT_EXIT(run(opts(), [] { spawn([] { asm volatile("ud2"); }).get(); }), KilledBySignal(SIGILL),
              "^gort: fatal: SIGILL at 0x[0-9a-f]+ \\(code [0-9]\\), in fiber");
#endif
  EXPECT_EXIT(
      {
        char path[] = "/tmp/gort_fault_XXXXXX";
        const int fd = ::mkstemp(path);
        ::unlink(path);
        void* at = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        run(opts(), [at] { spawn([at] { write_to(reinterpret_cast<uintptr_t>(at)); }).get(); });
      },
      KilledBySignal(SIGBUS), "^gort: fatal: SIGBUS at 0x[0-9a-f]+ \\(code 2\\), in fiber");
}

// The kernel does not let a thread ignore its own fault.
TEST_P(FaultDeathTest, AFaultCanNotBeIgnored) {
  EXPECT_EXIT(
      {
        std::signal(SIGSEGV, SIG_IGN);
        run(opts(), [] { spawn([] { write_to(8); }).get(); });
      },
      KilledBySignal(SIGSEGV), "^gort: fatal: SIGSEGV at 0x8");
}

TEST_P(FaultDeathTest, ASentOneIsNoFault) {
  EXPECT_EXIT(
      {
        by_default_of(SIGSEGV);
        run(opts(), [] { spawn([] { ::raise(SIGSEGV); }).get(); });
      },
      KilledBySignal(SIGSEGV), "^$");
  EXPECT_EXIT(
      {
        handle(SIGSEGV);
        run(opts(), [] { spawn([] { ::kill(::getpid(), SIGSEGV); }).get(); });
      },
      ExitedWithCode(42), "^handled\n$");
}

// A thread of the program's ends as it would without us.
TEST_P(FaultDeathTest, AFaultOfAForeignThreadIsItsOwn) {
  EXPECT_EXIT(run(opts(), [] { std::thread([] { write_to(8); }).join(); }), KilledBySignal(SIGSEGV),
              "^$");
}

// SG4: stderr that nobody reads any more.
TEST_P(FaultDeathTest, WithoutAStderrTheStatusIsRight) {
  EXPECT_EXIT(run(opts(),
                  [] {
                    ::close(STDERR_FILENO);
                    spawn([] { return deep(kTooDeep); }).get();
                  }),
              KilledBySignal(SIGSEGV), "");
}

// A handler of the program's that faults itself, as the kernel would have it: the signal is blocked, which ends it.
TEST_P(FaultDeathTest, AFaultInTheHandler) {
  EXPECT_EXIT(
      {
        std::signal(SIGSEGV, [](int) { write_to(16); });
        run(opts(), [] { spawn([] { write_to(8); }).get(); });
      },
      KilledBySignal(SIGSEGV), "^$");
}

// Before the runtime, and after it, nothing of ours is there.
TEST_P(FaultDeathTest, AfterTheRuntimeAFaultIsTheProgramsAlone) {
  EXPECT_EXIT(
      {
        run(opts(), [] {});
        write_to(8);
      },
      KilledBySignal(SIGSEGV), "^$");
}

}  // namespace
}  // namespace gort
