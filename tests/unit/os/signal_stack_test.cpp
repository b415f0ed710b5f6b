// signal_stack: whose alternate stack an M's thread has between minit() and unminit(), and what it lets in.
#include <gtest/gtest.h>

#include <csignal>
#include <cstddef>
#include <thread>
#include <vector>

#include "os/linux/thread.hpp"
#include "os/os.hpp"

namespace gort::os {
namespace {

AltStack current() {
  AltStack now;
  EXPECT_EQ(sigaltstack(nullptr, &now), 0);
  return now;
}

uint64_t mask() {
  uint64_t now = 0;
  rtsigprocmask(SIG_BLOCK, nullptr, &now);
  return now;
}

// A thread of the program without an alternate stack (a sanitizer gives each one), which becomes an M and ceases to be.
template <class F>
void on_borrowed(F body) {
  std::thread([&body] {
    const AltStack before = current();
    AltStack none;
    none.flags = SS_DISABLE;
    ASSERT_EQ(sigaltstack(&none, nullptr), 0);
    mOS os;
    ASSERT_EQ(mpreinit(os), 0);
    body(os);
    EXPECT_EQ(os.signal_stack, nullptr) << "unminit() has freed it";
    sigaltstack(&before, nullptr);
  }).join();
}

TEST(SignalStack, IsSetWithoutTicksToo) {
  on_borrowed([](mOS& os) {
    minit(os);
    EXPECT_EQ(current().low, os.signal_stack);
    EXPECT_EQ(current().bytes, os.signal_stack_bytes);
    EXPECT_EQ(os.timer, -1);
    unminit(os);
    EXPECT_NE(current().flags & SS_DISABLE, 0) << "as it was";
  });
}

TEST(SignalStack, OneThatIsThereIsAdopted) {
  std::vector<std::byte> own(64 * 1024);
  on_borrowed([&own](mOS& os) {
    AltStack stack;
    setSignalstackSP(stack, own.data(), own.size());
    ASSERT_EQ(sigaltstack(&stack, nullptr), 0);
    minit(os);
    EXPECT_EQ(current().low, own.data());
    unminit(os);
    EXPECT_EQ(current().low, own.data());
    EXPECT_EQ(current().bytes, own.size());
  });
}

TEST(SignalStack, OneThatIsTooSmallComesBack) {
  std::vector<std::byte> own(8 * 1024);
  on_borrowed([&own](mOS& os) {
    AltStack stack;
    setSignalstackSP(stack, own.data(), own.size());
    if (sigaltstack(&stack, nullptr) != 0) {  // on this processor a frame alone is larger
      minit(os);
      unminit(os);
      return;
    }
    minit(os);
    EXPECT_EQ(current().low, os.signal_stack);
    unminit(os);
    EXPECT_EQ(current().low, own.data());
    EXPECT_EQ(current().bytes, own.size());
  });
}

TEST(SignalStack, OneThatWasSetMeanwhileStays) {
  std::vector<std::byte> own(64 * 1024);
  on_borrowed([&own](mOS& os) {
    minit(os);
    AltStack stack;
    setSignalstackSP(stack, own.data(), own.size());
    ASSERT_EQ(sigaltstack(&stack, nullptr), 0);
    unminit(os);
    EXPECT_EQ(current().low, own.data());
  });
}

TEST(SignalStack, SetsTheWholeRecord) {
  std::byte here[1];
  AltStack stack;
  stack.flags = SS_DISABLE;
  setSignalstackSP(stack, here, 12345);
  EXPECT_EQ(stack.low, here);
  EXPECT_EQ(stack.bytes, 12345U);
  EXPECT_EQ(stack.flags, 0);
}

// SIGPROF is the program's, which may have no handler for it.
TEST(SignalStack, FaultsAndTicksAreLetIn) {
  const uint64_t faults =
      signal_bit(SIGSEGV) | signal_bit(SIGBUS) | signal_bit(SIGFPE) | signal_bit(SIGILL);
  const uint64_t odd = kAllButLibcSignals & ~(signal_bit(SIGKILL) | signal_bit(SIGSTOP));
  on_borrowed([&](mOS& os) {
    const uint64_t before = sigprocmask(odd);
    minit(os);
    EXPECT_EQ(mask(), odd & ~faults) << "without ticks SIGURG stays as it is";
    unminit(os);
    EXPECT_EQ(mask(), odd);
    sigprocmask(before);
  });
  on_borrowed([&](mOS& os) {
    const uint64_t before = sigprocmask(odd);
    os.tick_ns = 1'000'000'000;
    minit(os);
    EXPECT_EQ(mask(), odd & ~faults & ~signal_bit(SIGURG));
    unminit(os);
    EXPECT_EQ(mask(), odd);
    sigprocmask(before);
  });
}

TEST(SignalStack, WhatAProfileMayInterruptBy) {
  on_borrowed([](mOS& os) {
    minit(os);
    EXPECT_EQ(profiling_signal(os), SIGPROF);
    const uint64_t before = sigprocmask(signal_bit(SIGPROF));
    EXPECT_EQ(profiling_signal(os), 0);
    os.tick_ns = 1;
    EXPECT_EQ(profiling_signal(os), SIGURG);
    os.tick_ns = 0;
    sigprocmask(before);
    unminit(os);
  });
}

// A thread of ours: its creator's mask, but for what it must let in.
TEST(SignalStack, OfAThreadOfOurs) {
  struct Seen {
    mOS os;
    uint64_t mask = 0;
    AltStack stack;
  } seen;
  ASSERT_EQ(mpreinit(seen.os), 0);
  const uint64_t before = sigprocmask(signal_bit(SIGSEGV) | signal_bit(SIGUSR1));
  const auto start = [](void* arg) {
    Seen& s = *static_cast<Seen*>(arg);
    minit(s.os);
    s.mask = mask();
    s.stack = current();
  };
  ASSERT_EQ(newosproc(seen.os, start, &seen), 0);
  sigprocmask(before);
  void* const ours = seen.os.signal_stack;
  mdestroy(seen.os);
  EXPECT_EQ(seen.mask, signal_bit(SIGUSR1));
  EXPECT_EQ(seen.stack.flags & SS_DISABLE, 0);
  if (!kSanitized) {
    EXPECT_EQ(seen.stack.low, ours);
  }
  EXPECT_EQ(seen.os.signal_stack, nullptr);
}

}  // namespace
}  // namespace gort::os
