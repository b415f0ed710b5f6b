// sigtab: names, defaults, senders, causes; and how our handlers are installed.
#include "signal/sigtab.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csetjmp>
#include <cstring>
#include <string>

#include "support/sanitized.hpp"

namespace gort {
namespace {

TEST(Sigtab, NamesAreThoseOfLibc) {
  for (int sig = 1; sig < 32; ++sig) {
    const char* known = sigabbrev_np(sig);
    if (known == nullptr || sig == SIGSTKFLT) continue;
    const std::string name = signame(sig).text;
    EXPECT_TRUE(name == std::string("SIG") + known || (sig == SIGPOLL && name == "SIGIO")) << name;
  }
  EXPECT_STREQ(signame(SIGURG).text, "SIGURG");
  EXPECT_STREQ(signame(SIGSTKFLT).text, "SIGSTKFLT");
  EXPECT_STREQ(signame(40).text, "signal 40");
  EXPECT_STREQ(signame(-2147483647 - 1).text, "signal -2147483648");
}

TEST(Sigtab, WhatIsIgnoredByDefault) {
  EXPECT_TRUE(ignored_by_default(SIGURG));
  EXPECT_TRUE(ignored_by_default(SIGCHLD));
  EXPECT_TRUE(ignored_by_default(SIGWINCH));
  EXPECT_FALSE(ignored_by_default(SIGSEGV));
  EXPECT_FALSE(ignored_by_default(SIGPROF));
  EXPECT_FALSE(ignored_by_default(SIGRTMIN));
}

void nothing(int, void*, void*) {}

TEST(Sigtab, SetsigAndGetsig) {
  os::SignalAction before;
  setsig(SIGUSR1, nothing, &before);
  EXPECT_EQ(getsig(SIGUSR1), nothing);
  os::SignalAction now;
  sysSigaction(SIGUSR1, &before, &now);
  const unsigned long flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  EXPECT_EQ(now.flags & (flags | SA_NODEFER | SA_RESETHAND), flags);
  for (const int open : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, 32, 33}) {
    EXPECT_EQ(now.mask & os::signal_bit(open), 0U) << open;
  }
  for (const int masked : {SIGURG, SIGUSR1, SIGALRM, SIGPROF, SIGTERM, 34, 64}) {
    EXPECT_NE(now.mask & os::signal_bit(masked), 0U) << masked;
  }
  EXPECT_EQ(getsig(SIGUSR1), before.handler);
}

TEST(SigtabDeathTest, AnActionThatIsRefusedIsFatal) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const os::SignalAction action = our_action(nothing);
  EXPECT_EXIT(sysSigaction(SIGKILL, &action, nullptr), testing::KilledBySignal(SIGABRT),
              "gort: fatal: rt_sigaction failed: -22");
  EXPECT_EXIT(sysSigaction(65, &action, nullptr), testing::KilledBySignal(SIGABRT), "gort: fatal");
}

TEST(Sigtab, LibcsSignalsCanBeRead) {
  for (const int sig : {32, 33, 64}) {
    os::SignalAction now;
    sysSigaction(sig, nullptr, &now);
  }
}

siginfo_t seen;
sigjmp_buf back;
void keep_info(int, void* info, void*) {
  std::memcpy(&seen, info, sizeof seen);
}
void leave(int, void* info, void*) {
  std::memcpy(&seen, info, sizeof seen);
  siglongjmp(back, 1);
}

// What the kernel says of a signal that `cause` brings.
template <class F>
siginfo_t info_of(int sig, SignalHandler handler, F cause) {
  os::SignalAction before;
  setsig(sig, handler, &before);
  std::memset(&seen, 0, sizeof seen);
  if (sigsetjmp(back, 1) == 0) cause();
  sysSigaction(sig, &before, nullptr);
  return seen;
}

TEST(Sigtab, WhoHasSentIt) {
  EXPECT_TRUE(sigFromUser(info_of(SIGSEGV, keep_info, [] { os::raise(SIGSEGV); })));
  EXPECT_TRUE(sigFromUser(info_of(SIGSEGV, keep_info, [] { ::kill(::getpid(), SIGSEGV); })));
  EXPECT_TRUE(
      sigFromUser(info_of(SIGSEGV, keep_info, [] { ::sigqueue(::getpid(), SIGSEGV, {}); })));
}

[[gnu::noinline]] void write_to(uintptr_t address) {
  auto* at = reinterpret_cast<volatile char*>(address);
  asm volatile("" : "+r"(at));
  *at = 1;
}

TEST(Sigtab, WhereItWas) {
  if (test::kSanitizers) GTEST_SKIP() << "a sanitizer looks at every access first";
  const siginfo_t null = info_of(SIGSEGV, leave, [] { write_to(8); });
  EXPECT_FALSE(sigFromUser(null));
  const FaultCause at_null = fixsigcode(SIGSEGV, null);
  EXPECT_TRUE(at_null.address_known);
  EXPECT_EQ(at_null.address, 8U);
  EXPECT_EQ(at_null.code, SEGV_MAPERR);

  void* page = ::mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const siginfo_t refused =
      info_of(SIGSEGV, leave, [page] { write_to(reinterpret_cast<uintptr_t>(page)); });
  EXPECT_EQ(fixsigcode(SIGSEGV, refused).code, SEGV_ACCERR);
  EXPECT_EQ(fixsigcode(SIGSEGV, refused).address, reinterpret_cast<uintptr_t>(page));
  ::munmap(page, 4096);
}

// What the kernel says of an address that no page can have, on x86-64.
TEST(Sigtab, AnAddressThatTheKernelDoesNotKnow) {
  siginfo_t info{};
  info.si_signo = SIGSEGV;
  info.si_code = SI_KERNEL;
  EXPECT_FALSE(sigFromUser(info));
  EXPECT_FALSE(fixsigcode(SIGSEGV, info).address_known);
  EXPECT_EQ(fixsigcode(SIGSEGV, info).code, SEGV_MAPERR);
#if defined(__x86_64__)
  if (test::kSanitizers) return;
  const siginfo_t real = info_of(SIGSEGV, leave, [] { write_to(uintptr_t{1} << 63); });
  EXPECT_EQ(real.si_code, SI_KERNEL);
  EXPECT_FALSE(fixsigcode(SIGSEGV, real).address_known);
#endif
}

}  // namespace
}  // namespace gort
