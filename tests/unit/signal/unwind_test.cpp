// unwind: the stacks that handlers see, at every instruction of a switch too.
#include "signal/unwind.hpp"

#include <gtest/gtest.h>
#include <ucontext.h>
#include <unwind.h>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <set>
#include <vector>

#include "gort/fiber.hpp"
#include "gort/spawn.hpp"
#include "os/os.hpp"
#include "sched/context.hpp"
#include "sched/current.hpp"
#include "support/scheduler_test.hpp"

namespace gort {
namespace {

// The unwinder's function wants a return address, and looks at the byte before it.
const void* function_of(uintptr_t pc) {
  return _Unwind_FindEnclosingFunction(reinterpret_cast<void*>(pc + 1));
}

// Sets an action for a scope.
class Action {
 public:
  Action(int sig, void (*handler)(int, void*, void*)) : sig_(sig) {
    os::SignalAction action;
    action.handler = handler;
    action.flags = SA_SIGINFO | SA_ONSTACK;
    EXPECT_EQ(os::rt_sigaction(sig, &action, &old_), 0);
  }
  ~Action() { EXPECT_EQ(os::rt_sigaction(sig_, &old_, nullptr), 0); }
  Action(const Action&) = delete;
  Action& operator=(const Action&) = delete;

 private:
  int sig_;
  os::SignalAction old_;
};

uintptr_t frames[64];
size_t depth = 0;
void unwind_here(int, void*, void* context) {
  depth = unwind(context, current_m() != nullptr ? current_m()->cur : nullptr, frames);
}

[[gnu::noinline]] void inner() {
  EXPECT_EQ(os::raise(SIGUSR1), 0);
  asm volatile("# inner");
}
[[gnu::noinline]] void outer() {
  inner();
  asm volatile("# outer");
}

// What stands outermost on this stack.
_Unwind_Reason_Code keep_last(_Unwind_Context* at, void* out) {
  if (const uintptr_t pc = _Unwind_GetIP(at); pc != 0) *static_cast<uintptr_t*>(out) = pc - 1;
  return _URC_NO_REASON;
}
const void* outermost() {
  uintptr_t pc = 0;
  _Unwind_Backtrace(keep_last, &pc);
  return function_of(pc);
}

TEST(Unwind, FromTheInterruptedInstructionOutwards) {
  prepare_unwind();
  const Action action(SIGUSR1, unwind_here);
  outer();
  ASSERT_GE(depth, 4U);
  std::vector<const void*> functions;
  for (size_t i = 0; i < depth; ++i) functions.push_back(function_of(frames[i]));
  const auto at = [&](const void* f) {
    return std::find(functions.begin(), functions.end(), f) - functions.begin();
  };
  const auto in = at(reinterpret_cast<const void*>(inner));
  EXPECT_LT(in, 4) << "os::raise() and the system call come first, and none of ours";
  EXPECT_EQ(at(reinterpret_cast<const void*>(outer)), in + 1);
}

// PF4.
TEST(Unwind, AFiberEndsAtItsFirstFrame) {
  prepare_unwind();
  const Action action(SIGUSR1, unwind_here);
  run(options{.procs = 1}, [] {
    outer();
    ASSERT_GE(depth, 4U);
    ASSERT_LT(depth, std::size(frames));
    EXPECT_EQ(function_of(frames[depth - 1]), outermost());
  });
}

TEST(Unwind, StopsWhereThereIsNoRoom) {
  prepare_unwind();
  const Action action(SIGUSR1, [](int, void*, void* context) {
    depth = unwind(context, nullptr, std::span(frames).first(3));
  });
  frames[3] = 77;
  outer();
  EXPECT_EQ(depth, 3U);
  EXPECT_EQ(frames[3], 77U);
}

#if defined(__x86_64__)

// Every instruction of a piece of code is interrupted once: the processor's trap flag raises SIGTRAP behind each.
constexpr uint64_t kTrapFlag = 0x100;
void set_trap_flag() {
  asm volatile("pushfq\n\torq %0, (%%rsp)\n\tpopfq" : : "i"(kTrapFlag) : "memory", "cc");
}
void clear_trap_flag() {
  asm volatile("pushfq\n\tandq %0, (%%rsp)\n\tpopfq" : : "i"(~kTrapFlag) : "memory", "cc");
}

struct Steps {
  const void* fibers_end = nullptr;
  const void* threads_end = nullptr;
  uint64_t all = 0;
  uint64_t in_switches = 0;
  uint64_t elsewhere = 0;  // neither of the ends
  uintptr_t last_elsewhere = 0;
  std::set<uintptr_t>* seen = nullptr;
};
Steps steps;
void on_step(int, void*, void* context) {
  const uintptr_t pc = os::signal_context(context).pc;
  ++steps.all;
  uintptr_t out[64];
  const size_t n = unwind(context, nullptr, out);
  if (in_switch(pc)) {
    ++steps.in_switches;
    if (n != 1) ++steps.elsewhere;
    return;
  }
  const void* const end = function_of(out[n - 1]);
  if (end != steps.fibers_end && end != steps.threads_end) {
    ++steps.elsewhere;
    steps.last_elsewhere = pc;
  }
}

// PF3, PF4: fibers that begin, give way and end, and the M's own stack between them.
TEST(Unwind, AtEveryInstructionOfASwitch) {
  if (test::kSanitizers) GTEST_SKIP() << "sanitizers' code at switches has no tables for each step";
  prepare_unwind();
  steps = {};
  steps.threads_end = outermost();
  const Action action(SIGTRAP, on_step);
  run(options{.procs = 1}, [] {
    steps.fibers_end = outermost();
    for (int i = 0; i < 20; ++i) {
      task<void> other = spawn([] {
        yield();
        yield();
      });
      set_trap_flag();
      yield();
      yield();
      yield();
      yield();
      clear_trap_flag();
      other.join();
    }
  });
  EXPECT_GT(steps.all, 1000U);
#if defined(GORT_CONTEXT_ASM)
  EXPECT_GT(steps.in_switches, 20U);
#endif
  EXPECT_EQ(steps.elsewhere, 0U) << std::hex << steps.last_elsewhere;
}

#endif

}  // namespace
}  // namespace gort
