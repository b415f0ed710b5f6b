// signal_stack: where the handlers of an M's thread run, and which signals it lets in. Called by minit() and unminit()
// of thread.cpp; mpreinit() there has made the stack.
//
// A thread that has an alternate stack already keeps it and we use it (its owner frees it, and may look for his own
// variables there), unless it is too small for what runs on it; then ours stands in for it until unminit().
#include <sys/auxv.h>

#include <algorithm>
#include <csignal>

#include "os/linux/thread.hpp"
#include "os/os.hpp"

namespace gort::os {
namespace {

constexpr size_t kFrameBytesUsual = 2048;  // MINSIGSTKSZ, where the kernel tells none
// What our handlers use below the kernel's frame: 1.5 KiB for a fault's report, which is the longest, 2 KiB more where the
// loader binds write() at its first call. The rest is for the handlers that are called behind ours.
constexpr size_t kHandlerBytes = size_t{8} << 10;

bool enough(const AltStack& stack) noexcept {
  const size_t frame = std::max<size_t>(::getauxval(AT_MINSIGSTKSZ), kFrameBytesUsual);
  return (stack.flags & SS_DISABLE) == 0 && stack.bytes >= frame + kHandlerBytes;
}

}  // namespace

void setSignalstackSP(AltStack& stack, void* low, size_t bytes) noexcept {
  stack.low = low;
  stack.bytes = bytes;
  stack.flags = 0;
}

void minitSignalStack(mOS& os) noexcept {
  if (os.signal_stack == nullptr) return;
  sigaltstack(nullptr, &os.old_signal_stack);
  if (enough(os.old_signal_stack)) return;  // adopted
  AltStack ours;
  setSignalstackSP(ours, os.signal_stack, os.signal_stack_bytes);
  // Refused where the thread stands on its own one at the moment: then it keeps that.
  (void)sigaltstack(&ours, nullptr);
}

void unminitSignalStack(mOS& os) noexcept {
  if (os.signal_stack == nullptr) return;
  AltStack now;
  sigaltstack(nullptr, &now);
  // Who has set another one meanwhile wants to keep it.
  if (now.low == os.signal_stack) sigaltstack(&os.old_signal_stack, nullptr);
}

uint64_t signals_for(const mOS& os) noexcept {
  if (os.signal_stack == nullptr) return 0;
  // A fault while its signal is blocked ends the process without a word.
  const uint64_t faults =
      signal_bit(SIGSEGV) | signal_bit(SIGBUS) | signal_bit(SIGFPE) | signal_bit(SIGILL);
  return faults | (os.tick_ns != 0 ? signal_bit(SIGURG) : 0);
}

int profiling_signal(const mOS& os) noexcept {
  uint64_t blocked = 0;
  rtsigprocmask(SIG_BLOCK, nullptr, &blocked);
  if ((blocked & signal_bit(SIGPROF)) == 0) return SIGPROF;
  return os.tick_ns != 0 ? SIGURG : 0;
}

}  // namespace gort::os
