// unwind: the stacks that handlers see, at every instruction of a switch too.
#include "signal/unwind.hpp"

#include <gtest/gtest.h>
#include <ucontext.h>
#include <unwind.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <set>
#include <vector>

#include "gort/fiber.hpp"
#include "gort/spawn.hpp"
#include "os/os.hpp"
#include "sched/context.hpp"
#include "sched/current.hpp"
#include "support/debug_setting.hpp"
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

// Where there are no tables that a handler may use. This code is compiled with frame pointers.
void follow_here(int, void*, void* context) {
  depth = unwind_frame_pointers(os::signal_context(context), *current_m()->cur, frames);
}
TEST(Unwind, ByFramePointers) {
  const Action action(SIGUSR1, follow_here);
  run(options{.procs = 1}, [] {
    outer();
    ASSERT_GE(depth, 4U);
    ASSERT_LT(depth, std::size(frames));
    std::vector<const void*> functions;
    for (size_t i = 0; i < depth; ++i) functions.push_back(function_of(frames[i]));
    const auto in =
        std::find(functions.begin(), functions.end(), reinterpret_cast<const void*>(inner));
    ASSERT_LT(in - functions.begin(), 4);
    EXPECT_EQ(in[1], reinterpret_cast<const void*>(outer));
    EXPECT_EQ(functions.back(), outermost());
  });
}

// Frame pointers that are something else, as in code that uses the register for other things.
TEST(Unwind, FramePointersThatAreNoneAreNotFollowed) {
  alignas(16) uintptr_t stack[64] = {};
  G g;
  g.stack_low = stack;
  g.stack_start = std::end(stack);
  const auto at = [&](size_t i) { return reinterpret_cast<uintptr_t>(&stack[i]); };
  uintptr_t out[8];
  const auto depth_from = [&](uintptr_t fp) {
    return unwind_frame_pointers({1000, at(2), fp}, g, out);
  };
  EXPECT_EQ(depth_from(0), 1U);
  EXPECT_EQ(out[0], 1000U);
  EXPECT_EQ(depth_from(at(0)), 1U) << "below the stack pointer";
  EXPECT_EQ(depth_from(at(4) + 1), 1U) << "not aligned";
  EXPECT_EQ(depth_from(at(63)), 1U) << "half of it is outside";
  EXPECT_EQ(depth_from(UINTPTR_MAX - 7), 1U) << "its end wraps around";
  stack[4] = at(10);
  stack[5] = 2000;
  stack[10] = at(4);  // back: never
  stack[11] = 3000;
  EXPECT_EQ(depth_from(at(4)), 3U);
  EXPECT_EQ(out[1], 1999U);
  EXPECT_EQ(out[2], 2999U);
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
  // Steps take longer than slices, and the trap flag is a thread's: a fiber that went on on another one left it behind.
  if (!test::without_preemption()) GTEST_SKIP() << "an earlier run has read the settings";
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
