// fault: faults that the program's own handler puts right. tests/death/fault_test.cpp has those that end the process.
#include "signal/fault.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <csetjmp>
#include <thread>

#include "fixture.hpp"
#include "gort/spawn.hpp"
#include "signal/signal.hpp"

namespace gort {
namespace {

using test::Installed;

constexpr size_t kPage = 4096;
std::atomic<int> handled{0};
std::atomic<int> sent{0};

// A collector, or a reader of sparse files: makes the page readable and lets the thread try again.
void open_page(int, siginfo_t* info, void*) {
  if (info->si_code <= 0) {
    ++sent;
    return;
  }
  ++handled;
  void* const page =
      reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(info->si_addr) & ~(kPage - 1));
  if (::mprotect(page, kPage, PROT_READ | PROT_WRITE) != 0) ::_exit(99);
}

class Pages {
 public:
  explicit Pages(size_t n) : bytes_(n * kPage) {
    at_ =
        static_cast<char*>(::mmap(nullptr, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  }
  ~Pages() { ::munmap(at_, bytes_); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  [[nodiscard]] const char* begin() const { return at_; }
  [[gnu::noinline]] void touch(size_t page) {
    auto* at = static_cast<volatile char*>(at_ + page * kPage);
    *at = static_cast<char>(page);
    EXPECT_EQ(*at, static_cast<char>(page));
  }

 private:
  size_t bytes_;
  char* at_;
};

class FaultHandled : public test::SignalTest {
 protected:
  void SetUp() override {
    if (test::kTsan) GTEST_SKIP() << "TSan delays signals";
    test::SignalTest::SetUp();
    handled = 0;
    sent = 0;
  }
};
GORT_WITH_AND_WITHOUT_TICKS(FaultHandled);

// SG3.
TEST_P(FaultHandled, ByAHandlerThatWasThere) {
  const Installed installed(SIGSEGV, open_page);
  Pages pages(6);
  run(opts(), [&pages] {
    pages.touch(0);
    spawn([&pages] { pages.touch(1); }).join();
    std::thread([&pages] { pages.touch(2); }).join();
  });
  pages.touch(3);
  EXPECT_EQ(handled, 4);
}

TEST_P(FaultHandled, ByOneThatCameLater) {
  Pages pages(3);
  run(opts(), [&pages] {
    const Installed installed(SIGSEGV, open_page);
    signal_check();
    EXPECT_FALSE(is_ours(getsig(SIGSEGV))) << "who takes faults later has them";
    spawn([&pages] { pages.touch(0); }).join();
    std::thread([&pages] { pages.touch(1); }).join();
  });
  EXPECT_EQ(handled, 2);
}

// SG3: what was sent is no fault, and the program's.
TEST_P(FaultHandled, ASentOneIsTold) {
  const Installed installed(SIGSEGV, open_page);
  run(opts(), [] { spawn([] { os::raise(SIGSEGV); }).join(); });
  EXPECT_EQ(sent, 1);
  EXPECT_EQ(handled, 0);
}

TEST_P(FaultHandled, ASentOneMayBeIgnored) {
  const Installed installed(SIGBUS, SIG_IGN);
  run(opts(), [] { spawn([] { os::raise(SIGBUS); }).join(); });
}

// Faults while fibers are interrupted everywhere.
TEST_P(FaultHandled, ManyAtOnce) {
  const Installed installed(SIGSEGV, open_page);
  constexpr size_t kPages = 1000;
  Pages pages(kPages);
  run(opts(4), [&pages] {
    std::vector<task<void>> fibers;
    for (size_t i = 0; i < 4; ++i) {
      fibers.push_back(spawn([&pages, i] {
        for (size_t page = i; page < kPages; page += 4) pages.touch(page);
      }));
    }
    for (auto& f : fibers) f.join();
  });
  EXPECT_EQ(handled, static_cast<int>(kPages));
}

// A probe, which leaves its handler by a jump.
thread_local sigjmp_buf probe_back;
bool readable(const char* at) {
  static const auto jump = +[](int) { siglongjmp(probe_back, 1); };
  const Installed installed(SIGSEGV, jump);
  if (sigsetjmp(probe_back, 1) != 0) return false;
  asm volatile("" : : "r"(*static_cast<const volatile char*>(at)));
  return true;
}
TEST_P(FaultHandled, ByAJump) {
  if (test::kSanitizers) GTEST_SKIP() << "a sanitizer looks at every access first";
  Pages pages(1);
  const char here = 1;
  run(opts(), [&] {
    spawn([&] {
      for (int i = 0; i < 10; ++i) {
        EXPECT_TRUE(readable(&here));
        EXPECT_FALSE(readable(pages.begin()));
        signal_check();
      }
    }).join();
  });
}

TEST(FaultKinds, OnlyTheKernelsOwn) {
  siginfo_t info{};
  info.si_code = SEGV_MAPERR;
  for (const int sig : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) EXPECT_TRUE(is_fault(sig, info));
  for (const int sig : {SIGURG, SIGTRAP, SIGSYS, SIGABRT}) EXPECT_FALSE(is_fault(sig, info));
  info.si_code = SI_USER;
  EXPECT_FALSE(is_fault(SIGSEGV, info));
  info.si_code = SI_TKILL;
  EXPECT_FALSE(is_fault(SIGSEGV, info));
}

}  // namespace
}  // namespace gort
